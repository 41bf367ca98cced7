"""MobileFaceNet (Chen et al., CCBR 2018) in the key layout of the facesdk package's model.pt.

An aligned face, 112×112, becomes a vector of 128 numbers; the cosine of two vectors says how alike
the faces are.
"""

import torch
from torch import Tensor, nn

STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""(expansion, channels, blocks, stride of the first block)."""

EMBEDDING = 128


def _activated(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class _Separable(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.depthwise(images)))
        return torch.relu(self.bn2(self.pointwise(out)))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            _activated(inputs, inner, 1),
            _activated(inner, inner, 3, stride, inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.conv(images)
        return images + out if self.residual else out


class _Pool(nn.Module):
    """A learned weighted mean over each channel's 7×7 positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.bn(self.depthwise(images))
        return out


class MobileFaceNet(nn.Module):
    """Faces float32 [n, 3, 112, 112], normalised by ImageNet statistics, to [n, 128]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _activated(3, 64, stride=2)
        self.dw_conv = _Separable(64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, outputs, count, stride in STAGES:
            for index in range(count):
                step = stride if index == 0 else 1
                blocks.append(_Bottleneck(channels, outputs, step, expansion))
                channels = outputs
        self.features = nn.Sequential(*blocks)
        self.conv2 = _activated(channels, 512, 1)
        self.gdconv = _Pool(512)
        self.conv3 = nn.Conv2d(512, EMBEDDING, 1)
        self.bn = nn.BatchNorm2d(EMBEDDING)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeddings, not normalised."""
        out = self.features(self.dw_conv(self.conv1(faces)))
        out = self.bn(self.conv3(self.gdconv(self.conv2(out))))
        return torch.flatten(out, 1)
