"""The card of the pocket world's judges, written from what their training measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.pocket.card import table

CARD = """---
license: apache-2.0
---

# Judges of the pocket world

One network ({parameters:.2f} million parameters, {size:.1f} MB) that answers for the metric set
`pocket` what networks for photographs cannot: who a cartoon person is (identity), whether every
part is there (anatomy), whether the caption is so (semantic), and how damaged the picture is
where it is worst (clarity). `metrics/networks/pocket_judge.py` is the network,
`metrics/judges.py` the formulas.

**Data.** {clips} rendered clips of the procedural world (`bench/pocket/world.py`), nothing else.
The truth of every frame is known; faults are planted: a part left out of every second clip; blur,
smear, noise, coarse blocks and double contours of any degree in every second window, over the
whole frame, the person alone, or a box.

**Recipe.** `python -m bench.pocket.train_judge`: AdamW, {steps} steps of {batch} windows of
twelve frames, seed {seed}; about five minutes on two cores.

**Measured** on {held_out} held-out clips with planted faults: the probability that a sound one
scores above a faulty one (AUC, 0.5 is chance).

{judges}
The captioned action among eight is named in {action:.1%} of the windows.

**Limits.** They know this world only, at 96×96 pixels; on any other video their numbers mean
nothing. Faults that were never planted (a second person, a third arm) may pass. What they call
worst and best in generated videos is in `judges.png` of the checkpoint's folder.
"""

FAULTS = {
    "identity": "another person",
    "anatomy": "a part missing",
    "semantic": "another action's caption",
    "clarity": "damage, degree 0.3 to 1",
}


def write(weights: Path, parameters: int, measured: dict[str, Any]) -> None:
    """Write NAME.json and NAME.md beside the weights."""
    weights.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n")
    rows = [["judge", "planted fault", "AUC"]]
    rows += [[name, FAULTS[name], f"{value:.3f}"] for name, value in measured["auc"].items()]
    rows += [
        ["clarity", f"the same, {where} only", f"{value:.3f}"]
        for where, value in measured["clarity_auc"].items()
        if where != "frame"
    ]
    text = CARD.format(
        parameters=parameters / 1e6,
        size=weights.stat().st_size / 1e6,
        judges=table(rows),
        held_out=measured["clips"],
        action=measured["action_accuracy"],
        **measured["recipe"],
    )
    weights.with_suffix(".md").write_text(text)
