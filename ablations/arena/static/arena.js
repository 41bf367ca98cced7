// Keeps two videos in step, opens the answers once both have played, and takes the keyboard.
"use strict";
(() => {
  const pair = document.getElementById("pair");
  if (!pair) return;
  const started = performance.now();
  const videos = [document.getElementById("left"), document.getElementById("right")];
  const [left, right] = videos;
  const play = document.getElementById("play");
  const scrub = document.getElementById("scrub");
  const time = document.getElementById("time");
  const form = document.getElementById("vote");
  const status = document.getElementById("status");
  const answers = [...form.querySelectorAll("button[name=answer]")];
  const minimum = Number(pair.dataset.seconds);

  const STEP = 0.5; // seconds per arrow key
  const APART = 0.08; // seconds between the two before one is moved
  const REST = 350; // milliseconds on the last frame before the next round
  const watched = new Map(videos.map((video) => [video, 0]));
  const place = new Map(videos.map((video) => [video, 0])); // where each was last looked at
  let wanted = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let running = false; // whether both play just now
  let scrubbing = false;
  let resting = 0;
  let open = false;
  let sent = false;

  const known = () => videos.every((video) => Number.isFinite(video.duration) && video.duration > 0);
  const length = () => (known() ? Math.max(left.duration, right.duration) : 0);
  const leader = () => (left.duration >= right.duration ? left : right);
  const ready = () => videos.every((video) => video.ended || video.readyState >= 3);
  const say = (text) => { if (status.textContent !== text) status.textContent = text; };

  function show() {
    document.body.classList.toggle("playing", wanted);
    play.setAttribute("aria-label", wanted ? "Pause" : "Play");
    const all = length();
    const now = known() ? Math.min(leader().currentTime, all) : 0;
    if (!scrubbing && all) scrub.value = String(Math.round((1000 * now) / all));
    time.textContent = `${now.toFixed(1)} / ${all.toFixed(1)} s`;
    scrub.setAttribute("aria-valuetext", `${now.toFixed(1)} of ${all.toFixed(1)} seconds`);
  }

  function put(video, seconds) {
    video.currentTime = seconds;
    place.set(video, seconds);
  }

  // Counts what has played since the last look; what was jumped over is not watched.
  function count() {
    for (const video of videos) {
      const passed = video.currentTime - place.get(video);
      if (!video.seeking && passed > 0) watched.set(video, watched.get(video) + passed);
      place.set(video, video.currentTime);
    }
  }

  function seek(seconds) {
    count();
    clearTimeout(resting);
    resting = 0;
    for (const video of videos) {
      if (Number.isFinite(video.duration)) {
        put(video, Math.max(0, Math.min(seconds, video.duration)));
      }
    }
    drive();
  }

  function stop() {
    running = false;
    for (const video of videos) video.pause();
  }

  // Both play or none does: one that waits for data holds the other.
  function drive() {
    if (!wanted || scrubbing || resting || !ready()) {
      if (running) stop();
      return;
    }
    running = true;
    for (const video of videos) {
      if (video.paused && !video.ended) {
        video.play().catch((error) => {
          if (error.name === "NotAllowedError") {
            wanted = false;
            stop();
            say("Press play to start the videos.");
          }
        });
      }
    }
  }

  function covered(video) {
    let sum = 0;
    for (let i = 0; i < video.played.length; i++) sum += video.played.end(i) - video.played.start(i);
    return sum >= video.duration - Math.max(0.1, 0.05 * video.duration);
  }

  function unlock() {
    if (open || !known() || !videos.every(covered)) return;
    if ((performance.now() - started) / 1000 < minimum + 0.05) return;
    open = true;
    document.body.classList.add("open");
    for (const button of answers) button.disabled = false;
    say("You can answer now, or go on watching.");
  }

  function tick() {
    if (known()) {
      count();
      const lead = leader();
      const other = lead === left ? right : left;
      if (lead.ended && wanted && !resting && !scrubbing) {
        resting = setTimeout(() => seek(0), REST);
      } else if (running && !other.ended && !other.seeking && !lead.seeking) {
        const target = Math.min(lead.currentTime, other.duration);
        if (Math.abs(other.currentTime - target) > APART) put(other, target);
      }
      drive();
      unlock();
    }
    show();
    requestAnimationFrame(tick);
  }

  function toggle() {
    wanted = !wanted;
    if (wanted && known() && leader().ended) seek(0);
    else drive();
    show();
  }

  function fromStart() {
    wanted = true;
    seek(0);
    show();
  }

  play.addEventListener("click", toggle);
  document.getElementById("replay").addEventListener("click", fromStart);
  for (const video of videos) {
    video.addEventListener("click", toggle);
    video.addEventListener("waiting", drive);
    video.addEventListener("canplay", drive);
    video.addEventListener("error", () => {
      say("A video could not be loaded. Please reload the page.");
    });
  }
  scrub.addEventListener("input", () => {
    scrubbing = true;
    stop();
    seek((Number(scrub.value) / 1000) * length());
  });
  const release = () => { if (scrubbing) { scrubbing = false; drive(); } };
  for (const kind of ["change", "pointerup", "pointercancel", "blur"]) {
    scrub.addEventListener(kind, release);
  }

  form.addEventListener("submit", (event) => {
    if (sent || !open) {
      event.preventDefault();
      return;
    }
    sent = true;
    count();
    form.elements.watched_left.value = watched.get(left).toFixed(3);
    form.elements.watched_right.value = watched.get(right).toFixed(3);
    document.body.classList.add("sent");
    say("Storing your answer …");
  });
  // Back from the next page: this one is answered, ask the server what is next.
  addEventListener("pageshow", (event) => { if (event.persisted) location.replace("/rate"); });

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat && event.key === " ") return;
    const at = event.target instanceof Element ? event.target : document.body;
    const inRange = at === scrub;
    const onButton = at.closest("button, a") !== null;
    if (["1", "2", "3", "4"].includes(event.key)) {
      const button = answers[Number(event.key) - 1];
      if (!button.disabled && !event.repeat) form.requestSubmit(button);
    } else if (event.key === " " && !onButton) {
      event.preventDefault();
      toggle();
    } else if (event.key === "r" || event.key === "R") {
      fromStart();
    } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && !inRange && known()) {
      event.preventDefault();
      seek(leader().currentTime + (event.key === "ArrowLeft" ? -STEP : STEP));
    }
  });

  // The next pair comes into the cache while this one is watched.
  function preload() {
    for (const key of ["next-1", "next-2", "next-3"]) {
      const address = pair.getAttribute(`data-${key}`);
      if (address) fetch(address, { credentials: "same-origin", priority: "low" }).then((r) => r.blob()).catch(() => {});
    }
  }
  let preloaded = false;
  for (const video of videos) {
    video.addEventListener("canplaythrough", () => {
      if (!preloaded && videos.every((one) => one.readyState === 4)) {
        preloaded = true;
        preload();
      }
    });
  }
  requestAnimationFrame(tick);
})();
