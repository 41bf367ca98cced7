"""Studies with known effects, written as the real stages write them (without the flushes)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cell import CellRecord
from bench.study import Study
from metrics.catalogue import DRIFTS_IN_PAPER, PAPER
from metrics.store import curve_schema, score_schema

VANILLA = "td_f16k4f2k2f1k1_g9"
DISCRETE = "td_f16k4f2k2f1k1_g9+D"
INVERTED = "f1k1_x_g9_f1k1f2k2f16k4_td"
LONGER = "td_f8k8f4k4f2k2f1k1_g9"

BACKENDS = {
    "clarity": "piqe",
    "aesthetic": "laion-vit-l-14",
    "motion": "rife",
    "dynamic": "dis",
    "semantic": "viclip",
    "anatomy": "landmarks",
    "identity": "sface",
}


@dataclass(frozen=True)
class Made:
    """A variant of a planted study and how far it lies from the others, in every metric."""

    name: str
    sampler: str
    packing: str
    section: int = 9
    discrete: int | None = None
    level: float = 0.6
    drift: float = 0.03
    options: dict[str, object] = field(default_factory=dict)


FOUR = (
    Made(VANILLA, "vanilla", "f16k4f2k2f1k1", level=0.60, drift=0.10),
    Made(DISCRETE, "vanilla", "f16k4f2k2f1k1", discrete=256, level=0.62, drift=0.07),
    Made(LONGER, "vanilla", "f8k8f4k4f2k2f1k1", level=0.60, drift=0.10),
    Made(INVERTED, "inverted", "f16k4f2k2f1k1", level=0.65, drift=0.03),
)


def fingerprint_of(metric: str) -> str:
    return f"{abs(hash_of(metric)):016x}"[:16]


def hash_of(text: str) -> int:
    import hashlib

    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)


def plant(
    path: Path,
    variants: Sequence[Made] = FOUR,
    *,
    prompts: int = 8,
    seeds: int = 2,
    metrics: Sequence[str] = PAPER,
    extra_segments: int = 0,
    frames: int = 109,
    fps: float = 30.0,
    spread_prompt: float = 0.05,
    spread: float = 0.02,
    seed: int = 0,
    curves: bool = True,
    change: Callable[[CellRecord], CellRecord | None] | None = None,
    rows: Callable[[CellRecord, list[dict[str, object]]], list[dict[str, object]]] | None = None,
    video: Callable[[Path, CellRecord], None] | None = None,
) -> Study:
    """Write a study whose scores are level + prompt + noise.

    `change` may alter a record, or return None to leave the cell unmade; `rows` may alter the rows
    of scores.parquet; `extra_segments` adds so many further rows per cell (for scale);
    `video` writes the video.
    """
    generator = np.random.default_rng(seed)
    study = Study.create(path, {"generator": {"name": "planted"}, "video": {"fps": fps}}, {})
    names = [f"scene-{number:03d}" for number in range(prompts)]
    study.ask([made.name for made in variants], names, list(range(seeds)))
    easy = spread_prompt * generator.standard_normal((prompts, len(metrics)))
    schema = score_schema()
    (path / "prompts").mkdir(exist_ok=True)
    for name in names:
        text = json.dumps({"text": f"Something happens in {name}.", "tags": ["planted"]})
        (path / "prompts" / f"{name}.json").write_text(text)
    for made in variants:
        for place, prompt in enumerate(names):
            for number in range(seeds):
                record = record_of(made, prompt, number, frames=frames, fps=fps)
                if change is not None:
                    changed = change(record)
                    if changed is None:
                        continue
                    record = changed
                folder = study.cell(made.name, prompt, number).folder
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "cell.json").write_text(record.to_json())
                if record.status != "done":
                    continue
                if video is not None:
                    video(folder / "video.mp4", record)
                base = made.level + easy[place] + spread * generator.standard_normal(len(metrics))
                fall = np.abs(made.drift + spread * generator.standard_normal(len(metrics)))
                found = score_rows(record, metrics, base, fall, extra_segments)
                if rows is not None:
                    found = rows(record, found)
                if found:
                    columns = {name: [row.get(name) for row in found] for name in schema.names}
                    pq.write_table(pa.table(columns, schema=schema), folder / "scores.parquet")
                if curves and found:
                    write_curves(folder / "curves.parquet", record, metrics, base, fall, generator)
    return study


def record_of(
    made: Made, prompt: str, seed: int, *, frames: int = 109, fps: float = 30.0
) -> CellRecord:
    sections = max(1, (frames - 1) // 36)
    return CellRecord(
        variant=made.name,
        prompt_id=prompt,
        prompt_text=f"Something happens in {prompt}.",
        prompt_tags=["planted"],
        seed=seed,
        status="done",
        plan_digest="0" * 64,
        sampler=made.sampler,
        packing=made.packing,
        section=made.section,
        tail="td",
        discrete=made.discrete,
        options=dict(made.options),
        generator={"name": "planted", "checkpoint": "planted", "digest": "ab" * 32},
        latents=9 * sections + 1,
        frames=frames,
        fps=fps,
        width=160,
        height=96,
        section_starts=[36 * number for number in range(sections)],
        tokens_per_section=[1000] * sections,
        section_seconds=[1.5] * sections,
        seconds=2.0 * sections,
        seconds_decode=0.5,
        peak_memory_bytes=2**30,
        untrained=["k8"] if "k8" in made.packing else [],
        video_sha256=f"{hash_of(made.name + prompt + str(seed)):064x}",
        bytes=1000,
        versions={"torch": "2.9", "diffusers": "0.36"},
        device="cpu",
        dtype="float32",
        started="2025-01-01T00:00:00Z",
        finished="2025-01-01T00:00:10Z",
    )


def score_rows(
    record: CellRecord,
    metrics: Sequence[str],
    base: np.ndarray,
    fall: np.ndarray,
    extra: int = 0,
) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    common = {
        "coverage": 1.0,
        "status": "ok",
        "reason": "",
        "video_sha256": record.video_sha256,
        "frames": record.frames,
        "fps": record.fps,
        "device": "cpu",
    }
    for place, metric in enumerate(metrics):
        what = {
            "metric": metric,
            "backend": BACKENDS.get(metric, "planted"),
            "fingerprint": fingerprint_of(metric),
            **common,
        }
        segments = {"all": base[place], "start": base[place] + fall[place] / 2}
        segments["end"] = segments["start"] - fall[place]
        if metric in DRIFTS_IN_PAPER:
            segments["drift"] = fall[place]
        for segment, value in segments.items():
            reading = "" if segment == "all" else "exact"
            found.append({**what, "segment": segment, "reading": reading, "value": float(value)})
    for number in range(extra):
        found.append(
            {
                "metric": f"extra_{number}",
                "backend": "planted",
                "fingerprint": fingerprint_of(f"extra_{number}"),
                "segment": "all",
                "reading": "",
                "value": float(number),
                **common,
            }
        )
    return found


def write_curves(
    path: Path,
    record: CellRecord,
    metrics: Sequence[str],
    base: np.ndarray,
    fall: np.ndarray,
    generator: np.random.Generator,
) -> None:
    frame = np.arange(0, record.frames, 3)
    count = len(frame)
    columns: dict[str, object] = {
        "metric": np.repeat(list(metrics), count),
        "backend": np.repeat([BACKENDS.get(metric, "planted") for metric in metrics], count),
        "fingerprint": np.repeat([fingerprint_of(metric) for metric in metrics], count),
        "frame": np.tile(frame, len(metrics)),
        "span": np.ones(count * len(metrics), dtype=np.int64),
        "time": np.tile(frame / record.fps, len(metrics)),
        "value": np.concatenate(
            [
                level
                + down * (0.5 - frame / record.frames)
                + 0.01 * generator.standard_normal(count)
                for level, down in zip(base, fall, strict=True)
            ]
        ),
    }
    pq.write_table(pa.table(columns, schema=curve_schema()), path)


def plant_votes(
    path: Path, variants: Sequence[Made] = FOUR, *, prompts: int = 8, votes: int = 300
) -> None:
    """Put simulated votes into a study, through the arena's own import."""
    from ablations.arena.votes import import_file
    from reports.simulation import Design, Population, simulate

    skills = tuple(-5 * made.drift for made in variants)
    table = simulate(Population(skills), Design(raters=12, votes=votes, prompts=prompts), 3)
    names = dict(zip(sorted(set(table["left"])), (made.name for made in variants), strict=True))
    scenes = {f"p{number:03d}": f"scene-{number:03d}" for number in range(prompts)}
    table = table.assign(
        left=table["left"].map(names),
        right=table["right"].map(names),
        prompt_id=table["prompt_id"].map(scenes),
        seed=0,
    ).drop(columns="simulated")
    table["vote_id"] = [f"v{number}" for number in table["vote_id"]]
    source = path / "votes.csv"
    table.to_csv(source, index=False)
    import_file(path, None, source, fastchat=False, variants=None)
    source.unlink()
