"""The report's page: one HTML file that opens from disk and asks nothing of the network.

Style, script, plots and filmstrips are in the file. Videos are linked by a path relative to the
page, which is right as long as the report lies in its study; `videos="embed"` puts them into the
page instead, for a file that can be sent, and `videos="none"` leaves them out.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from bench.errors import UserError
from bench.files import atomic_write
from bench.words import count
from reports.analysis import Analysis
from reports.anonymous import from_here
from reports.findings import findings
from reports.plots.filmstrip import MOMENTS, Filmstrip
from reports.plots.looks import chosen
from reports.provenance import CITATION, VERSION, commands, facts, settings
from reports.svg import inline
from reports.tables import Table
from reports.tables.formats import notes_of
from reports.tables.meanings import meanings

HERE = Path(__file__).parent

Videos = Literal["link", "embed", "none"]
VIDEOS: tuple[str, ...] = ("link", "embed", "none")

RESULTS = (
    "samplers",
    "packings",
    "alternatives",
    "ratings",
    "differences",
    "endings",
    "onset",
    "more_metrics",
)
STATISTICS = ("variance", "correlation", "power", "tests")
COUNTING = ("coverage", "failures")
NARROW = ("ratings", "win_rates", "radar")

EMBED_LIMIT = 300 * 2**20
"""Bytes of videos that a page may embed; browsers struggle beyond."""


@dataclass(frozen=True)
class Drawn:
    """A plot that is on disk: what the page prints of it."""

    name: str
    title: str
    caption: str
    svg: str

    @property
    def narrow(self) -> bool:
        """Whether the plot should not fill the page's width."""
        return self.name in NARROW


def drawn(name: str, title: str, caption: str, svg: Path) -> Drawn:
    """A plot from its SVG file."""
    return Drawn(name, title, caption, inline(svg.read_text("utf-8"), name, title))


def write_page(
    analysis: Analysis,
    tables: dict[str, Table],
    plots: Sequence[Drawn],
    films: Sequence[Filmstrip],
    out: Path,
    *,
    studies: Sequence[Path],
    title: str,
    videos: Videos = "link",
    parquet: str = "",
    votes: str | None = None,
    claims: Iterable[Table] = (),
    anonymous: bool = False,
) -> Path:
    """Write OUT/index.html.

    Args:
        analysis: the study.
        tables: `tables.all_tables`.
        plots: plots as they are on disk.
        films: filmstrips.
        out: the report's folder.
        studies: the folders that were read.
        title: the page's heading.
        videos: how videos come into the page.
        parquet: name of the tidy table beside the page.
        votes: URL of the database that the votes were read from; None for the studies' own files.
        claims: tables on the paper's claims.
        anonymous: name no folder that is not below this one.

    Raises:
        UserError: `videos` is none of the three, or too many videos to embed.
    """
    if videos not in VIDEOS:
        raise UserError(f"report.videos={videos}: choose from {', '.join(VIDEOS)}")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
    )
    environment.filters["names"] = _names_as_code([entrant.name for entrant in analysis.variants])
    environment.filters["breakable"] = _breakable
    theatre = _theatre(analysis, out, videos)
    failed = analysis.cells[analysis.cells["state"] == "failed"]
    claims = list(claims)
    studies = [from_here(study) for study in studies] if anonymous else studies
    contents = [("results", "Results"), ("plots", "Plots"), ("filmstrips", "Filmstrips")]
    contents += [("videos", "Videos"), ("statistics", "Statistics"), ("claims", "Claims")]
    contents += [("cost", "Cost"), ("failed", "Counts and failures"), ("provenance", "Provenance")]
    contents += [("reproduce", "Reproduce"), ("cite", "Cite"), ("reference", "Reference")]
    absent = {
        "plots": not plots,
        "filmstrips": not films,
        "videos": theatre is None,
        "claims": not claims,
        "cost": "costs" not in tables,
    }
    text = environment.get_template("index.html.j2").render(
        title=title,
        lede=_lede(analysis),
        version=VERSION,
        css=(HERE / "static" / "page.css").read_text("utf-8"),
        js=(HERE / "static" / "page.js").read_text("utf-8"),
        contents=[(id_, name) for id_, name in contents if not absent.get(id_)],
        counts=_counts(analysis),
        findings=list(findings(analysis)),
        notes=analysis.notes,
        results=[tables[name] for name in RESULTS if name in tables],
        statistics=[tables[name] for name in STATISTICS if name in tables],
        costs=tables.get("costs"),
        counting=[tables[name] for name in COUNTING if name in tables],
        failures="failures" in tables,
        reference=tables["reference"],
        claims=claims,
        notes_of=notes_of,
        meanings=meanings,
        open_intervals=(
            "differences",
            "variance",
            "correlation",
            "ratings",
            "tests",
            "claim_parts",
        ),
        plots=plots,
        filmstrips=[_film(film) for film in films],
        moments=[name for name, _ in MOMENTS],
        videos=theatre,
        videos_json=_script_json(theatre) if theatre else "",
        tracebacks=[
            (f"{variant} {prompt}_{seed}", trace)
            for variant, prompt, seed, trace in zip(
                failed["variant"],
                failed["prompt_id"],
                failed["seed"],
                failed["error_traceback"],
                strict=True,
            )
            if trace
        ][:50],
        facts=facts(analysis),
        settings=settings(analysis),
        commands=commands(studies, from_here(out) if anonymous else out, votes),
        study_path=os.path.relpath(studies[0]),
        parquet=parquet,
        citation=CITATION,
    )
    atomic_write(out / "index.html", text)
    return out / "index.html"


def _breakable(name: str) -> Markup:
    """A variant's name that may go over two lines where a table is too wide, and how."""
    return escape(name).replace("_", Markup("_<wbr>"))


def _names_as_code(names: Sequence[str]) -> Callable[[str], Markup]:
    """A filter that sets variants' names in the type that keeps digits apart."""
    # The longest first: one name may begin another.
    pattern = re.compile("|".join(re.escape(name) for name in sorted(names, key=len)[::-1]) or "$^")

    def mark(text: str) -> Markup:
        parts = [Markup("<code>%s</code>") % name for name in pattern.findall(text)]
        plain = [escape(part) for part in pattern.split(text)]
        return Markup("").join(
            part for pair in zip(plain, [*parts, Markup("")], strict=True) for part in pair
        )

    return mark


def _lede(analysis: Analysis) -> str:
    cells = analysis.cells
    parts = [
        count(len(analysis.variants), "variant"),
        count(cells["prompt_id"].nunique(), "prompt"),
        count(cells["seed"].nunique(), "seed"),
    ]
    done = cells[cells["state"] == "done"]
    models = sorted({_model(value) for value in done["generator"]} - {""})
    made = f", made by {', '.join(models)}" if models else ""
    seconds = (done["frames"] / done["fps"].where(done["fps"] > 0)).dropna()
    length = ""
    if len(seconds):
        low, high = seconds.min(), seconds.max()
        span = f"{low:.1f}" if high - low < 0.05 else f"{low:.1f} to {high:.1f}"
        length = f"; videos of {span} s"
    return f"{' × '.join(parts)}{made}{length}."


def _model(identity: dict[str, Any]) -> str:
    name = identity.get("checkpoint") or identity.get("name") or ""
    return Path(str(name)).name


@dataclass(frozen=True)
class Count:
    """A number at the head of the page."""

    number: str
    what: str
    bad: bool = False


def _counts(analysis: Analysis) -> list[Count]:
    cells = analysis.cells
    states = cells["state"].value_counts()
    failed = int(states.get("failed", 0))
    unfinished = int(states.get("pending", 0) + states.get("running", 0))
    scored = int(analysis.results.scores["cell"].nunique())
    votes = 0 if analysis.human is None else analysis.human.counted
    return [
        Count(f"{len(cells):,}", "videos asked"),
        Count(f"{int(states.get('done', 0)):,}", "made"),
        Count(f"{failed:,}", "failed", bad=failed > 0),
        Count(f"{unfinished:,}", "unfinished", bad=unfinished > 0),
        Count(f"{scored:,}", "scored"),
        Count(f"{votes:,}", "votes"),
    ]


def _film(film: Filmstrip) -> dict[str, Any]:
    strips = []
    for strip in film.strips:
        row: dict[str, Any] = {"variant": strip.variant, "missing": strip.missing, "images": []}
        if strip.frames:
            high, wide = strip.frames[0].shape[:2]
            images = [_jpeg(Image.fromarray(frame)) for frame in strip.frames]
            row |= {"images": images, "width": wide, "height": high}
        strips.append(row)
    return {
        "name": film.name,
        "title": f"{film.prompt_id}, seed {film.seed}",
        "text": film.text,
        "strips": strips,
    }


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=86)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _theatre(analysis: Analysis, out: Path, how: Videos) -> dict[str, Any] | None:
    """What the players need: for every scene the video of each variant, or why there is none."""
    cells = analysis.cells
    done = cells["state"] == "done"
    if how == "none" or not done.any():
        return None
    if how == "embed":
        size = int(cells.loc[done, "bytes"].sum())
        if size > EMBED_LIMIT:
            raise UserError(
                f"report.videos=embed: {size / 2**20:.0f} MiB of videos are more than a page bears "
                f"({EMBED_LIMIT / 2**20:.0f}); use link"
            )
    number = {entrant.name: place for place, entrant in enumerate(analysis.variants)}
    scenes: dict[tuple[str, int], dict[str, Any]] = {}
    for variant, prompt, seed, text, state, message, folder in zip(
        cells["variant"],
        cells["prompt_id"],
        cells["seed"],
        cells["prompt_text"],
        cells["state"],
        cells["error_message"],
        cells["folder"],
        strict=True,
    ):
        key = (str(prompt), int(seed))
        scene = scenes.setdefault(
            key,
            {
                "name": f"{prompt}, seed {seed}",
                "text": str(text),
                "cells": [None] * len(number),
            },
        )
        if state == "done":
            found = {"video": _source(Path(folder) / "video.mp4", out, how)}
        else:
            found = {"reason": f"{state}: {message}" if message else f"{state}"}
        scene["cells"][number[variant]] = found
    first = cells[done].iloc[0]
    aspect = f"{first['width']}/{first['height']}" if first["height"] else "16/10"
    shown = [number[entrant.name] for entrant in chosen(analysis)]
    return {
        "aspect": aspect,
        "variants": list(number),
        "first": shown,
        "scenes": [scenes[key] for key in sorted(scenes)],
    }


def _source(video: Path, out: Path, how: Videos) -> str:
    if how == "embed" and video.is_file():
        return "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()
    return quote(os.path.relpath(video, out).replace(os.sep, "/"))


def _script_json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
