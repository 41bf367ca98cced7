"""Small studies for the arena's tests: real videos, finished cells, names that must not leak."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from bench.cell import CellRecord
from bench.study import Study
from bench.video import sha256

NAMES = (
    "td_f16k4f2k2f1k1_g9",
    "td_f16k4f2k2f1k1_g9+D",
    "td_f16k4f2k2f1k1_g9_x_f1k1",
    "f1k1_x_g9_f1k1f2k2f16k4_td",
    "f1k1_x_g4_f1k1f2k2f16k4_ta",
    "f1k1_x_g1_f1k1f2k2f16k4_tc",
)
PROMPTS = ("wanderer-1", "wanderer-2", "wanderer-3")


def telling(study: Path) -> list[str]:
    """Everything that would give a variant or a prompt away.

    Each is too long to turn up by chance in the random identifiers that raters are told: three
    characters would be found in one of a few hundred runs.
    """
    return [*(path.name for path in (study / "cells").iterdir()), "f16k4", "wanderer", "cells"]


def video(path: Path, *, seconds: float, hue: int, size: tuple[int, int] = (320, 180)) -> None:
    """A disc that goes round, in a colour by variant; the container names the file's maker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    with av.open(str(path), "w") as container:
        container.metadata["title"] = f"made by {path.parent.parent.name}"
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(max(2, round(seconds * 30))):
            angle = index / 30 * 2
            x, y = width * (0.5 + 0.3 * np.cos(angle)), height * (0.5 + 0.3 * np.sin(angle))
            disc = (columns - x) ** 2 + (rows - y) ** 2 < (height * 0.16) ** 2
            frame = np.empty((height, width, 3), np.uint8)
            frame[...] = 40 + (rows * 80 // height)[..., None]
            frame[disc] = (80 + hue % 170, 90, 240 - hue % 170)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def make(
    path: Path,
    *,
    variants: Sequence[str] = NAMES,
    prompts: Sequence[str] = PROMPTS[:2],
    seeds: Sequence[int] = (7,),
    seconds: float = 0.5,
    size: tuple[int, int] = (320, 180),
    text: str = "A disc goes round and round on a grey ground.",
) -> Path:
    """A finished study: variants × prompts × seeds, each with its video, text and first image."""
    study = Study.create(path)
    study.ask(variants, prompts, seeds)
    (path / "prompts").mkdir(exist_ok=True)
    for prompt in prompts:
        image = Image.new("RGB", (320, 180), (90, 110, 120))
        image.save(path / "prompts" / f"{prompt}.png")
        (path / "prompts" / f"{prompt}.json").write_text(
            json.dumps({"text": text, "tags": [], "image": f"prompts/{prompt}.png"})
        )
    for number, cell in enumerate(study.cells()):
        video(cell.video, seconds=seconds, hue=37 * number, size=size)
        cell.write(
            CellRecord(
                variant=cell.variant,
                prompt_id=cell.prompt_id,
                prompt_text=text,
                seed=cell.seed,
                status="done",
                reference_image=f"prompts/{cell.prompt_id}.png",
                video_sha256=sha256(cell.video),
            )
        )
    return path
