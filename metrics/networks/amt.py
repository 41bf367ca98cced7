"""AMT-S: the frame halfway between two frames.

Li et al., "AMT: All-Pairs Multi-Field Transforms for Efficient Frame Interpolation" (CVPR 2023),
the small model. Three ideas:

1. *All-pairs correlation*, as in RAFT: every 1/8-scale feature of one frame times every feature of
   the other, kept as a pyramid and looked up around the current flow, in both directions.
2. *Coarse to fine*: four decoders go from 1/16 to full resolution; after each of the first three,
   flow and features are corrected from the correlation looked up at the flow just found.
3. *Many fields*: the last decoder gives three flow pairs, blending masks and residual images, so
   that occluded regions have alternatives; a small convolution merges the three candidates.

`load_state_dict` takes the `state_dict` entry of the published `amt-s.pth`. All flows are pixels of
their own scale, pointing from the middle frame at time `t` to the first (0) or second (1) frame.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metrics.networks.warping import backward_warp, rescale, rescale_flow

PYRAMID_CHANNELS = (20, 32, 44, 56)  # 1/2, 1/4, 1/8, 1/16
SIDE_CHANNELS = 20  # the part of a residual block's features that is convolved twice
FIELDS = 3
CORRELATION_CHANNELS = 84
CORRELATION_LEVELS = 4
CORRELATION_RADIUS = 3

MULTIPLE = 16
"""Frame sides must be multiples of this; pad by replication and crop the result."""


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class BottleneckBlock(nn.Module):
    """Residual bottleneck with instance norm: 1×1 to a quarter, 3×3, 1×1 back."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.conv1 = nn.Conv2d(inputs, narrow, 1)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, 1)
        self.conv3 = nn.Conv2d(narrow, outputs, 1)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.InstanceNorm2d(outputs))
            if stride != 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        y = F.relu(F.instance_norm(self.conv1(x)))
        y = F.relu(F.instance_norm(self.conv2(y)))
        y = F.relu(F.instance_norm(self.conv3(y)))
        return F.relu(self.downsample(x) + y)


class CorrelationEncoder(nn.Module):
    """Frame to the 1/8-scale features whose products are the correlation volume."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, 3)
        self.layer1 = nn.Sequential(BottleneckBlock(32, 32, 1), BottleneckBlock(32, 32, 1))
        self.layer2 = nn.Sequential(BottleneckBlock(32, 64, 2), BottleneckBlock(64, 64, 1))
        self.layer3 = nn.Sequential(BottleneckBlock(64, 96, 2), BottleneckBlock(96, 96, 1))
        self.conv2 = nn.Conv2d(96, CORRELATION_CHANNELS, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 84, H/8, W/8]."""
        x = F.relu(F.instance_norm(self.conv1(frames)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[no-any-return]


class ContextEncoder(nn.Module):
    """Frame to four feature maps, each half the size of the one before."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for level, channels in enumerate(PYRAMID_CHANNELS, start=1):
            stage = nn.Sequential(
                _convolution(inputs, channels, 2), _convolution(channels, channels)
            )
            self.add_module(f"pyramid{level}", stage)
            inputs = channels

    def forward(self, frames: Tensor) -> list[Tensor]:
        """[B, 3, H, W] to features at 1/2, 1/4, 1/8 and 1/16."""
        features, x = [], frames
        for stage in self.children():
            x = stage(x)
            features.append(x)
        return features


class SideResidualBlock(nn.Module):
    """Five convolutions; the second and fourth touch only the last `SIDE_CHANNELS` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, channels)
        self.conv2 = _convolution(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv3 = _convolution(channels, channels)
        self.conv4 = _convolution(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv5 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.prelu = nn.PReLU(channels)

    @staticmethod
    def _side(convolution: nn.Module, x: Tensor) -> Tensor:
        main, side = x[:, :-SIDE_CHANNELS], x[:, -SIDE_CHANNELS:]
        return torch.cat((main, convolution(side)), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same."""
        y = self._side(self.conv2, self.conv1(x))
        y = self._side(self.conv4, self.conv3(y))
        return self.prelu(x + self.conv5(y))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The trunk that all four decoders share: mix, refine, double the resolution."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            _convolution(inputs, width),
            SideResidualBlock(width),
            nn.ConvTranspose2d(width, outputs, 4, 2, 1),
        )

    def forward(self, *parts: Tensor) -> Tensor:
        """Concatenated [B, inputs, H, W] to [B, outputs, 2H, 2W]."""
        return self.convblock(torch.cat(parts, dim=1))  # type: ignore[no-any-return]


class CorrectionBlock(nn.Module):
    """Corrections to features and flows from the correlation looked up at the flows.

    It works at 1/8 scale; finer features are brought there and the corrections back.
    """

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        window = (2 * CORRELATION_RADIUS + 1) ** 2
        hidden = 76
        self.convc1 = nn.Conv2d(2 * CORRELATION_LEVELS * window, 64, 1)
        self.convf1 = nn.Conv2d(4, 40, 7, padding=3)
        self.convf2 = nn.Conv2d(40, 20, 3, padding=1)
        self.conv = nn.Conv2d(64 + 20, 68, 3, padding=1)
        self.gru = self._pair(68 + 4 + channels, hidden, hidden)
        self.feat_head = self._pair(hidden, hidden, channels)
        self.flow_head = self._pair(hidden, hidden, 4)

    @staticmethod
    def _pair(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, hidden, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, outputs, 3, padding=1),
        )

    def forward(
        self, features: Tensor, flows: Tensor, correlation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Corrections to add.

        Args:
            features: [B, channels, scale·h, scale·w].
            flows: both flows brought to 1/8 scale, [B, 4, h, w].
            correlation: what `CorrelationPyramid.look_up` gave, [B, 392, h, w].

        Returns:
            Corrections for the features and for the flows, both at the features' scale.
        """
        if self.scale != 1:
            features = rescale(features, 1 / self.scale)
        seen = F.leaky_relu(self.convc1(correlation), 0.1)
        moved = F.leaky_relu(self.convf1(flows), 0.1)
        moved = F.leaky_relu(self.convf2(moved), 0.1)
        evidence = F.leaky_relu(self.conv(torch.cat((seen, moved), dim=1)), 0.1)
        state = self.gru(torch.cat((evidence, flows, features), dim=1))
        delta_features, delta_flows = self.feat_head(state), self.flow_head(state)
        if self.scale != 1:
            delta_features = rescale(delta_features, self.scale)
            delta_flows = rescale_flow(delta_flows, self.scale)
        return delta_features, delta_flows


class CorrelationPyramid:
    """⟨first, second⟩ / √C for every pair of positions, in both directions, at four scales.

    Only the side that is looked up shrinks from level to level; the other keeps 1/8 scale.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        _, channels, height, width = first.shape
        volume = torch.matmul(first.flatten(2).transpose(1, 2), second.flatten(2))
        volume = volume / math.sqrt(channels)
        self.in_second = self._levels(volume, height, width)
        self.in_first = self._levels(volume.transpose(1, 2), height, width)

    @staticmethod
    def _levels(volume: Tensor, height: int, width: int) -> list[Tensor]:
        level = volume.reshape(-1, 1, height, width)
        levels = [level]
        for _ in range(CORRELATION_LEVELS - 1):
            level = F.avg_pool2d(level, 2, stride=2)
            levels.append(level)
        return levels

    def look_up(self, in_second: Tensor, in_first: Tensor) -> Tensor:
        """Windows around the given positions, [B, 2, h, w] pixels each: [B, 2·4·49, h, w]."""
        return torch.cat(
            (self._windows(self.in_second, in_second), self._windows(self.in_first, in_first)),
            dim=1,
        )

    @staticmethod
    def _windows(levels: list[Tensor], positions: Tensor) -> Tensor:
        batch, _, height, width = positions.shape
        reach = torch.arange(
            -CORRELATION_RADIUS,
            CORRELATION_RADIUS + 1,
            device=positions.device,
            dtype=positions.dtype,
        )
        # The trained order: the window's rows step along x and its columns along y.
        window = torch.stack(torch.meshgrid(reach, reach, indexing="ij"), dim=-1)
        centres = positions.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
        found = []
        for depth, level in enumerate(levels):
            rows, columns = level.shape[-2:]
            size = torch.tensor([columns - 1, rows - 1], device=window.device, dtype=window.dtype)
            grid = 2 * (centres / 2**depth + window) / size - 1
            values = F.grid_sample(level, grid, align_corners=True)
            found.append(values.view(batch, height, width, -1))
        return torch.cat(found, dim=-1).permute(0, 3, 1, 2).contiguous()


class AMTSmall(nn.Module):
    """AMT-S: two frames to the frame between them."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = PYRAMID_CHANNELS
        self.feat_encoder = CorrelationEncoder()
        self.encoder = ContextEncoder()
        self.decoder4 = Decoder(2 * sixteenth + 1, 2 * sixteenth, eighth + 4)
        self.decoder3 = Decoder(3 * eighth + 4, 3 * eighth, quarter + 4)
        self.decoder2 = Decoder(3 * quarter + 4, 3 * quarter, half + 4)
        self.decoder1 = Decoder(3 * half + 4, 3 * half, 8 * FIELDS)
        self.update4 = CorrectionBlock(eighth, 1)
        self.update3 = CorrectionBlock(quarter, 2)
        self.update2 = CorrectionBlock(half, 4)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * FIELDS, 6 * FIELDS, 3, 1, 1),
            nn.PReLU(6 * FIELDS),
            nn.Conv2d(6 * FIELDS, 3, 3, 1, 1),
        )

    def forward(self, first: Tensor, second: Tensor, time: float = 0.5) -> Tensor:
        """The frame at `time` between the two.

        Args:
            first: [B, 3, H, W] in 0..1; H and W multiples of 16.
            second: the same shape.
            time: 0 (first) to 1 (second), both excluded.

        Returns:
            [B, 3, H, W] in 0..1.
        """
        mean = torch.cat((first, second), dim=2).mean(1, True).mean(2, True).mean(3, True)
        first, second = first - mean, second - mean
        correlation = CorrelationPyramid(*self.feat_encoder(torch.cat((first, second))).chunk(2))
        first_features, second_features = self.encoder(first), self.encoder(second)

        batch, _, height, width = first_features[3].shape
        moment = first.new_full((batch, 1, height, width), time)
        out = self.decoder4(first_features[3], second_features[3], moment)
        flows, features = out[:, :4], out[:, 4:]
        flows, features = self._correct(self.update4, flows, features, correlation, time)
        for decoder, update, level in (
            (self.decoder3, self.update3, 2),
            (self.decoder2, self.update2, 1),
        ):
            out = decoder(
                *self._aligned(first_features[level], second_features[level], flows, features)
            )
            flows, features = out[:, :4] + rescale_flow(flows, 2.0), out[:, 4:]
            flows, features = self._correct(update, flows, features, correlation, time)
        out = self.decoder1(*self._aligned(first_features[0], second_features[0], flows, features))
        return self._merge(first, second, mean, out, rescale_flow(flows, 2.0)).clamp(0, 1)

    @staticmethod
    def _aligned(
        first: Tensor, second: Tensor, flows: Tensor, features: Tensor
    ) -> tuple[Tensor, ...]:
        return (
            features,
            backward_warp(first, flows[:, :2]),
            backward_warp(second, flows[:, 2:]),
            flows,
        )

    @staticmethod
    def _correct(
        update: CorrectionBlock,
        flows: Tensor,
        features: Tensor,
        correlation: CorrelationPyramid,
        time: float,
    ) -> tuple[Tensor, Tensor]:
        coarse = flows if update.scale == 1 else rescale_flow(flows, 1 / update.scale)
        rows = torch.arange(coarse.shape[2], device=coarse.device, dtype=coarse.dtype)
        columns = torch.arange(coarse.shape[3], device=coarse.device, dtype=coarse.dtype)
        here = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
        # Motion is taken as linear: flow from the middle to an end, stretched to span both ends.
        seen = correlation.look_up(
            in_second=here + coarse[:, 2:] / time, in_first=here + coarse[:, :2] / (1 - time)
        )
        delta_features, delta_flows = update(features, coarse, seen)
        return flows + delta_flows, features + delta_features

    def _merge(
        self, first: Tensor, second: Tensor, mean: Tensor, out: Tensor, flows: Tensor
    ) -> Tensor:
        """Three blends of the warped frames, averaged, plus what a convolution sees in them."""
        batch, _, height, width = out.shape
        to_first, to_second, mask, residual = torch.split(
            out, [2 * FIELDS, 2 * FIELDS, FIELDS, 3 * FIELDS], dim=1
        )

        def warped(frame: Tensor, delta: Tensor, base: Tensor) -> Tensor:
            field = delta.view(batch, FIELDS, 2, height, width) + base[:, None]
            frames = frame[:, None].expand(-1, FIELDS, -1, -1, -1)
            moved = backward_warp(frames.flatten(0, 1), field.flatten(0, 1))
            return moved.view(batch, FIELDS, 3, height, width)

        share = torch.sigmoid(mask)[:, :, None]
        candidates = (
            share * warped(first, to_first, flows[:, :2])
            + (1 - share) * warped(second, to_second, flows[:, 2:])
            + mean[:, None]
            + residual.view(batch, FIELDS, 3, height, width)
        )
        correction: Tensor = self.comb_block(candidates.flatten(1, 2))
        return candidates.mean(dim=1) + correction
