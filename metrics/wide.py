"""One row per video: each metric's score and its drift, for whoever looks before computing.

Rows of another back-end or fingerprint are another column: a column never mixes what cannot be
compared. A metric that no video has a value of is no column.
"""

from typing import TYPE_CHECKING

from metrics.base import MetricSpec
from metrics.catalogue import SPECS

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 80
"""Characters of a line; what does not fit goes into a further block."""

NAME = 24
"""Characters of a video's name; of longer ones the end, where they differ."""

ROWS = 20
"""Videos that are printed."""

DASH = "–"


def wide(scores: "pd.DataFrame") -> "pd.DataFrame":
    """The columns video, METRIC and ΔMETRIC (|start − end|), on the scale of scores.csv.

    Where there are several back-ends of a metric its columns are METRIC.BACKEND, where a back-end
    has several fingerprints METRIC.BACKEND.FINGERPRINT.

    Args:
        scores: the rows of `metrics.export.collect`.
    """
    import pandas as pd

    table = pd.DataFrame({"video": scores["video"].unique()})
    measured = scores[scores["status"] == "ok"].sort_values(
        "reading", key=lambda how: how == "curve"
    )
    settings = measured.groupby(["metric", "backend", "fingerprint"], sort=False)
    kinds = [tuple(map(str, kind)) for kind, _ in settings]
    order = list(SPECS)
    kinds.sort(key=lambda kind: order.index(kind[0]) if kind[0] in SPECS else len(order))
    for kind in kinds:
        metric, backend, fingerprint = kind
        name = metric
        if [other[0] for other in kinds].count(metric) > 1:
            name += f".{backend}"
        if [other[:2] for other in kinds].count((metric, backend)) > 1:
            name += f".{fingerprint}"
        rows = settings.get_group(kind)
        segments = {"all": name} | ({"drift": f"Δ{name}"} if spec_of(name).drifts else {})
        for segment, head in segments.items():
            # Exact readings come first where there are some.
            found = rows[rows["segment"] == segment].drop_duplicates("video")
            table[head] = table["video"].map(found.set_index("video")["value"])
    return table


def spec_of(name: str) -> MetricSpec:
    """The catalogue's entry for a column, or a plain one for a quantity that it does not know."""
    metric = name.removeprefix("Δ").partition(".")[0]
    return SPECS.get(metric) or MetricSpec(metric, metric, "", percent=False)


def lines(table: "pd.DataFrame") -> list[str]:
    """The first rows of `wide` for people: percent where the reports print percent.

    The metrics stand side by side as far as a line goes, the rest in further blocks below.
    """
    if len(table.columns) == 1:
        return ["no video has a score"]
    shown = table.head(ROWS)
    names = [name if len(name) <= NAME else "…" + name[1 - NAME :] for name in shown["video"]]
    labels = _aligned(["", *names], left=True)
    blocks = [labels]
    for name in [head for head in table.columns[1:] if not head.startswith("Δ")]:
        group = _column(shown, name, _heading(name))
        if f"Δ{name}" in table:
            drift = _column(shown, f"Δ{name}", "Δ")
            group = [f"{value} {change}" for value, change in zip(group, drift, strict=True)]
        if blocks[-1] is not labels and len(blocks[-1][0]) + 2 + len(group[0]) > WIDTH:
            blocks.append(labels)
        blocks[-1] = [f"{line}  {part}" for line, part in zip(blocks[-1], group, strict=True)]
    text = ["percent unless a unit is named; Δ is |start − end|"]
    for block in blocks:
        text += ["", *(line.rstrip() for line in block)]
    if len(table) > ROWS:
        text.append(f"… and {len(table) - ROWS} more")
    return text


def _heading(name: str) -> str:
    spec = spec_of(name)
    _, _, which = name.partition(".")
    return " ".join(filter(None, (spec.title, which, spec.unit)))


def _column(table: "pd.DataFrame", name: str, heading: str) -> list[str]:
    percent = spec_of(name).percent
    numbers = [
        DASH if value != value else f"{100 * value:.1f}" if percent else f"{value:.2f}"
        for value in table[name]
    ]
    return _aligned([heading, *numbers])


def _aligned(words: list[str], *, left: bool = False) -> list[str]:
    width = max(map(len, words))
    return [word.ljust(width) if left else word.rjust(width) for word in words]
