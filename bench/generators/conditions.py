"""What denoising is told of a request: text and images, each encoded once."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from bench.generators.base import Request
from bench.generators.transformer import TextInputs

KEPT_IMAGES: Final = 512
"""Encoded images that are kept; methods that encode frames of their own would add without end."""


@dataclass(frozen=True)
class Condition:
    """One request, encoded."""

    positive: TextInputs
    negative: TextInputs | None
    first: Any
    """The autoencoder's posterior of the first frame."""
    last: Any
    """The same of the end image, or None."""


class Conditioner:
    """Encodes requests with a pipeline's encoders; keeps what it has encoded."""

    def __init__(self, pipe: Any, device: str, dtype: torch.dtype) -> None:
        self._pipe = pipe
        self._device = device
        self._dtype = dtype
        self._texts: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        self._images: dict[str, tuple[Tensor, Any]] = {}

    def encode(self, request: Request, height: int, width: int, negative: str | None) -> Condition:
        """Embeddings and posteriors, taken from memory where they were made before.

        Args:
            request: its text, and its images to be resized.
            height: pixels of the video.
            width: the same.
            negative: the text that guidance steers away from; None without guidance.
        """
        with torch.inference_mode():
            first_tokens, first = self._image(request.image, height, width)
            last = None
            if request.last_image is not None:
                last = self._image(request.last_image, height, width)[1]
            positive = self._text(request.text, first_tokens)
            against = None if negative is None else self._text(negative, first_tokens)
        return Condition(positive, against, first, last)

    def _text(self, text: str, image: tuple[str, Tensor]) -> TextInputs:
        if text not in self._texts:
            embeds, pooled, mask = self._pipe.encode_prompt(prompt=text, device=self._device)
            self._texts[text] = tuple(t.to(self._dtype) for t in (embeds, pooled, mask))
        embeds, pooled, mask = self._texts[text]
        key, tokens = image
        return TextInputs(f"{key}\0{text}", embeds, mask, pooled, tokens)

    def _image(self, image: Any, height: int, width: int) -> tuple[tuple[str, Tensor], Any]:
        """((digest, SigLIP tokens), posterior) of one image at one size."""
        key = hashlib.sha256(f"{height}x{width}{image.size}{image.mode}".encode() + image.tobytes())
        name = key.hexdigest()
        if name not in self._images:
            if len(self._images) >= KEPT_IMAGES:
                self._images.pop(next(iter(self._images)))
            pixels = self._pipe.video_processor.preprocess(image, height, width)
            tokens = self._pipe.encode_image(pixels, device=self._device).to(self._dtype)
            video = pixels.unsqueeze(2).to(self._device, self._pipe.vae.dtype)
            self._images[name] = (tokens, self._pipe.vae.encode(video).latent_dist)
        tokens, posterior = self._images[name]
        return (name, tokens), posterior

    def forget(self) -> None:
        """Drop all that is kept: the next request is encoded again."""
        self._texts.clear()
        self._images.clear()
