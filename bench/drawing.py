"""A plan for people: a table of sections and a drawing of who sees what."""

import itertools

from bench.plan import Context, Plan, Section

NEVER, MADE, TARGET = "·", "─", "█"


def rows(plan: Plan) -> list[dict[str, str]]:
    """One row per section, in the order made: what `stage=plan` prints."""
    return [
        {
            "section": str(number),
            "latents": _span(section.target),
            "index": _span(section.target_indices),
            "context": "  ".join(describe(context) for context in section.contexts),
            "context tokens": str(section.context_tokens),
            "tokens": str(section.tokens),
        }
        for number, section in enumerate(plan.sections, start=1)
    ]


def describe(context: Context) -> str:
    """`k4[1-16]@0-15`: the kernel, the latents it sees (∅ for zero latents), their indices."""
    parts = []
    for missing, run in itertools.groupby(context.frames, key=lambda frame: frame is None):
        frames = list(run)
        parts.append(
            f"∅×{len(frames)}" if missing else _spans([f for f in frames if f is not None])
        )
    seen = ",".join(parts)
    pool = {"": "", "append": "pooled ", "compress": "averaged "}[context.pool]
    return f"{pool}{context.kernel.name}[{seen}]@{_spans(context.indices)}"


def draw(plan: Plan, width: int = 100) -> str:
    """One line per section over the video's latents, drawn with the kernel's digit.

    █ is made now, a digit is seen with that kernel (t: tail), ─ exists but is not seen, · does not
    exist yet. Videos with more latents than `width` are drawn with several latents per character,
    of which the most telling one is shown.
    """
    total = plan.latents + plan.end_image
    step = -(-total // width)
    drawn = [NEVER] * -(-total // step)
    for given in {0, plan.latents} if plan.end_image else {0}:
        drawn[given // step] = MADE
    lines = []
    for number, section in enumerate(plan.sections, start=1):
        lines.append(f"{number:>3} {''.join(_marked(drawn, section, step))} {section.tokens}")
        for position in section.target:
            drawn[position // step] = MADE
    return "\n".join(lines)


def _marked(drawn: list[str], section: Section, step: int) -> list[str]:
    """A line of what exists, with what the section sees and makes."""
    marks = list(drawn)
    for context in section.contexts:
        name = context.kernel.name
        mark = "t" if context.pool else (name[1] if len(name) == 2 else "a")
        for frame in context.frames:
            if frame is not None:
                marks[frame // step] = min(mark, marks[frame // step], key=_telling)
    for position in section.target:
        marks[position // step] = TARGET
    return marks


def _telling(mark: str) -> tuple[int, str]:
    return ({TARGET: 0, "t": 2, MADE: 3, NEVER: 4}.get(mark, 1), mark)


def _span(values: tuple[int, ...]) -> str:
    return f"{values[0]}-{values[-1]}" if len(values) > 1 else str(values[0])


def _spans(values: list[int] | tuple[int, ...]) -> str:
    """Sorted runs: 0,5-20."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(_span(tuple(run)) for run in runs)
