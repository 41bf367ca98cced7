"""The card of the pocket checkpoint's deltas, written from what their training recorded."""

from __future__ import annotations

import json
from pathlib import Path

from bench.pocket.card import table

HEAD = """---
license: apache-2.0
library_name: diffusers
base_model: pocket
tags: [lora]
---

# Deltas of Pocket FramePack

Low-rank fine-tunings of the pocket checkpoint, one for each alternative to packing that needs
training. Variants ask for them by `+delta-NAME`; each belongs to the very weights it was trained
on, whose digest it carries. Trained on the procedural world alone, for minutes: what they show is
how a method changes a small model that had a chance to learn it, not how good the method can be.

"""

TAIL = """
Loss is the flow-matching loss on held-out clips, history changed as the delta's method changes it,
before training (the checkpoint as it is) and after. Every recipe stands in NAME.json;
`python -m bench.pocket.train_delta NAME --steps N` repeats a training.
"""


def write(folder: Path) -> None:
    """Write README.md from the records NAME.json in the folder."""
    rows = [["delta", "for", "held-out loss before", "after", "steps", "minutes", "size"]]
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        size = path.with_suffix(".safetensors").stat().st_size
        rows.append(
            [
                f"`{path.stem}`",
                record["delta"]["what"],
                f"{record['held_out_before']:.4f}",
                f"{record['held_out_after']:.4f}",
                str(record["recipe"]["steps"]),
                f"{record['seconds'] / 60:.1f}",
                f"{size / 1e6:.2f} MB",
            ]
        )
    (folder / "README.md").write_text(HEAD + table(rows) + TAIL, encoding="utf-8")
