"""The paper's numbers, as far as they are known: second-hand, partial, and never a test oracle.

They were noted from the revised paper (arXiv 2504.12626 v3), not read from its source, and its
prompts and models were never released. They stand in a table of their own, so that nobody takes
them for results of a study. The drift values of +D differ between the paper's tables, whose K
differ; they are separate rows and stay so.
"""

from __future__ import annotations

import numpy as np

from reports.tables.table import Block, Heading, Number, Row, Table

MARK = "reported, second-hand"

_ = np.nan

REPORTED: tuple[tuple[str, tuple[tuple[str, tuple[float, ...]], ...]], ...] = (
    (
        "Main table",
        (
            ("td_f16k4f2k2f1k1_g9", (_, _, _, 3.18, 3.42, 7.45, 18.05, 1074)),
            ("td_f16k4f2k2f1k1_g9+D", (_, _, _, 2.30, 2.49, 4.12, 14.11, 1222)),
            ("td_f8k8f4k4f2k2f1k1_g9", (_, _, _, 3.25, 3.45, 7.45, 16.56, 1090)),
            ("td_f8k8f4k4f2k2f1k1_g9+D", (_, _, _, 2.43, 2.74, 4.45, 14.37, 1225)),
            ("f1k1_x_g9_f1k1f2k2f16k4_td", (71.15, 89.29, 28.15, 2.25, 1.85, 2.68, 8.58, 1220)),
        ),
    ),
    (
        "Alternatives",
        (
            ("f16k4f2k2f1k1_g9+D, K=256", (70.01, 91.74, 28.37, 3.13, 2.05, 2.89, 8.74, 1224)),
            ("Repeating image-to-video", (56.73, 91.21, 17.74, 9.51, _, _, _, 1015)),
            ("Anchor frames", (69.58, 74.97, 25.76, 2.85, _, _, _, 1173)),
            ("Causal attention", (62.88, 88.27, 19.15, 7.45, _, _, _, 1087)),
            ("DiffusionForcing, σ 0.1", (66.08, 91.59, 23.14, 4.84, _, _, _, 1170)),
            ("DiffusionForcing, σ 0.5", (67.41, 91.08, 24.03, 3.55, _, _, _, 1174)),
            ("DiffusionForcing, σ 0", (_, _, _, 8.41, _, _, _, 1095)),
            ("History guidance", (68.05, 73.39, 24.88, 7.35, _, _, _, 1152)),
        ),
    ),
)
"""Blocks of rows; the numbers in the order of `COLUMNS`."""

COLUMNS = (
    Heading("clarity", "Clarity", "higher"),
    Heading("dynamic", "Dynamic", "higher"),
    Heading("semantic", "Semantic", "higher"),
    Heading("clarity.drift", "ΔClarity", "lower"),
    Heading("motion.drift", "ΔMotion", "lower"),
    Heading("semantic.drift", "ΔSemantic", "lower"),
    Heading("anatomy.drift", "ΔAnatomy", "lower"),
    Heading("elo", "ELO", "higher"),
)


def reference() -> Table:
    """The reference table. No number is marked best: the rows come from different tables."""
    blocks = tuple(
        Block(
            title,
            tuple(
                Row(name, tuple(_number(*pair) for pair in zip(values, COLUMNS, strict=True)))
                for name, values in rows
            ),
        )
        for title, rows in REPORTED
    )
    return Table(
        "reference",
        f"The paper's numbers ({MARK})",
        "Variant",
        COLUMNS,
        blocks,
        (
            f"Each number: {MARK}, from notes on arXiv 2504.12626 v3; partial. Made with another "
            "model, other prompts and other metric back-ends than a study here: for orientation, "
            "not for comparison by number.",
        ),
    )


def _number(value: float, heading: Heading) -> Number:
    return Number(value, digits=0 if heading.key == "elo" else 2)
