"""The straightforward way to score a video, against which `metrics.speed` measures.

Every metric decodes the video for itself and gives its network one frame (pair, crop) at a time, on
all cores; for drift it does so again on the start and on the end, as one does with a program that
takes files. The networks are plain: the same weights and the same operations, one after the other
as published. Where a network of ours takes a shorter way to the same numbers, the plain one is
here, and a test holds both against each other.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metrics.base import Chunk, Frames, Groups, Metric, ScoringContext, VideoInfo
from metrics.clock import Clock, Spent
from metrics.drift import segment_length
from metrics.errors import MetricError
from metrics.networks import landmark_graph
from metrics.networks.landmark_graph import LandmarkGraph, Record
from metrics.networks.rife import LARGE_MOTION, RIFE, SCALES, FlowBlock
from metrics.networks.warping import backward_warp, rescale, rescale_flow
from metrics.networks.yunet import OVERLAP, Rows
from metrics.score import Scorer
from metrics.stream import Video


class PlainRIFE(RIFE):
    """Every block warps, joins and shrinks whole frames."""

    def forward(
        self, first: Tensor, second: Tensor, time: float = 0.5, refine: bool = False
    ) -> Tensor:
        """As `RIFE.forward`, for one pair, without the refinement."""
        assert not refine
        frame = self._between(first, second, time, 1)
        if frame is None:
            frame = self._between(first, second, time, 2)
        assert frame is not None
        return frame

    def _between(self, first: Tensor, second: Tensor, time: float, factor: int) -> Tensor | None:
        """None where the second block finds that motion is large for these scales."""
        moment = torch.full_like(first[:, :1], time)
        x = torch.cat((first, second, moment), 1)
        flows, mask = _plain_block(self.block0, x, None, SCALES[0] * factor)
        for block, scale in zip((self.block1, self.block2, self.block3), SCALES[1:], strict=True):
            near, far = backward_warp(first, flows[:, :2]), backward_warp(second, flows[:, 2:])
            x = torch.cat((near, far, moment, mask), 1)
            delta, delta_mask = _plain_block(block, x, flows, scale * factor)
            if block is self.block1 and factor == 1:
                reach = min(delta[:, :2].abs().max(), delta[:, 2:].abs().max())
                if reach > LARGE_MOTION:
                    return None
            flows, mask = flows + delta, mask + delta_mask
        near, far = backward_warp(first, flows[:, :2]), backward_warp(second, flows[:, 2:])
        share = torch.sigmoid(mask)
        return near * share + far * (1 - share)


def _plain_block(
    block: FlowBlock, x: Tensor, flows: Tensor | None, scale: int
) -> tuple[Tensor, Tensor]:
    x = rescale(x, 1 / scale)
    if flows is not None:
        x = torch.cat((x, rescale_flow(flows, 1 / scale)), 1)
    features = block.conv0(x)
    out = rescale(block.lastconv(block.convblock(features) + features), 2 * scale)
    return out[:, :4] * (2 * scale), out[:, 4:]


class PlainLandmarkGraph(LandmarkGraph):
    """Convolutions of every size by `conv2d`, on padded copies."""

    @staticmethod
    def _convolve(options: Record, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _plain_convolution(options, 3, images, weight.permute(0, 3, 1, 2), bias, 1)

    @staticmethod
    def _convolve_depthwise(
        options: Record, images: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        channels = images.shape[-1]
        return _plain_convolution(options, 4, images, weight.permute(3, 0, 1, 2), bias, channels)


def _plain_convolution(
    options: Record, shift: int, images: Tensor, weight: Tensor, bias: Tensor | None, groups: int
) -> Tensor:
    """`shift`: the field of the activation; a depthwise convolution's fields come one later."""
    stride = (options.number(2), options.number(1))
    dilation = (options.number(shift + 2, default=1), options.number(shift + 1, default=1))
    planes = images.permute(0, 3, 1, 2)
    if options.byte(0) == landmark_graph.SAME:
        size = (int(weight.shape[-2]), int(weight.shape[-1]))
        planes = F.pad(
            planes, landmark_graph.same_padding(planes.shape[-2:], size, stride, dilation)
        )
    out = F.conv2d(planes, weight, bias, stride, 0, dilation, groups).permute(0, 2, 3, 1)
    return landmark_graph.activate(out, options.byte(shift))


class PlainYuNet:
    """OpenCV's own way to run YuNet."""

    def __init__(self, path: Path) -> None:
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of itself
        self._network = cv2.FaceDetectorYN.create(str(path), "", (32, 32), nms_threshold=OVERLAP)
        cv2.utils.logging.setLogLevel(level)

    def detect(self, image: Frames, least: float) -> Rows:
        """As `YuNet.detect`."""
        self._network.setInputSize((image.shape[1], image.shape[0]))
        self._network.setScoreThreshold(least)
        found = self._network.detect(image)[1]
        return np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32)


@contextmanager
def plain_networks() -> Iterator[None]:
    """Back-ends that load within it get plain networks."""
    from metrics import faces_lite, motion
    from metrics.networks import rife, yunet

    def as_it_is(network: nn.Module, device: str = "") -> nn.Module:
        return network

    with ExitStack() as stack:
        for owner, name, plain in (
            (rife, "RIFE", PlainRIFE),
            (landmark_graph, "LandmarkGraph", PlainLandmarkGraph),
            (faces_lite, "folded", as_it_is),
            (motion, "laid_out", as_it_is),
            (yunet, "YuNet", PlainYuNet),
        ):
            stack.enter_context(mock.patch.object(owner, name, plain))
        yield


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Networks get one item a forward."""
    original = Groups.__init__

    def single(self: Groups, size: int) -> None:
        original(self, 1)

    with mock.patch.object(Groups, "__init__", single):
        yield


def plain(scorer: Scorer) -> Scorer:
    """One for the same metrics, loaded, with plain networks."""
    found = Scorer(scorer.set)
    with plain_networks():
        for metric in found.metrics:
            found.load(metric)
    return found


def straightforward(scorer: Scorer, video: Path) -> tuple[Spent, Spent]:
    """What the whole video takes, and what its start and end take, with a `plain` scorer."""
    whole, parts = Spent(), Spent()
    with one_at_a_time():
        for metric in scorer.metrics:
            begun = Clock()
            with Video(video) as opened:
                info = opened.info
                frames = np.concatenate([chunk.frames for chunk in opened.chunks(1)])
            _alone(metric, info, frames, scorer.device)
            whole += begun.spent()
            begun = Clock()
            length = segment_length(len(frames), scorer.fraction, metric.frames_needed(info))
            for part in (frames[:length], frames[-length:]):
                _alone(metric, info, part, scorer.device)
            parts += begun.spent()
    return whole, parts


def _alone(metric: Metric, info: VideoInfo, frames: Frames, device: str) -> None:
    context = ScoringContext(device=device)
    with suppress(MetricError):
        measurement = metric.begin(replace(info, frames=len(frames)), context)
        for index in range(len(frames)):
            measurement.update(Chunk(frames[index : index + 1], index))
        measurement.finish()
