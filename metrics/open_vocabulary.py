"""Find things named in words: OWLv2.

Minderer et al., "Scaling Open-Vocabulary Object Detection" (NeurIPS 2023), by transformers; code
and weights are Apache-2.0. Queries are wrapped as the model was trained on ("a photo of a …").
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics.base import Frames
from metrics.clip_frames import MEAN, STD, normalise
from metrics.forward import Item, frame_tensor, read_state, ready

if TYPE_CHECKING:
    import torch

SIDE = 960
TOKENS = 16
GREY = 0.5

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def tokenize(queries: Sequence[str]) -> "torch.Tensor":
    """CLIP's tokens of "a photo of a …", [n, 16] int64, padded with zeros."""
    from open_clip import SimpleTokenizer  # type: ignore[import-untyped]

    tokens: torch.Tensor = SimpleTokenizer(context_length=TOKENS)(
        [f"a photo of a {query}" for query in queries]
    )
    return tokens


class OpenVocabularyDetector:
    """OWLv2 on one device."""

    def __init__(self, network: Any, device: str, side: int = SIDE) -> None:
        self.network = network
        self.device = device
        self.side = side

    @classmethod
    def published(cls, weight: str, device: str) -> "OpenVocabularyDetector":
        """The base model, patch 16, 960 pixels, with the weights of a registered file."""
        from transformers import Owlv2Config, Owlv2ForObjectDetection

        config = Owlv2Config(vision_config={"image_size": SIDE})
        network = Owlv2ForObjectDetection(config)
        found = network.load_state_dict(dict(read_state(weight)), strict=False)
        if found.missing_keys:
            raise ValueError(f"{weight} lacks {found.missing_keys[0]}")
        return cls(ready(network, device), device)

    def prepare(self, image: Frames) -> npt.NDArray[np.float32]:
        """Uint8 [height, width, 3] to float32 [3, side, side]: scaled to fit, the rest grey."""
        import torch
        from torch.nn import functional as F

        height, width = image.shape[:2]
        scale = self.side / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        pixels = F.interpolate(
            frame_tensor(image).float() / 255,
            size=size,
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        square = torch.full((1, 3, self.side, self.side), GREY)
        square[..., : size[0], : size[1]] = pixels
        values: npt.NDArray[np.float32] = normalise(square, MEAN, STD)[0].numpy()
        return values

    def forward(self, images: Item, queries: Sequence[str]) -> Item:
        """Candidates of [n, 3, side, side]: [n, candidates, 4 + queries].

        First the box (left, top, right, bottom) as shares of the image's longer side, then the
        probability of each query.
        """
        import torch

        tokens = tokenize(queries).repeat(len(images), 1).to(self.device)
        with torch.inference_mode():
            out = self.network(
                input_ids=tokens,
                attention_mask=(tokens > 0).long(),
                pixel_values=torch.from_numpy(images).to(self.device),
            )
            centre, size = out.pred_boxes[..., :2], out.pred_boxes[..., 2:]
            found = torch.cat((centre - size / 2, centre + size / 2, out.logits.sigmoid()), dim=-1)
        values: Item = found.float().cpu().numpy()
        return values


def boxes(
    candidates: Item, height: int, width: int, score: float, same: float
) -> list[tuple[Box, int]]:
    """What is really there: boxes in pixels with their query, best first.

    Args:
        candidates: [candidates, 4 + queries], from `OpenVocabularyDetector.forward`.
        height: of the image, pixels.
        width: of the image, pixels.
        score: least probability of a box's best query.
        same: overlap (IoU) from which two boxes of one query are one thing.
    """
    import torch
    from torchvision.ops import batched_nms  # type: ignore[import-untyped]

    found = torch.from_numpy(np.asarray(candidates))
    best, query = found[:, 4:].max(dim=1)
    chosen = best > score
    corners = found[chosen, :4] * max(height, width)
    corners[:, 0::2] = corners[:, 0::2].clamp(0, width)
    corners[:, 1::2] = corners[:, 1::2].clamp(0, height)
    best, query = best[chosen], query[chosen]
    solid = ((corners[:, 2:] - corners[:, :2]) >= 1).all(dim=1)
    corners, best, query = corners[solid], best[solid], query[solid]
    kept = batched_nms(corners, best, query, same)
    return [
        ((left, top, right, bottom), int(query[index]))
        for index in kept.tolist()
        for left, top, right, bottom in [corners[index].tolist()]
    ]
