"""stage=plan: print what a variant does section by section; no model is loaded."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from bench.drawing import draw, rows
from bench.generators import plan as make_plan
from bench.plan import Plan, single
from bench.progress import console
from bench.variant import Variant
from bench.video import check_video
from bench.words import count

SIZE = (480, 832)
"""Height and width where the configuration leaves them to the images: the paper's 480p."""


def run(cfg: Mapping[str, Any], variants: Sequence[Variant]) -> int:
    """Print the plan of every variant: sections, contexts, token counts; `json=true` for data.

    Raises:
        UserError: the video's length, rate or size is wrong, or a variant cannot be planned.
    """
    video = cfg["video"]
    check_video(video)
    height, width = video["height"] or SIZE[0], video["width"] or SIZE[1]
    made = []
    for variant in variants:
        plan = make_plan(
            cfg["generator"],
            variant,
            height=height,
            width=width,
            seconds=video["seconds"],
            fps=video["fps"],
        )
        made.append(plan)
        if cfg["json"]:
            line = json.dumps({"variant": variant.name, **plan.to_json()})
            # In one piece: other workers may print to the same place.
            sys.stdout.write(f"{line}\n")
        else:
            _show(variant, plan, video["fps"])
    if (told := single(made)) and not cfg["json"]:
        print(told)
    return 0


def _show(variant: Variant, plan: Plan, fps: float) -> None:
    """One plan as a heading, a table and a drawing."""
    shown = console()
    seconds = plan.frames / fps
    sections = f"{count(len(plan.sections), 'section')} of g{variant.section}"
    shown.print(
        f"{variant.name}: {variant.sampler}, {sections}, "
        f"{plan.latents} latents, {plan.frames} frames, {seconds:.2f} s at {fps:g} fps, "
        f"{plan.width}×{plan.height}",
        markup=False,
    )
    found = rows(plan)
    table = Table(box=None, pad_edge=False)
    for column in found[0]:
        right = column in ("section", "context tokens", "tokens")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in found:
        table.add_row(*row.values())
    shown.print(table)
    shown.print(draw(plan), markup=False, soft_wrap=True)
    shown.print(f"digest {plan.digest}\n", markup=False)
