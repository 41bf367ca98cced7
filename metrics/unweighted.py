"""The set `paper` without its weight files: networks of the published classes, values random.

What a forward costs does not depend on the values of the weights. So the cost of the paper's set
can be measured where its files are missing, and never be mistaken for a score: nothing here is
registered, and only `metrics.speed` uses it.

Two things would otherwise depend on random values and are fixed: the detector runs, and then
"finds" one person, one face and one hand in every frame; the faces of Identity are left out, for
its ONNX files hold the network itself.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from metrics.forward import Item
from metrics.open_vocabulary import OpenVocabularyDetector

BACKENDS = (
    "musiq-spaq",
    "laion-linear",
    "amt-s",
    "raft-large",
    "viclip",
    "vbench2-vit",
    "dino-b16",
    "clip-b32",
)
"""Of the set `paper`, all but `buffalo-l`."""

CLIP_MODELS = {"clip-vit-l-14": "ViT-L-14-quickgelu", "clip-vit-b-32": "ViT-B-32-quickgelu"}

SMALL_SIDE = 240
"""Pixels that the small detector looks at."""


@contextmanager
def networks(small: bool = False) -> Iterator[None]:
    """Within it the back-ends' `load` builds random networks and asks for no file.

    Args:
        small: transformers of one layer, and a detector of few pixels. What a measurement keeps per
            frame is the same, so the growth of memory is seen in minutes; what the networks
            themselves need is less, so a ratio of peaks is larger than with the whole networks.
    """
    from torch import nn

    from metrics import open_vocabulary, weights

    with ExitStack() as stack:

        def replaced(owner: Any, name: str, new: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, new))

        replaced(weights, "get", lambda name, offline=None: Path(name))
        replaced(nn.Module, "load_state_dict", _loads_nothing)
        for module in ("aesthetic", "anatomy", "clarity", "consistency", "dynamic", "motion"):
            replaced(_module(module), "read_state", lambda name, key="": {})
        replaced(_module("semantic"), "read_state", lambda name, key="": {})
        replaced(open_vocabulary, "read_state", lambda name, key="": {})
        for module in ("aesthetic", "consistency", "semantic"):
            replaced(_module(module), "load_clip", _clip(small))
        replaced(OpenVocabularyDetector, "published", classmethod(_detector(small)))
        if small:
            _shrink(replaced)
        yield


def _module(name: str) -> Any:
    from importlib import import_module

    return import_module(f"metrics.{name}")


def _loads_nothing(self: Any, state: Any, strict: bool = True, assign: bool = False) -> Any:
    return SimpleNamespace(missing_keys=[], unexpected_keys=[])


def _clip(small: bool) -> Any:
    def load(weight: str, device: str) -> Any:
        from open_clip import CLIP, get_model_config  # type: ignore[import-untyped]

        from metrics.forward import ready

        config = dict(get_model_config(CLIP_MODELS[weight]))
        if small:
            config["vision_cfg"] = {**config["vision_cfg"], "layers": 1}
            config["text_cfg"] = {**config["text_cfg"], "layers": 1}
        return ready(CLIP(**config), device)

    return load


def _detector(small: bool) -> Any:
    def published(kind: Any, weight: str, device: str) -> OpenVocabularyDetector:
        from transformers import Owlv2Config, Owlv2ForObjectDetection

        from metrics.forward import ready
        from metrics.open_vocabulary import SIDE

        side = SMALL_SIDE if small else SIDE
        config = Owlv2Config(
            vision_config={"image_size": side, **({"num_hidden_layers": 1} if small else {})},
            text_config={"num_hidden_layers": 1} if small else {},
        )
        return OnePerson(ready(Owlv2ForObjectDetection(config), device), device, side)

    return published


class OnePerson(OpenVocabularyDetector):
    """Does the detector's work, and finds one of everything in the frame's top left."""

    def forward(self, images: Item, queries: Any) -> Item:
        """Candidates as the detector gives them: one box for every query."""
        super().forward(images, queries)
        boxes = [[0.0, 0.0, 0.4, 0.4, *np.eye(len(queries))[each]] for each in range(len(queries))]
        return np.repeat(np.array([boxes], np.float32), len(images), axis=0)


def _shrink(replaced: Any) -> None:
    """One layer for MUSIQ, ViCLIP, DINO and the classifiers, whose widths stay."""
    import timm
    from pyiqa.archs import musiq_arch  # type: ignore[import-untyped]

    from metrics.networks import viclip

    musiq, dino, size = musiq_arch.MUSIQ.__init__, timm.create_model, viclip.Size

    def one_layer(self: Any, **given: Any) -> None:
        musiq(self, **given, num_layers=1)

    replaced(musiq_arch.MUSIQ, "__init__", one_layer)
    replaced(timm, "create_model", lambda *given, **named: dino(*given, **named, depth=1))
    whole = viclip.ViCLIP
    replaced(viclip, "ViCLIP", lambda: whole(size(vision_layers=1, text_layers=1)))
