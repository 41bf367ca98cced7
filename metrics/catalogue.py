"""Every quantity that a score may be about: its title, direction and range.

One entry per row name of scores.parquet, whatever the back-end that measured it. The seven first
are the FramePack paper's; they are on VBench's 0..1 scale, higher is better, and print as
percentages.
"""

from metrics.base import MetricSpec

PAPER = ("clarity", "aesthetic", "motion", "dynamic", "semantic", "anatomy", "identity")
"""The paper's seven, in the order of its tables."""

DRIFTS_IN_PAPER = ("clarity", "motion", "semantic", "anatomy")
"""Those whose start-end contrast the paper's tables print."""

_ALL = (
    MetricSpec("clarity", "Clarity", "Freedom of frames from blur, noise and blocking."),
    MetricSpec("aesthetic", "Aesthetic", "How beautiful people would find single frames."),
    MetricSpec("motion", "Motion", "Smoothness: how well middle frames follow from neighbours."),
    MetricSpec("dynamic", "Dynamic", "Whether the video moves enough to count as dynamic."),
    MetricSpec(
        "semantic", "Semantic", "Agreement of the video with its prompt.", bounds=(-1.0, 1.0)
    ),
    MetricSpec("anatomy", "Anatomy", "Share of people whose bodies, faces and hands look right."),
    MetricSpec(
        "identity", "Identity", "Likeness of faces to the reference face.", bounds=(-1.0, 1.0)
    ),
    MetricSpec(
        "identity_rate", "Identity rate", "Share of frames whose face matches the reference."
    ),
    MetricSpec(
        "dynamic_magnitude",
        "Magnitude",
        "Mean length of the fastest 5 % of flow vectors between sampled frames.",
        percent=False,
        bounds=(0.0, float("inf")),
        unit="px",
    ),
    MetricSpec(
        "subject_consistency", "Subject", "Likeness of frames to the first and to the one before."
    ),
    MetricSpec(
        "background_consistency",
        "Background",
        "Likeness of whole scenes to the first frame's and to the one before.",
    ),
    MetricSpec(
        "colour",
        "Colour",
        "Closeness of a frame's colours and contrast to those of the input image or first frame.",
    ),
    MetricSpec("contrast", "Contrast", "Spread of lightness within a frame.", bounds=(0.0, 1.0)),
    MetricSpec(
        "cast",
        "Cast",
        "Distance of a frame's mean colour from grey.",
        higher_is_better=False,
        percent=False,
        bounds=(0.0, 181.0),
        unit="ΔE",
    ),
    MetricSpec(
        "change", "Change", "Share of frames that differ from the frame before (not frozen)."
    ),
    MetricSpec(
        "departure",
        "Departure",
        "Distance of a frame's layout from the first frame's.",
        higher_is_better=None,
        percent=False,
        bounds=(0.0, 181.0),
        unit="ΔE",
        drifts=False,
    ),
)

SPECS: dict[str, MetricSpec] = {spec.id: spec for spec in _ALL}


def register(spec: MetricSpec) -> MetricSpec:
    """Add a quantity of one's own, before scoring; the same id again must be the same spec."""
    if SPECS.setdefault(spec.id, spec) != spec:
        raise ValueError(f"metric {spec.id!r} is already in the catalogue with another meaning")
    return spec
