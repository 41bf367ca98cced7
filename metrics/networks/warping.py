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
    return sample(image, targets(flow))


def targets(flow: Tensor, scale: int = 1) -> Tensor:
    """Where flow points, [B, 2, h, w], as `sample` asks for it.

    Args:
        flow: [B, 2, h, w], pixels: a whole field, or what `middles` keeps of one.
        scale: what `middles` was asked for; 1 for a whole field.
    """
    kept = max(1, scale // 2)  # pixels of the field for each of `flow`
    height, width = (kept * side for side in flow.shape[-2:])
    columns, rows = (
        middles(torch.linspace(-1, 1, side, device=flow.device, dtype=flow.dtype), scale, (-1,))
        for side in (width, height)
    )
    x = columns + flow[:, 0] / ((width - 1) / 2)
    y = rows.unsqueeze(-1) + flow[:, 1] / ((height - 1) / 2)
    return torch.stack((x, y), dim=1)


def sample(image: Tensor, places: Tensor) -> Tensor:
    """`image` [B, C, H, W] at `places` [B, 2, h, w], bilinear; beyond it, its border.

    Places run from -1 to 1 between the centres of the outermost pixels.
    """
    return F.grid_sample(
        image,
        places.permute(0, 2, 3, 1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )


def middles(x: Tensor, scale: int, dims: tuple[int, ...] = (-2, -1)) -> Tensor:
    """The pixels that `rescale` by 1/scale looks at: of every cell the two middle rows and columns.

    `rescale` by a half makes of them what it makes of all by 1/scale. `scale` is a power of two; up
    to two all pixels are looked at.
    """
    if scale > 2:
        for dim in dims:
            cells = x.unflatten(dim, (-1, scale))  # type: ignore[no-untyped-call]
            x = cells.narrow(dim, scale // 2 - 1, 2).flatten(dim - 1, dim)
    return x


def rescale(x: Tensor, factor: float) -> Tensor:
    """Resize [B, C, H, W] by `factor`, bilinear, pixel centres at half integers."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def rescale_flow(flow: Tensor, factor: float) -> Tensor:
    """Resize a flow field; its vectors, being pixels, grow with it."""
    # Multiplied where it is smaller: the same numbers, as factors are powers of two.
    return rescale(factor * flow, factor) if factor > 1 else factor * rescale(flow, factor)
