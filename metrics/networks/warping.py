"""Backward warping: look up an image where a flow field points."""

import torch
from torch import Tensor
from torch.nn import functional as F


def backward_warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` at every pixel's position plus its flow.

    Args:
        image: [B, C, H, W].
        flow: [B, 2, H, W], pixels; channel 0 points right, channel 1 points down.

    Returns:
        [B, C, H, W], bilinear; positions outside the image take its border.
    """
    height, width = flow.shape[-2:]
    columns = torch.linspace(-1.0, 1.0, width, device=flow.device, dtype=flow.dtype)
    rows = torch.linspace(-1.0, 1.0, height, device=flow.device, dtype=flow.dtype)
    # grid_sample's coordinates run from -1 to 1 between the centres of the outermost pixels.
    x = columns.view(1, 1, width) + flow[:, 0] / ((width - 1.0) / 2.0)
    y = rows.view(1, height, 1) + flow[:, 1] / ((height - 1.0) / 2.0)
    return F.grid_sample(
        image,
        torch.stack((x, y), dim=-1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )


def rescale(x: Tensor, factor: float) -> Tensor:
    """Resize [B, C, H, W] by `factor`, bilinear, pixel centres at half integers."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def rescale_flow(flow: Tensor, factor: float) -> Tensor:
    """Resize a flow field; its vectors, being pixels, grow with it."""
    # Multiplied where it is smaller: the same numbers, as factors are powers of two.
    return rescale(factor * flow, factor) if factor > 1 else factor * rescale(flow, factor)
