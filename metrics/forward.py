"""Running networks over a stream of frames so that a score depends on nothing but the video.

Three things change the last bits of a forward, and so, sometimes, a score: how many images share
it, which of them share it, and whether the machine rounds (TF32) or times (cuDNN's benchmark) its
way to another algorithm. Here items are prepared one by one, forwarded in groups of a constant
size cut at fixed positions, and `exact_arithmetic` turns the machine's choices off.

On a CPU the number of cores that share a forward changes its bits, too. So each has one core, and
several are under way at once (`in_parallel`); their answers still come back in order, and no score
knows of it. On a GPU a metric's forwards follow each other in one thread.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from threading import local
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from metrics import weights
from metrics.base import Chunk, Curve, Frames, Groups, Measurement, Reading
from metrics.checkpoint import state_dict
from metrics.errors import Unavailable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Key = TypeVar("Key")
T = TypeVar("T")
Answer = TypeVar("Answer")

Item = npt.NDArray[Any]
"""What one forward gets of one frame, pair or crop."""

Network = Callable[[Item], Sequence[Any] | Item]
"""A group of items [size, ...] to one answer each: [size, ...], or a list."""


AT_ONCE = 4
"""Forwards of one network that may be under way together: each holds a group and its activations,
so this bounds memory on machines with many cores."""

_thread = local()


def in_parallel(workers: Executor | None, device: str = "cpu") -> None:
    """From now on a CPU's work that this thread asks for runs on the workers; None: in this thread.

    `device` is where the networks are that do not say where.
    """
    _thread.workers, _thread.device = workers, device


def _workers(device: str | None) -> Executor | None:
    """Who works for a network on the device (None: the thread's); nobody for one on a GPU."""
    on_cpu = (device or getattr(_thread, "device", "cpu")) == "cpu"
    return getattr(_thread, "workers", None) if on_cpu else None


def side_by_side(
    work: Callable[[T], Answer], items: Iterable[T], device: str = "cpu"
) -> list[Answer]:
    """`work` of every item, in order; on the workers where this thread has some.

    `device` is where the work is done: on a GPU one item follows the other.
    """
    workers = _workers(device)
    return list(map(work, items) if workers is None else workers.map(work, items))


class Forwards(Generic[Key]):
    """Items through a network in groups of constant size; answers come back in order.

    for key, answer in forwards.put(frame_index, item): ...
    for key, answer in forwards.rest(): ...
    """

    def __init__(
        self, size: int, network: Network, at_once: int = AT_ONCE, device: str | None = None
    ) -> None:
        """`at_once` groups may be under way together where there are workers for them.

        `device` is where the network is; None: where `in_parallel` says.
        """
        self._groups = Groups(size)
        self._network = network
        self._at_once = at_once
        self._device = device
        self._keys: list[Key] = []
        self._under_way: deque[tuple[list[Key], Future[Sequence[Any] | Item]]] = deque()

    def put(self, key: Key, item: Item) -> Iterator[tuple[Key, Any]]:
        """Add an item; gives the answers that are due by now: none, or those of whole groups."""
        self._keys.append(key)
        for group, count in self._groups.add([item]):
            yield from self._forward(group, count)

    def rest(self) -> Iterator[tuple[Key, Any]]:
        """All answers that were not given yet."""
        for group, count in self._groups.rest():
            yield from self._forward(group, count)
        while self._under_way:
            yield from self._oldest()

    def _forward(self, group: Item, count: int) -> Iterator[tuple[Key, Any]]:
        keys, self._keys = self._keys[:count], self._keys[count:]
        workers = _workers(self._device)
        if workers is None:
            while self._under_way:
                yield from self._oldest()
            yield from zip(keys, self._network(group)[:count], strict=True)
            return
        while len(self._under_way) >= self._at_once:
            yield from self._oldest()
        self._under_way.append((keys, workers.submit(self._network, group)))

    def _oldest(self) -> Iterator[tuple[Key, Any]]:
        """The answers to the group that has been under way for longest."""
        keys, answers = self._under_way.popleft()
        yield from zip(keys, answers.result()[: len(keys)], strict=True)


class FrameForwards(Measurement):
    """A metric whose item is one frame, by a network that is given groups of frames."""

    def __init__(
        self, metric: str, prepare: Callable[[Frames], Item], network: Network, size: int
    ) -> None:
        """Measure `metric` frame by frame.

        Args:
            metric: id of the catalogue.
            prepare: uint8 [height, width, 3] to what the network takes of one frame.
            network: [size, ...] to one number each, [size].
            size: frames in a forward; part of the protocol, not of the machine.
        """
        self._metric = metric
        self._prepare = prepare
        self._forwards: Forwards[int] = Forwards(size, network)
        self._values: list[float] = []

    def update(self, chunk: Chunk) -> None:
        """Prepare every frame; forward whenever a group is full."""
        for offset, frame in enumerate(chunk.frames):
            for _, value in self._forwards.put(chunk.first + offset, self._prepare(frame)):
                self._values.append(float(value))

    def finish(self) -> Sequence[Reading]:
        """One item per frame."""
        self._values += [float(value) for _, value in self._forwards.rest()]
        values = np.asarray(self._values, dtype=np.float64)
        return [Reading(self._metric, Curve(np.arange(len(values)), values))]


def exact_arithmetic() -> None:
    """Full float32 and the same algorithm on every run, for this process's GPU work."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def ready(network: "torch.nn.Module", device: str) -> "torch.nn.Module":
    """The network on its device, for inference only."""
    exact_arithmetic()
    return network.to(device).eval().requires_grad_(False)


def read_state(name: str, key: str = "") -> "Mapping[str, Tensor]":
    """The state dict in a registered, checked file (`key` names its entry in a larger checkpoint).

    Raises `Unavailable` where the file cannot be had or has not that content.
    """
    path = weights.get(name)
    try:
        return state_dict(path, key)
    except Unavailable as error:
        again = f"delete {path} and run: {weights.lookup(name).command}"
        raise Unavailable(f"{error}; {again}") from None


def frame_tensor(frame: Frames) -> "Tensor":
    """Uint8 [height, width, 3] to uint8 [1, 3, height, width]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]


SMALLEST_CORRELATED = 128
"""The side that frames are padded to for RAFT and AMT: in smaller ones the coarsest of their
correlations vanishes, or has one row, and the references give no number."""


def centred_padding(height: int, width: int, multiple: int) -> tuple[int, int, int, int]:
    """Pixels to add left, right, above and below so that sides are multiples of `multiple` and at
    least `SMALLEST_CORRELATED`: half on each side, the odd pixel right or below."""
    more_rows, more_columns = (
        max(SMALLEST_CORRELATED, -(-side // multiple) * multiple) - side for side in (height, width)
    )
    left, top = more_columns // 2, more_rows // 2
    return left, more_columns - left, top, more_rows - top


def at_once(pixels: int, budget: int, most: int) -> int:
    """Items that may be in work together: as many as `budget` pixels hold, from 1 to `most`.

    It depends on the frame size alone, never on the memory that happens to be free.
    """
    return max(1, min(most, budget // max(1, pixels)))


def whole_frames(network: Network, together: int, device: str) -> "Forwards[Any]":
    """Forwards of a network that works at full resolution on `together` items at a time.

    On a GPU they share a forward. On a CPU one item fills a core and its cache, and a padded last
    group is work for nothing: there each item is a forward of its own, and they run side by side.
    """
    if device == "cpu":
        return Forwards(1, network, at_once=together)
    return Forwards(together, network, at_once=1)
