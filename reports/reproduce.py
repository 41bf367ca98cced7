"""Make random cells of a published study again: `python -m reports.reproduce FOLDER --cells 3`.

`FOLDER` was written by `reports.publish`. Cells are drawn, made again from reproduce.yaml in a
study of their own, and their videos' SHA-256 compared with those in results.parquet. A batch is
made whole, as its companions belong to what identifies a video's last bits. They are made on the
kind of device (cpu, cuda) that the published ones were. Bytes are promised for the same weights,
versions and kind of processor; weights and versions that differ are told.

Exit status: 0 all the same · 1 some differ or could not be made · 2 wrong input.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bench.cell import Key
from bench.errors import UserError
from bench.study import Study
from bench.words import count
from reports.anonymous import named
from reports.report import PARQUET

HERE: dict[str, Any] = {
    "offline": False,
    "preview": False,
    "worker": 0,
    "workers": 1,
    "time_limit": None,
    "retry_failed": True,
}
"""Settings that are about the machine and the run, not about what is made."""


@dataclass(frozen=True)
class Compared:
    """One cell, as published and as made here."""

    key: Key
    published: str
    """SHA-256 of the video."""
    made: str
    """The same; empty where it could not be made."""
    why: tuple[str, ...] = ()
    """What is different here from what the published record says."""

    @property
    def same(self) -> bool:
        """Whether the bytes are the same."""
        return self.published == self.made

    def __str__(self) -> str:
        if self.same:
            return f"{self.key.path}: same bytes, SHA-256 {self.made[:16]}…"
        now = f"SHA-256 {self.made[:16]}…" if self.made else "no video"
        told = f" ({'; '.join(self.why)})" if self.why else ""
        return f"{self.key.path}: published {self.published[:16]}…, here {now}{told}"


def reproduce(
    folder: Path, cells: int = 3, *, seed: int | None = None, study: Path | None = None
) -> list[Compared]:
    """Make random cells again and compare them.

    Args:
        folder: what `reports.publish` wrote.
        cells: how many are drawn; all where there are fewer.
        seed: draws the same cells every time; None draws others.
        study: keeps the videos made; by default a temporary folder.

    Raises:
        UserError: the folder holds no published study.
    """
    published = read(folder)
    if cells < 1:
        raise UserError(f"cells: {cells} is less than 1")
    keys = sorted(published)
    chosen = random.Random(seed).sample(keys, min(cells, len(keys)))
    if study is None:
        with tempfile.TemporaryDirectory() as temporary:
            return _compare(folder, published, chosen, Path(temporary) / "again")
    return _compare(folder, published, chosen, study)


def read(folder: Path) -> dict[Key, dict[str, Any]]:
    """What the published table says of every scored cell: video_sha256, generator, versions, and
    the kind of device.

    Raises:
        UserError: there is no such table, or none of its cells has a video.
    """
    path = folder / PARQUET
    if not path.is_file() or not (folder / "reproduce.yaml").is_file():
        raise UserError(f"{folder}: not a published study ({PARQUET} and reproduce.yaml)")
    names = ["variant", "prompt_id", "seed", "video_sha256", "generator", "versions", "made_on"]
    table = pd.read_parquet(path, columns=names).dropna(subset=["video_sha256"])
    table = table[table["video_sha256"].astype(str) != ""].drop_duplicates(names[:3])
    if table.empty:
        raise UserError(f"{path}: no cell has a video")
    return {
        Key(str(row["variant"]).split(" @ ")[0], str(row["prompt_id"]), int(row["seed"])): {
            "video_sha256": str(row["video_sha256"]),
            "generator": json.loads(str(row["generator"]) or "{}"),
            "versions": json.loads(str(row["versions"]) or "{}"),
            "device": str(row["made_on"]).split(":")[0],
        }
        for row in table.to_dict("records")
    }


def configuration(folder: Path, study: Path, device: str) -> dict[str, Any]:
    """The published configuration, for a run on this machine's `device` into `study`."""
    stored = yaml.safe_load((folder / "reproduce.yaml").read_text(encoding="utf-8"))
    asked = {key: value for key, value in stored.items() if key not in ("defaults", "hydra")}
    return asked | HERE | {"study": str(study), "device": device}


def _compare(
    folder: Path, published: dict[Key, dict[str, Any]], chosen: Sequence[Key], study: Path
) -> list[Compared]:
    from ablations.chosen import variants
    from bench.stages import generate

    devices = {published[key]["device"] for key in chosen}
    if len(devices) > 1:
        raise UserError(f"{folder}: cells were made on {', '.join(sorted(devices))}: ask for fewer")
    cfg = configuration(folder, study, devices.pop())
    wanted = {key.variant for key in chosen}
    # Batches are cut within a variant, so the others need not even be asked for.
    generate.run(cfg, [one for one in variants(cfg) if one.name in wanted], only=set(chosen))
    made = Study.open(study)
    return [_compared(key, published[key], made) for key in chosen]


def _compared(key: Key, published: dict[str, Any], study: Study) -> Compared:
    record = study.cell(*key).record()
    if record is None or record.status != "done":
        failed = [record.error.message] if record is not None and record.error else []
        return Compared(key, published["video_sha256"], "", tuple(failed))
    then, now = named(published["generator"]), named(record.generator)
    why = [
        f"{name} {then.get(name)} then, {now.get(name)} now"
        for name in ("weights_digest", "codebook", "delta")
        if then.get(name) != now.get(name)
    ]
    why += [
        f"{name} {version} then, {record.versions.get(name)} now"
        for name, version in published["versions"].items()
        if record.versions.get(name) != version
    ]
    return Compared(key, published["video_sha256"], record.video_sha256, tuple(why))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, make cells and say how they compare."""
    parser = argparse.ArgumentParser(description="Make random cells of a published study again.")
    parser.add_argument("folder", type=Path, help="what reports.publish wrote")
    parser.add_argument("--cells", type=int, default=3, help="how many cells are drawn")
    parser.add_argument("--seed", type=int, help="draw the same cells every time")
    parser.add_argument("--study", type=Path, help="keep the videos in this study")
    options = parser.parse_args(arguments)
    try:
        found = reproduce(options.folder, options.cells, seed=options.seed, study=options.study)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for one in found:
        print(one)
    same = sum(one.same for one in found)
    verb = "has" if 1 in (same, len(found)) else "have"
    print(f"{same} of {count(len(found), 'cell')} {verb} the same bytes")
    return 0 if same == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
