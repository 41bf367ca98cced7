"""Which class measures with which back-end.

The table names classes without importing them, so that a set is listed, and its missing parts are
told, before torch is loaded. Sets (`paper`, `lite`, `pocket`) are the files of conf/metrics.
"""

import difflib
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from metrics.base import Metric
from metrics.errors import UserError

Factory = Callable[..., Metric]

BACKENDS: dict[str, tuple[tuple[str, ...], str | Factory]] = {
    # paper
    "musiq-spaq": (("clarity",), "metrics.clarity:MusiqSpaq"),
    "laion-linear": (("aesthetic",), "metrics.aesthetic:LaionLinear"),
    "laion-mlp": (("aesthetic",), "metrics.aesthetic:LaionMlp"),
    "amt-s": (("motion",), "metrics.motion:AmtS"),
    "rife": (("motion",), "metrics.motion:Rife"),
    "raft-large": (("dynamic", "dynamic_magnitude"), "metrics.dynamic:RaftLarge"),
    "viclip": (("semantic",), "metrics.semantic:ViClip"),
    "clip-mean": (("semantic",), "metrics.semantic:ClipMean"),
    "vbench2-vit": (("anatomy",), "metrics.anatomy:VBench2Vit"),
    "buffalo-l": (("identity", "identity_rate"), "metrics.identity:BuffaloL"),
    "dino-b16": (("subject_consistency",), "metrics.consistency:DinoSubject"),
    "clip-b32": (("background_consistency",), "metrics.consistency:ClipBackground"),
    # lite
    "classical": (("clarity",), "metrics.clarity_classical:ClassicalClarity"),
    "piqe": (("clarity",), "metrics.clarity_natural:Piqe"),
    "brisque": (("clarity",), "metrics.clarity_natural:Brisque"),
    "niqe": (("clarity",), "metrics.clarity_natural:Niqe"),
    "dis": (("dynamic", "dynamic_magnitude"), "metrics.flow_dis:DisFlow"),
    "mobilefacenet": (("identity", "identity_rate"), "metrics.faces_lite:MobileFace"),
    "blaze-landmarks": (("anatomy",), "metrics.anatomy_lite:BlazeLandmarks"),
    "lab-moments": (("colour", "contrast", "cast"), "metrics.colour:LabMoments"),
    "frame-difference": (("change",), "metrics.frozen:FrameDifference"),
    "grid-departure": (("departure",), "metrics.departure:GridDeparture"),
    # pocket
    "pocket-judge": (("clarity", "anatomy", "identity"), "metrics.judges:PocketFrames"),
    "pocket-caption": (("semantic",), "metrics.judges:PocketCaption"),
}
"""back-end → (metrics it measures, "module:class" or a factory)."""


def register(backend: str, *, metric: str | tuple[str, ...], factory: Factory | str) -> None:
    """Add a back-end of one's own under a new name; `factory(**options)` makes the Metric."""
    if backend in BACKENDS and BACKENDS[backend][1] != factory:
        raise UserError(f"metric back-end {backend!r} is already registered")
    BACKENDS[backend] = ((metric,) if isinstance(metric, str) else tuple(metric), factory)


def measures(backend: str) -> tuple[str, ...]:
    """Catalogue ids that a back-end measures. Raises `UserError` for an unknown one."""
    if backend not in BACKENDS:
        near = difflib.get_close_matches(backend, BACKENDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"metric back-end {backend!r} is unknown{hint} (known: {', '.join(sorted(BACKENDS))})"
        )
    return BACKENDS[backend][0]


def build(backend: str, **options: Any) -> Metric:
    """The Metric of a back-end, its weights not yet loaded.

    Raises:
        UserError: an unknown back-end, or an option that it does not have.
    """
    measures(backend)
    factory = BACKENDS[backend][1]
    if isinstance(factory, str):
        module, name = factory.split(":")
        factory = getattr(import_module(module), name)
        assert callable(factory)
    there = inspect.signature(factory).parameters
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in there.values()):
        for key in options:
            if key not in there:
                raise UserError(
                    f"metrics.options.{backend}.{key}: no such option; "
                    + (f"there are {', '.join(there)}" if there else f"{backend} has none")
                )
    return factory(**options)
