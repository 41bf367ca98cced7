"""What is under test: sampler × packing × section length × options, as one frozen value.

Names are read and written by `ablations.variant`; here is only what a name means.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.errors import UserError
from bench.packing import Packing

Scalar = int | float | str

MAX_SECTION: Final = 33
"""The longest section (in latent frames) that HunyuanVideo was trained to denoise at once."""


DELTAS: Final = ("window", "causal", "forcing-random", "forcing-0.1", "discrete")
"""What a checkpoint can be fine-tuned for, one small file each: a sliding window of clean history,
causal attention, noise on history at any or at one level, discretised history."""


@dataclass(frozen=True)
class Option:
    """One thing besides sampler, packing and section length that a variant may change."""

    kind: type[int] | type[float] | type[str]
    """The type of its value."""

    meaning: str
    """One line for manual pages."""

    choices: tuple[str, ...] = ()
    """The allowed words; empty where any value of the type is."""

    low: float = 0.0
    """The smallest number allowed."""

    high: float = math.inf
    """The largest one; infinity itself is no number to compute with."""


OPTIONS: Final[dict[str, Option]] = {
    "steps": Option(int, "diffusion steps of one section", low=1),
    "guidance": Option(float, "distilled guidance scale, embedded in the model"),
    "cfg": Option(float, "true classifier-free guidance scale; 1 is off"),
    "shift": Option(str, "flow shift: a number, or `released` for the rule on target tokens"),
    "teacache": Option(float, "TeaCache threshold; 0 is off"),
    "padding": Option(
        str,
        "gap between target and far frames: the published cap of 3 sections, or the true distance",
        ("released", "exact"),
    ),
    "missing": Option(
        str,
        "history that does not exist yet: attended zero latents as published, or left out",
        ("zeros", "drop"),
    ),
    "order": Option(
        str,
        "order of the history: by time, or by similarity to the newest frame",
        ("time", "similarity", "hybrid"),
    ),
    "noise": Option(float, "noise mixed into the clean history, σ in 0..1", high=1),
    "forcing": Option(
        float,
        "DiffusionForcing: history has this times the noise of each diffusion step; 0 is off",
        high=1,
    ),
    "history_guidance": Option(
        float, "weight of guidance away from the same section with fully noised history; 0 is off"
    ),
    "attention": Option(
        str,
        "full, or block-causal: no frame reads later frames of the packed sequence",
        ("full", "causal"),
    ),
    "block": Option(
        int, "SkyReels-V2: latent frames of a causal block; 1 is full attention", low=1
    ),
    "lag": Option(int, "SkyReels-V2: diffusion steps by which a block lags the one before it"),
    "delta": Option(
        str,
        "fine-tuned for a method, where the generator has such weights; without them it runs "
        "training-free",
        DELTAS,
    ),
    "lora": Option(str, "name of one of the generator's LoRA weights"),
    "weights": Option(str, "name of one of the generator's transformers"),
    "method": Option(
        str,
        "packed: one rollout; repeat: image-to-video again on the last frame of each section",
        ("packed", "repeat"),
    ),
}
"""Every option that a variant may carry, with its type and allowed values."""


@dataclass(frozen=True)
class Variant:
    """One architecture under test.

    Raises:
        UserError: the section length is outside 1..33, an option is unknown or its value is wrong.
    """

    sampler: str
    """vanilla, f1, anti_drifting, inverted or endpoints."""

    packing: Packing
    """Levels, tail, anchor and endpoints of the context."""

    section: int
    """g: latent frames made in one denoising run."""

    name: str
    """The paper's name, or an explicit one; also the folder name."""

    discrete: int | None = None
    """K of +D, the size of the codebook that history is converted to; None: not converted."""

    options: Mapping[str, Scalar] = field(default_factory=dict)
    """What differs from the generator's and sampler's defaults, by name; see `OPTIONS`."""

    def __post_init__(self) -> None:
        if not 1 <= self.section <= MAX_SECTION:
            raise UserError(
                f"{self.name}: a section has 1 to {MAX_SECTION} latent frames, not {self.section}"
            )
        checked = {key: check_option(self.name, key, self.options[key]) for key in self.options}
        object.__setattr__(self, "options", dict(sorted(checked.items())))

    def __hash__(self) -> int:
        options = tuple(self.options.items())
        return hash((self.sampler, self.packing, self.section, self.name, self.discrete, options))

    def option(self, key: str, default: Scalar) -> Scalar:
        """The variant's value of an option, or the default where it leaves that alone."""
        return self.options.get(key, default)


def check_option(owner: str, key: str, value: Scalar) -> Scalar:
    """The value in its option's type.

    Raises:
        UserError: the option does not exist, or the value is of the wrong type or not allowed.
    """
    if key not in OPTIONS:
        raise UserError(f"{owner}: no option {key!r}; options are {', '.join(OPTIONS)}")
    option = OPTIONS[key]
    try:
        typed = option.kind(value)
    except (TypeError, ValueError):
        expected = "a whole number" if option.kind is int else "a number"
        raise UserError(f"{owner}: option {key} takes {expected}, not {value!r}") from None
    if option.choices and typed not in option.choices:
        raise UserError(f"{owner}: option {key} is one of {', '.join(option.choices)}, not {value}")
    if not isinstance(typed, str) and not (option.low <= typed <= option.high and typed < math.inf):
        allowed = f"at least {option.low:g}"
        if option.high < math.inf:
            allowed = f"{option.low:g} to {option.high:g}"
        raise UserError(f"{owner}: option {key} is {allowed}, not {value}")
    return typed
