"""Runs the landmark models of MediaPipe, which are published as TensorFlow Lite files, in torch.

The files are read as they are: a graph of fifteen kinds of operations over tensors in
[batch, height, width, channels] order, weights in half precision, some of them sparse. Reading them
takes the `flatbuffers` package and the field numbers of TensorFlow Lite's published schema; no
TensorFlow runtime is needed, batches and GPUs work, and outputs agree with LiteRT's to about 1e-5.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flatbuffers import number_types  # type: ignore[import-untyped]
from flatbuffers.table import Table  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional as F

from metrics.errors import MetricError

Array = npt.NDArray[Any]

FLOAT32, FLOAT16, INT32, UINT8 = 0, 1, 2, 3
TYPES = {FLOAT32: np.float32, FLOAT16: np.float16, INT32: np.int32, UINT8: np.uint8}
SAME = 0
RELU, RELU6 = 1, 3

NAMES = {
    0: "add",
    2: "concatenate",
    3: "convolve",
    4: "convolve_depthwise",
    5: "depth_to_space",
    6: "dequantize",
    9: "fully_connect",
    14: "logistic",
    17: "max_pool",
    22: "reshape",
    23: "resize",
    34: "pad",
    40: "mean",
    54: "prelu",
    124: "densify",
}
"""Operation code of the schema → method of `LandmarkGraph`."""


class Record:
    """A table of the file: its fields by their numbers in the schema."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @classmethod
    def root(cls, data: bytes) -> "Record":
        """The model itself."""
        start = int.from_bytes(data[:4], "little")
        return cls(Table(bytearray(data), start))

    def _offset(self, number: int) -> int:
        return int(self._table.Offset(4 + 2 * number))

    def number(self, field: int, kind: Any = number_types.Int32Flags, default: int = 0) -> int:
        """A scalar field, or its default where the file leaves it out."""
        offset = self._offset(field)
        return int(self._table.Get(kind, offset + self._table.Pos)) if offset else default

    def byte(self, field: int, default: int = 0) -> int:
        """A scalar field of one byte."""
        return self.number(field, number_types.Int8Flags, default)

    def record(self, field: int) -> "Record | None":
        """A table field; of a union, whose kind another field tells, too."""
        offset = self._offset(field)
        if not offset:
            return None
        where = self._table.Indirect(offset + self._table.Pos)
        return Record(Table(self._table.Bytes, where))

    def records(self, field: int) -> "list[Record]":
        """A vector of tables."""
        offset = self._offset(field)
        if not offset:
            return []
        start, count = self._table.Vector(offset), self._table.VectorLen(offset)
        where = [self._table.Indirect(start + 4 * index) for index in range(count)]
        return [Record(Table(self._table.Bytes, each)) for each in where]

    def numbers(self, field: int, kind: Any = number_types.Int32Flags) -> Array:
        """A vector of scalars."""
        offset = self._offset(field)
        if not offset:
            return np.zeros(0, dtype=np.int64)
        found: Array = self._table.GetVectorAsNumpy(kind, offset)
        return found


def _values(record: Record | None, kind: int) -> Array:
    """The numbers of a sparse index: vectors of 32, 16 or 8 bits."""
    if record is None:
        return np.zeros(0, dtype=np.int64)
    kinds = {1: number_types.Int32Flags, 2: number_types.Uint16Flags, 3: number_types.Uint8Flags}
    return record.numbers(0, kinds[kind]).astype(np.int64)


def densify(values: Array, shape: Sequence[int], sparsity: Record) -> Array:
    """A sparse constant written out.

    Dimensions are stored in `traversal_order`, each either dense or as compressed sparse rows;
    those beyond the tensor's own are dimensions inside blocks of those that `block_map` names.
    """
    order = [int(axis) for axis in sparsity.numbers(0)]
    blocks = [int(axis) for axis in sparsity.numbers(1)]
    levels = sparsity.records(2)
    rank = len(shape)
    # Every stored value's coordinates are built level by level: `parents` are positions so far.
    parents = np.zeros(1, dtype=np.int64)
    coordinates: list[Array] = []
    for level in levels:
        if level.byte(0) == 0:
            size = level.number(1)
            coordinates = [np.repeat(axis, size) for axis in coordinates]
            coordinates.append(np.tile(np.arange(size), len(parents)))
            parents = np.repeat(parents, size) * size + coordinates[-1]
        else:
            segments = _values(level.record(3), level.byte(2))
            indices = _values(level.record(5), level.byte(4))
            first, last = segments[parents], segments[parents + 1]
            coordinates = [np.repeat(axis, last - first) for axis in coordinates]
            parents = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
            coordinates.append(indices[parents])
    place: list[Array] = [np.zeros(len(parents), dtype=np.int64) for _ in range(rank)]
    inner = {axis: levels[order.index(rank + i)].number(1) for i, axis in enumerate(blocks)}
    for axis, found in zip(order, coordinates, strict=True):
        if axis < rank:
            place[axis] = place[axis] + found * inner.get(axis, 1)
        else:
            place[blocks[axis - rank]] = place[blocks[axis - rank]] + found
    dense = np.zeros(tuple(shape), dtype=values.dtype)
    dense[tuple(place)] = values[parents]
    return dense


class LandmarkGraph:
    """A model: `graph(images)` gives the wanted outputs, for any number of images."""

    def __init__(
        self, path: Path, device: str = "cpu", wanted: Sequence[int] | None = None
    ) -> None:
        """Read the file and put its weights onto the device.

        Args:
            path: the .tflite file.
            device: where to compute.
            wanted: positions of the outputs to compute; what only the others need is left out.

        Raises:
            MetricError: the file is no such model, or has an operation that is not known here.
        """
        model = Record.root(path.read_bytes())
        codes = [max(each.byte(0), each.number(3)) for each in model.records(1)]
        buffers = model.records(4)
        (subgraph,) = model.records(2)
        tensors = subgraph.records(0)
        self._constants: dict[int, Tensor] = {}
        self._shapes = [tuple(int(size) for size in each.numbers(0)) for each in tensors]
        for index, tensor in enumerate(tensors):
            raw = buffers[tensor.number(2)].numbers(0, number_types.Uint8Flags)
            if len(raw):
                kind = TYPES.get(tensor.byte(1))
                if kind is None:
                    raise MetricError(f"{path.name}: tensor type {tensor.byte(1)} is not known")
                values = np.frombuffer(raw.astype(np.uint8).tobytes(), dtype=kind)
                sparsity = tensor.record(6)
                array = (
                    values.reshape(self._shapes[index])
                    if sparsity is None
                    else densify(values, self._shapes[index], sparsity)
                )
                self._constants[index] = torch.from_numpy(array.copy()).to(device)
        self.inputs = [int(index) for index in subgraph.numbers(1)]
        outputs = [int(index) for index in subgraph.numbers(2)]
        self.outputs = outputs if wanted is None else [outputs[index] for index in wanted]
        self._steps: list[tuple[Callable[..., Tensor], list[int], int, Record]] = []
        for operator in subgraph.records(3):
            code = codes[operator.number(0, number_types.Uint32Flags)]
            if code not in NAMES:
                raise MetricError(f"{path.name}: operation {code} is not known")
            step = getattr(self, f"_{NAMES[code]}")
            inputs = [int(index) for index in operator.numbers(1)]
            options = operator.record(4) or Record(Table(bytearray(8), 4))
            self._steps.append((step, inputs, int(operator.numbers(2)[0]), options))
        self._leave_out_unused()
        self._fold_constants()

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the images it takes."""
        _, height, width, _ = self._shapes[self.inputs[0]]
        return height, width

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Outputs for images float32 [n, height, width, 3]."""
        known: dict[int, Tensor] = {self.inputs[0]: images}
        with torch.inference_mode():
            for step, inputs, output, options in self._steps:
                arguments = [self._value(index, known) for index in inputs]
                known[output] = step(options, *arguments)
        return [known[index] for index in self.outputs]

    def _value(self, index: int, known: dict[int, Tensor]) -> Tensor | None:
        if index < 0:
            return None
        return known[index] if index in known else self._constants[index]

    def _leave_out_unused(self) -> None:
        """Keep the steps that an output depends on."""
        needed, kept = set(self.outputs), []
        for step in reversed(self._steps):
            if step[2] in needed:
                needed.update(step[1])
                kept.append(step)
        self._steps = kept[::-1]

    def _fold_constants(self) -> None:
        """Run what depends on weights only (widening, densifying) once."""
        remaining = []
        for step, inputs, output, options in self._steps:
            if all(index in self._constants for index in inputs):
                known: dict[int, Tensor] = {}
                self._constants[output] = step(options, *(self._value(i, known) for i in inputs))
            else:
                remaining.append((step, inputs, output, options))
        self._steps = remaining

    @staticmethod
    def _dequantize(options: Record, values: Tensor) -> Tensor:
        return values.float()

    @staticmethod
    def _densify(options: Record, values: Tensor) -> Tensor:
        return values

    @staticmethod
    def _add(options: Record, first: Tensor, second: Tensor) -> Tensor:
        return activate(first + second, options.byte(0))

    @staticmethod
    def _concatenate(options: Record, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=options.number(0))

    @staticmethod
    def _convolve(options: Record, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride = (options.number(2), options.number(1))
        dilation = (options.number(5, default=1), options.number(4, default=1))
        if weight.shape[1:3] == (1, 1) and stride == (1, 1):
            out = F.linear(images, weight.flatten(1), bias)  # channels are last: one product
        else:
            out = _convolution(
                images, weight.permute(0, 3, 1, 2), bias, stride, dilation, options.byte(0), 1
            )
        return activate(out, options.byte(3))

    @staticmethod
    def _convolve_depthwise(
        options: Record, images: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        stride = (options.number(2), options.number(1))
        dilation = (options.number(6, default=1), options.number(5, default=1))
        channels = images.shape[-1]
        out = _convolution(
            images, weight.permute(3, 0, 1, 2), bias, stride, dilation, options.byte(0), channels
        )
        return activate(out, options.byte(4))

    @staticmethod
    def _fully_connect(
        options: Record, values: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        out = F.linear(values.reshape(len(values), -1), weight, bias)
        return activate(out, options.byte(0))

    @staticmethod
    def _depth_to_space(options: Record, values: Tensor) -> Tensor:
        size = options.number(0)
        count, height, width, depth = values.shape
        blocks = values.reshape(count, height, width, size, size, depth // size**2)
        return blocks.permute(0, 1, 3, 2, 4, 5).reshape(count, height * size, width * size, -1)

    @staticmethod
    def _logistic(options: Record, values: Tensor) -> Tensor:
        return torch.sigmoid(values)

    @staticmethod
    def _max_pool(options: Record, values: Tensor) -> Tensor:
        stride = (options.number(2), options.number(1))
        size = (options.number(4), options.number(3))
        images = values.permute(0, 3, 1, 2)
        if options.byte(0) == SAME:
            padding = same_padding(images.shape[-2:], size, stride, (1, 1))
            images = F.pad(images, padding, value=float("-inf"))
        return activate(F.max_pool2d(images, size, stride).permute(0, 2, 3, 1), options.byte(5))

    @staticmethod
    def _mean(options: Record, values: Tensor, axes: Tensor) -> Tensor:
        return values.mean(dim=tuple(axes.tolist()), keepdim=bool(options.byte(0)))

    @staticmethod
    def _pad(options: Record, values: Tensor, padding: Tensor) -> Tensor:
        pairs = padding.tolist()[::-1]
        return F.pad(values, [side for pair in pairs for side in pair])

    @staticmethod
    def _prelu(options: Record, values: Tensor, slope: Tensor) -> Tensor:
        if slope.numel() == slope.shape[-1]:
            return F.prelu(values.permute(0, 3, 1, 2), slope.flatten()).permute(0, 2, 3, 1)
        return torch.where(values > 0, values, values * slope)

    @staticmethod
    def _reshape(options: Record, values: Tensor, shape: Tensor | None = None) -> Tensor:
        wanted = options.numbers(0).tolist() if shape is None else shape.tolist()
        return values.reshape(len(values), *wanted[1:])

    @staticmethod
    def _resize(options: Record, values: Tensor, size: Tensor) -> Tensor:
        height, width = size.tolist()
        images = values.permute(0, 3, 1, 2)
        if not options.byte(2) and not options.byte(3):
            raise MetricError("resizing without pixel centres is not known")
        resized = F.interpolate(
            images, (height, width), mode="bilinear", align_corners=bool(options.byte(2))
        )
        return resized.permute(0, 2, 3, 1)


def _convolution(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: int,
    groups: int,
) -> Tensor:
    """Channels-last in and out; TensorFlow pads more at the right and bottom than at the left."""
    planes = images.permute(0, 3, 1, 2)
    both = (0, 0)
    if padding == SAME:
        size = (int(weight.shape[-2]), int(weight.shape[-1]))
        left, right, top, bottom = same_padding(planes.shape[-2:], size, stride, dilation)
        if (left, top) == (right, bottom):
            both = (top, left)  # the convolution pads without a copy
        else:
            planes = F.pad(planes, (left, right, top, bottom))
    out = F.conv2d(planes, weight, bias, stride, both, dilation, groups)
    return out.permute(0, 2, 3, 1)


def same_padding(
    shape: Sequence[int], size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> list[int]:
    """Padding (left, right, top, bottom) that gives ceil(size / stride) outputs."""
    sides: list[int] = []
    for axis in (1, 0):
        reach = (size[axis] - 1) * dilation[axis] + 1
        outputs = -(-int(shape[axis]) // stride[axis])
        total = max((outputs - 1) * stride[axis] + reach - int(shape[axis]), 0)
        sides += [total // 2, total - total // 2]
    return sides


def activate(values: Tensor, kind: int) -> Tensor:
    """In place: what is activated was made by the same operation and is nobody else's."""
    if kind == RELU:
        return values.relu_()
    if kind == RELU6:
        return values.clamp_(0, 6)
    return values
