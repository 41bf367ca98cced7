"use strict";
// Tables: click a heading to sort (again: the other way, then as printed); type to filter.
for (const box of document.querySelectorAll(".table")) {
  const table = box.querySelector("table");
  const groups = [...table.tBodies];
  const printed = groups.map((body) => [body, [...body.rows]]);
  const rows = () => [...table.querySelectorAll("tbody tr:not(.block)")];

  const restore = () => {
    for (const [body, lines] of printed) body.append(...lines);
    for (const line of table.querySelectorAll("tr.block")) line.hidden = false;
  };
  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return null;
    if (cell.dataset.value === "") return null;
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
    const button = heading.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      const first = heading.dataset.first || "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const now = heading.getAttribute("aria-sort");
      const next = now === null ? first : now === first ? second : null;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      restore();
      if (next === null) return;
      heading.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const sorted = rows().map((row) => [value(row, column), row]);
      sorted.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
      });
      for (const line of table.querySelectorAll("tr.block")) line.hidden = true;
      groups[0].append(...sorted.map(([, row]) => row));
    });
  }
  const search = box.querySelector("input[type=search]");
  if (search) {
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows()) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
  const intervals = box.querySelector("input[type=checkbox]");
  if (intervals) {
    const show = () => box.classList.toggle("with-intervals", intervals.checked);
    intervals.addEventListener("change", show);
    show();
  }
}

// Videos of one scene over the variants, playing in step: the first one leads, the others follow.
const theatre = document.getElementById("theatre");
if (theatre) {
  const data = JSON.parse(document.getElementById("videos-data").textContent);
  const stage = theatre.querySelector(".player");
  const part = (name) => theatre.querySelector(`[data-part=${name}]`);
  const scene = part("scene"), play = part("play"), speed = part("speed"), place = part("place");
  const clock = part("clock"), filter = part("filter"), text = part("text");
  const videos = () => [...stage.querySelectorAll("video")];
  const leader = () => videos().find((video) => Number.isFinite(video.duration));
  let playing = false;

  const build = () => {
    playing = false;
    play.textContent = "Play";
    const chosen = data.scenes[Number(scene.value)];
    text.textContent = chosen.text;
    stage.replaceChildren();
    const words = filter ? filter.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    let shown = 0;
    data.variants.forEach((name, index) => {
      const cell = chosen.cells[index];
      if (cell === null || !words.every((word) => name.toLowerCase().includes(word))) return;
      if (!words.length && !data.first.includes(index)) return;
      if (++shown > 12) return;
      const figure = document.createElement("figure");
      if (cell.video) {
        const video = document.createElement("video");
        Object.assign(video, { src: cell.video, muted: true, playsInline: true, preload: "metadata" });
        video.setAttribute("aria-label", `${name}: ${chosen.text}`);
        figure.append(video);
      } else {
        const absent = document.createElement("div");
        absent.className = "absent";
        absent.textContent = cell.reason;
        figure.append(absent);
      }
      const caption = document.createElement("figcaption");
      caption.textContent = name;
      figure.append(caption);
      stage.append(figure);
    });
  };
  const start = () => {
    for (const video of videos()) {
      video.playbackRate = Number(speed.value);
      if (!video.ended) video.play().catch(() => {});
    }
  };
  play.addEventListener("click", () => {
    playing = !playing;
    play.textContent = playing ? "Pause" : "Play";
    if (playing) start();
    else for (const video of videos()) video.pause();
  });
  speed.addEventListener("change", () => {
    for (const video of videos()) video.playbackRate = Number(speed.value);
  });
  place.addEventListener("input", () => {
    const lead = leader();
    if (!lead) return;
    const time = Number(place.value) * lead.duration;
    for (const video of videos()) video.currentTime = Math.min(time, video.duration || time);
  });
  scene.addEventListener("change", build);
  if (filter) filter.addEventListener("input", build);
  const step = () => {
    const lead = leader();
    if (lead) {
      if (playing) {
        if (videos().every((video) => video.ended || video.paused || !video.duration)) {
          for (const video of videos()) video.currentTime = 0;
          start();
        }
        for (const video of videos()) {
          const target = Math.min(lead.currentTime, video.duration || 0);
          // A seek costs more than it mends below two or three frames.
          if (video !== lead && !lead.ended && !video.seeking && Math.abs(video.currentTime - target) > 0.08)
            video.currentTime = target;
        }
      }
      if (document.activeElement !== place) place.value = lead.currentTime / lead.duration;
      clock.textContent = `${lead.currentTime.toFixed(2)} of ${lead.duration.toFixed(2)} s`;
    }
    requestAnimationFrame(step);
  };
  build();
  requestAnimationFrame(step);
}
