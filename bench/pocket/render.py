"""Drawing the pocket world: antialiased shapes by signed distance, many frames at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bench.pocket import SIZE
from bench.pocket.world import (
    CANVAS,
    HORIZON,
    STREET,
    Array,
    Scene,
    Skeleton,
    lights,
    poses,
    skeleton,
    sway,
)

CHUNK = 48
"""Frames drawn at once: enough to amortise calls, few enough to stay in the cache."""

PANE = 8
"""Side of a pane of the lantern and the sign, on the grid of latent cells."""

_AXIS = torch.arange(CANVAS, dtype=torch.float32) + 0.5


def _shrinking() -> Tensor:
    """The matrix [SIZE, CANVAS] that averages the canvas's pixels over the frame's."""
    edges = np.arange(SIZE + 1) * CANVAS / SIZE
    cells = np.arange(CANVAS)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return torch.from_numpy((np.clip(overlap, 0, 1) * SIZE / CANVAS).astype(np.float32))


_SHRINK = _shrinking()


class Canvas:
    """Frames [n, 3, CANVAS, CANVAS] in 0..1 on which shapes are put; each touches only its box."""

    def __init__(self, image: Tensor) -> None:
        self.image = image

    def _box(self, values: Sequence[Tensor], reach: Tensor) -> slice:
        low = min(float((v - reach).min()) for v in values)
        high = max(float((v + reach).max()) for v in values)
        return slice(max(int(low) - 1, 0), max(min(int(high) + 2, CANVAS), 0))

    def _put(self, mask: Tensor, colour: Tensor, rows: slice, columns: slice) -> None:
        region = self.image[:, :, rows, columns]
        region.lerp_(colour.view(-1, 3, 1, 1).expand_as(region), mask[:, None].expand_as(region))

    def ellipse(self, x: Tensor, y: Tensor, rx: Tensor, ry: Tensor, colour: Tensor) -> None:
        """Centre and radii are [n]; the colour is [3] or [n, 3]."""
        rows, columns = self._box([y], ry + 1), self._box([x], rx + 1)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        dx = ((_AXIS[columns] - x[:, None]) / rx[:, None]).square()
        dy = ((_AXIS[rows] - y[:, None]) / ry[:, None]).square()
        distance = (dy[:, :, None] + dx[:, None, :]).sqrt_().sub_(1)
        mask = distance.mul_(-torch.minimum(rx, ry)[:, None, None]).add_(0.5).clamp_(0, 1)
        self._put(mask, colour, rows, columns)

    def limb(
        self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], radius: float, colour: Tensor
    ) -> None:
        """A line with round ends between two points [n]."""
        reach = torch.tensor(radius + 1)
        rows, columns = self._box([a[1], b[1]], reach), self._box([a[0], b[0]], reach)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        px = (_AXIS[columns] - a[0][:, None])[:, None, :]
        py = (_AXIS[rows] - a[1][:, None])[:, :, None]
        dx, dy = (b[0] - a[0])[:, None, None], (b[1] - a[1])[:, None, None]
        along = ((px * dx + py * dy) / (dx * dx + dy * dy + 1e-4)).clamp_(0, 1)
        distance = ((px - along * dx).square_() + (py - along * dy).square_()).sqrt_()
        self._put(distance.neg_().add_(radius + 0.5).clamp_(0, 1), colour, rows, columns)

    def box(self, x: tuple[float, float], y: tuple[float, float], colour: Tensor) -> None:
        """A rectangle that does not move, on whole pixels; the colour is [n, 3]."""
        rows, columns = slice(int(y[0]), int(y[1])), slice(int(x[0]), int(x[1]))
        region = self.image[:, :, rows, columns]
        region.copy_(colour.view(-1, 3, 1, 1).expand_as(region))


def street(scene: Scene) -> Tensor:
    """The whole backdrop, [3, HORIZON, STREET] in 0..1."""
    image = torch.empty(3, HORIZON, STREET)
    left = 0.0
    for width, wall, window in scene.panels:
        start, stop = int(left), min(int(left + width), STREET)
        image[:, :, start:stop] = torch.tensor(wall)[:, None, None]
        inset = (stop - start) // 4
        pane = 0.65 * torch.tensor(window) + 0.35 * torch.tensor(wall)
        image[:, 34:60, start + inset : stop - inset] = pane[:, None, None]
        left += width
    image[:, HORIZON - 4 :] *= 0.75
    return image


def _backdrop(scene: Scene, first: int, count: int) -> Tensor:
    """The street seen through the frame, interpolated between pixels, and the lit floor."""
    offset = torch.from_numpy(sway(scene, first, count)) + (STREET - CANVAS) / 2
    whole = offset.floor()
    part = (offset - whole)[:, None, None, None]
    columns = whole.long()[:, None] + torch.arange(CANVAS + 1)
    seen = street(scene)[:, :, columns.clamp(0, STREET - 1)].permute(2, 0, 1, 3)
    image = torch.empty(count, 3, CANVAS, CANVAS)
    image[:, :, :HORIZON] = torch.lerp(seen[..., :-1], seen[..., 1:], part)
    lamp = torch.from_numpy(lights(scene, first, count).lamp)
    floor = 0.4 * torch.tensor(scene.floor) + 0.5 * lamp
    image[:, :, HORIZON:] = floor[:, :, None, None]
    return image


def _person(
    canvas: Canvas, scene: Scene, pose: Mapping[str, Array], hidden: frozenset[str]
) -> None:
    """Draw the person; `hidden` names the parts left out (planted faults)."""
    if "person" in hidden:
        return
    who = scene.person

    def t(value: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(value, np.float32))

    def pair(point: tuple[Array, Array]) -> tuple[Tensor, Tensor]:
        return t(point[0]), t(point[1])

    s: Skeleton = skeleton(who, pose)
    skin, hair, shirt = torch.tensor(who.skin), torch.tensor(who.hair), torch.tensor(who.shirt)
    trousers, eyes = torch.tensor(who.trousers), torch.tensor(who.eyes)
    turn, nod, x = t(pose["turn"]), t(pose["nod"]), t(pose["x"])
    head_x, head_y, radius = t(s.head_x), t(s.head_y), torch.full_like(x, who.head)
    bow = t(pose["bow"])
    long = float(who.length == "long")
    if "head" not in hidden:
        down = 3 + 6 * long
        canvas.ellipse(
            head_x - 2 * turn, head_y + down, radius * 1.08, radius * (0.95 + 0.35 * long), hair
        )
    for side, name in ((0, "left foot"), (1, "right foot")):
        if name in hidden:
            continue
        foot = pair(s.feet[side])
        canvas.limb((t(s.hips[side]), t(s.hip_y)), foot, 3.4, trousers)
        canvas.ellipse(
            foot[0] + turn * 1.5, foot[1] + 1, torch.full_like(x, 4.4), torch.full_like(x, 2.6),
            trousers * 0.4,
        )  # fmt: skip
    if "torso" not in hidden:
        canvas.ellipse(x, t(s.chest_y), t(s.girth), 14 - 3 * bow, shirt)

    def arm(side: int, name: str) -> None:
        shoulder, elbow, hand = pair(s.shoulders[side]), pair(s.elbows[side]), pair(s.hands[side])
        canvas.limb(shoulder, elbow, 3.2, shirt * 0.8)
        if f"{name} hand" not in hidden:
            canvas.limb(elbow, hand, 2.7, skin)
            canvas.ellipse(*hand, torch.full_like(x, 4.0), torch.full_like(x, 4.0), skin)

    arm(0, "left")
    if "head" not in hidden:
        canvas.ellipse(head_x, head_y, radius * 0.95, radius, skin)
        canvas.ellipse(
            head_x - turn * 3, head_y - radius * 0.55 + 3 * nod + 6 * bow,
            radius * 1.02, radius * 0.62 + 3 * bow, hair,
        )  # fmt: skip
        face_x, face_y = t(s.face_x), t(s.face_y)
        for side in (-1, 1):
            width = 3.3 * (1 - 0.3 * (side * turn).clamp(min=0))
            eye_x = face_x + side * 6.0 * (1 - 0.25 * turn.abs())
            canvas.ellipse(eye_x, face_y, width, torch.full_like(x, 3.6), torch.ones(3))
            canvas.ellipse(
                eye_x + turn * 1.2, face_y + nod, torch.full_like(x, 1.8), torch.full_like(x, 2.2),
                eyes,
            )  # fmt: skip
        canvas.ellipse(
            face_x, face_y + 7.4, torch.full_like(x, 4.0), 1.0 + 2.6 * t(pose["mouth"]),
            torch.tensor((0.55, 0.10, 0.12)),
        )  # fmt: skip
    arm(1, "right")


def _draw(scene: Scene, first: int, count: int, hidden: frozenset[str]) -> Tensor:
    canvas = Canvas(_backdrop(scene, first, count))
    shown = lights(scene, first, count)
    dark = torch.full((1, 3), 0.12)
    canvas.box((19, 21), (0, 6), dark)
    for (left, top), columns, colours in (
        ((8, 8), 3, shown.lantern),
        ((64, 8), 3, shown.sign),
    ):
        panes = torch.from_numpy(colours)
        rows = panes.shape[1] // columns
        canvas.box((left - 2, left + PANE * columns + 2), (top - 2, top + PANE * rows + 2), dark)
        for number in range(rows * columns):
            x, y = left + PANE * (number % columns), top + PANE * (number // columns)
            canvas.box((x, x + PANE), (y, y + PANE), panes[:, number])
    _person(canvas, scene, poses(scene, first, count), hidden)
    return canvas.image


def render(
    scene: Scene, count: int, first: int = 0, hidden: frozenset[str] = frozenset()
) -> Tensor:
    """Frames `first` to `first + count` as uint8 [count, 3, SIZE, SIZE].

    `hidden` names parts of `bench.pocket.world.PARTS` that are left out, a planted fault, or is
    `person`: then nobody is there.
    """
    chunks = [
        _draw(scene, start, min(CHUNK, first + count - start), hidden)
        for start in range(first, first + count, CHUNK)
    ]
    small = torch.cat([_SHRINK @ chunk @ _SHRINK.T for chunk in chunks])
    return small.mul_(255).add_(0.5).clamp_(0, 255).to(torch.uint8)
