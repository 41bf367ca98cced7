"""The pocket world: cartoon people who do one thing in front of a moving backdrop.

A `Scene` is a value: who is there, what they do, and how the things around them behave. It is drawn
from a seed, so a clip is known by its number; `poses` and `truth` tell where everything is in every
frame and `bench.pocket.render` draws it.

The world is built so that long memory pays. From the newest quarter of a second alone nobody can
tell what comes next:

- the backdrop is a wide street of random panels that slides to and fro: what left the frame comes
  back one to four seconds later;
- a lantern of nine panes, and the floor it lights, goes through three random patterns, each held
  for about a second: the next one was last seen two to four seconds ago (the reach of the k4
  kernel);
- a neon sign of six panes goes through three random patterns, a quarter of a second each: the next
  one was last seen half a second ago (the reach of the k2 kernel);
- people leave the frame and come back, and do things a counted number of times.

The panes are as small as a latent cell. A large patch of one colour shows through strong noise, so
that a denoiser need not remember it; many small ones do not.

Every clip starts neutral: the same pose, backdrop centred, first colours on. The action eases in
within a second, so the first frame does not give the caption away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.pocket import FPS, SIZE
from bench.pocket.captions import ACTIONS, HAIR, LENGTHS, MANNERS, SHIRTS, Caption

Array = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]

SKIN: tuple[Colour, ...] = (
    (0.98, 0.82, 0.68),
    (0.87, 0.66, 0.47),
    (0.62, 0.42, 0.28),
    (0.42, 0.27, 0.19),
)
HAIR_COLOURS: Mapping[str, Colour] = {
    "black": (0.10, 0.09, 0.10),
    "brown": (0.40, 0.24, 0.12),
    "blonde": (0.92, 0.78, 0.38),
    "ginger": (0.82, 0.36, 0.12),
    "grey": (0.62, 0.62, 0.64),
}
SHIRT_COLOURS: Mapping[str, Colour] = {
    "red": (0.85, 0.18, 0.16),
    "green": (0.20, 0.65, 0.25),
    "blue": (0.20, 0.35, 0.85),
    "yellow": (0.95, 0.80, 0.20),
    "purple": (0.55, 0.25, 0.70),
    "orange": (0.95, 0.52, 0.12),
    "white": (0.95, 0.95, 0.95),
    "teal": (0.10, 0.62, 0.62),
}
WALLS: tuple[Colour, ...] = (
    (0.93, 0.86, 0.70),
    (0.62, 0.76, 0.62),
    (0.58, 0.70, 0.88),
    (0.90, 0.64, 0.58),
    (0.74, 0.62, 0.80),
    (0.45, 0.50, 0.58),
)
LIGHTS: tuple[Colour, ...] = (
    (0.95, 0.25, 0.20),
    (0.20, 0.75, 0.30),
    (0.25, 0.40, 0.95),
    (0.98, 0.85, 0.25),
    (0.80, 0.30, 0.85),
    (0.95, 0.95, 0.95),
)
PERIODS: Mapping[str, float] = {
    "walk": 3.2,
    "wave": 0.75,
    "jump": 1.0,
    "nod": 0.8,
    "turn": 2.0,
    "leave": 4.0,
    "bow": 2.0,
    "cheer": 1.25,
}
"""Seconds that one repetition of an action takes."""

PARTS = ("head", "torso", "left hand", "right hand", "left foot", "right foot")
"""The parts of a person whose place is known in every frame; left is the viewer's left."""

CANVAS = 96
"""Lengths in this module are pixels of a canvas of this side, which is shrunk to a frame."""

STREET = 3 * CANVAS
"""Width of the backdrop; the frame sees `CANVAS` of it."""

HORIZON = 70
"""First row of the floor."""


@dataclass(frozen=True)
class Person:
    """Who somebody is: everything that must not change while a video lasts."""

    length: str
    hair_name: str
    shirt_name: str
    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    eyes: Colour
    head: float
    """Radius of the head in pixels."""
    girth: float
    """Half the width of the torso in pixels."""

    def vector(self) -> Array:
        """The identity as 18 numbers in about −1..1: colours, proportions, hair length."""
        colours = (*self.skin, *self.hair, *self.shirt, *self.trousers, *self.eyes)
        body = ((self.head - 14.5) / 1.5, (self.girth - 11) / 2, float(self.length == "long"))
        return np.asarray([*(2 * np.asarray(colours) - 1), *body], np.float32)


@dataclass(frozen=True)
class Scene:
    """One clip of the world, of any length."""

    person: Person
    action: str
    manner: str
    speed: float
    """Factor on the action's pace."""
    place: float
    """Where the person stands, pixels from the left."""
    panels: tuple[tuple[float, Colour, Colour], ...]
    """The backdrop from left to right: width in pixels, wall colour, window colour."""
    floor: Colour
    sway: float
    """How far the backdrop slides, in pixels, to either side (signed: which side first)."""
    sway_period: float
    """Seconds."""
    lamp: tuple[Colour, ...]
    lamp_hold: int
    """Latent frames (quarters of a second) that the lamp keeps one colour."""
    sign: tuple[Colour, ...]
    lamp_panes: tuple[tuple[Colour, ...], ...]
    """What the lantern shows with each colour of the lamp: nine panes, row by row."""
    sign_panes: tuple[tuple[Colour, ...], ...]
    """The same of the sign: six panes, two rows of three."""

    @property
    def caption(self) -> str:
        """What the clip shows, in the closed vocabulary."""
        who = self.person
        return str(Caption(who.length, who.hair_name, who.shirt_name, self.action, self.manner))


def sample_person(rng: np.random.Generator) -> Person:
    """Draw a person."""

    def near(colour: Colour, spread: float = 0.05) -> Colour:
        r, g, b = np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 0, 1).tolist()
        return (r, g, b)

    hair_name, shirt_name = str(rng.choice(HAIR)), str(rng.choice(SHIRTS))
    trousers = np.asarray(SHIRT_COLOURS[str(rng.choice(SHIRTS))]) * 0.55
    return Person(
        length=str(rng.choice(LENGTHS)),
        hair_name=hair_name,
        shirt_name=shirt_name,
        skin=near(SKIN[rng.integers(len(SKIN))], 0.03),
        hair=near(HAIR_COLOURS[hair_name], 0.03),
        shirt=near(SHIRT_COLOURS[shirt_name]),
        trousers=near((trousers[0], trousers[1], trousers[2])),
        eyes=near((0.2, 0.25, 0.35), 0.1),
        head=float(rng.uniform(13, 16)),
        girth=float(rng.uniform(9, 13)),
    )


def sample_scene(seed: int, plain: bool = False) -> Scene:
    """Draw the clip with this number; with `plain`, lantern and sign have panes of one colour."""
    rng = np.random.default_rng([2504, seed])
    panes_rng = np.random.default_rng([2504, seed, 1])

    def pick(palette: tuple[Colour, ...]) -> Colour:
        return palette[int(rng.integers(len(palette)))]

    def sequence(moves: float) -> tuple[Colour, ...]:
        order = [LIGHTS[i] for i in rng.permutation(len(LIGHTS))[:3]]
        return tuple(order) if rng.random() < moves else (order[0],)

    def panes(colours: tuple[Colour, ...], count: int) -> tuple[tuple[Colour, ...], ...]:
        if plain:
            return tuple((colour,) * count for colour in colours)
        drawn = panes_rng.integers(len(LIGHTS), size=(len(colours), count))
        return tuple(tuple(LIGHTS[i] for i in row) for row in drawn)

    person = sample_person(rng)
    panels: list[tuple[float, Colour, Colour]] = []
    while sum(width for width, _, _ in panels) < STREET:
        panels.append((float(rng.uniform(26, 44)), pick(WALLS), pick(LIGHTS)))
    kind = rng.random()
    side = float(rng.choice([-1, 1]))
    if kind < 0.25:
        sway, period = 0.0, 4.0
    elif kind < 0.7:
        sway, period = side * float(rng.uniform(24, 46)), float(rng.uniform(3.2, 4.8))
    else:
        sway, period = side * float(rng.uniform(11, 18)), float(rng.uniform(1.3, 1.8))
    scene = partial(
        Scene,
        person=person,
        action=str(rng.choice(list(ACTIONS))),
        manner=str(rng.choice(MANNERS, p=[0.2, 0.2, 0.6])),
        speed=float(rng.uniform(0.92, 1.08)),
        place=CANVAS / 2 + float(rng.uniform(-5, 5)),
        panels=tuple(panels),
        floor=pick(WALLS),
        sway=sway,
        sway_period=period,
    )
    lamp, lamp_hold, sign = sequence(0.75), int(rng.integers(3, 6)), sequence(0.7)
    return scene(
        lamp=lamp,
        lamp_hold=lamp_hold,
        sign=sign,
        lamp_panes=panes(lamp, 9),
        sign_panes=panes(sign, 6),
    )


def with_action(scene: Scene, action: str, manner: str | None = None) -> Scene:
    """The same scene with another action; the first frame stays as it is."""
    return replace(scene, action=action, manner=manner or scene.manner)


def smoothstep(x: Array) -> Array:
    """3x² − 2x³ on 0..1, flat outside."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def poses(scene: Scene, first: int, count: int) -> dict[str, Array]:
    """The pose parameters of `count` frames from `first` on, each an array [count].

    Keys: `x`, `lift` (pixels the whole body is above the ground), `turn` (−1..1), `nod` and `bow`
    (0..1), `left` and `right` (angle of an upper arm from hanging, radians), `left_fore` and
    `right_fore` (of the forearm, added), `stride` (−1..1), `mouth` (0..1), `phase` (repetitions
    done, 0 before the start, held after the last).
    """
    t = np.arange(first, first + count, dtype=np.float32) / FPS
    period = PERIODS[scene.action] / scene.speed
    times = {"twice": 2.0, "thrice": 3.0, "always": math.inf}[scene.manner]
    since = np.maximum(t - 0.1, 0)
    phase = np.minimum(since / period, times).astype(np.float32)
    left_over = (times * period - since) if math.isfinite(times) else np.full_like(t, 9.0)
    level = smoothstep(since / 0.5) * smoothstep(left_over / 0.4)
    zero = np.zeros_like(t)
    pose: dict[str, Array] = {
        "x": zero + scene.place,
        "lift": 0.6 * np.sin(math.pi * t),
        "turn": zero,
        "nod": zero,
        "bow": zero,
        "left": zero + 0.25,
        "right": zero + 0.25,
        "left_fore": zero + 0.15,
        "right_fore": zero + 0.15,
        "stride": zero,
        "mouth": zero + 0.15,
        "phase": phase,
    }
    _act(scene, phase, level, pose)
    return {key: np.asarray(value, np.float32) for key, value in pose.items()}


def _act(scene: Scene, phase: Array, level: Array, pose: dict[str, Array]) -> None:
    """Change `pose` to the scene's action at `phase`, at strength `level`."""
    angle = 2 * math.pi * phase
    wave, hump = np.sin(angle), 0.5 - 0.5 * np.cos(angle)
    match scene.action:
        case "walk":
            pose["x"] = pose["x"] + 24 * wave
            pose["turn"] = level * np.cos(angle)
            pose["stride"] = level * np.sin(5 * angle) * np.minimum(1, 2 * np.abs(np.cos(angle)))
            pose["left"] = pose["left"] + 0.5 * pose["stride"]
            pose["right"] = pose["right"] - 0.5 * pose["stride"]
        case "wave":
            pose["right"] = pose["right"] + 2.0 * level
            pose["right_fore"] = pose["right_fore"] + level * (0.3 + 0.7 * wave)
            pose["mouth"] = pose["mouth"] + 0.5 * level
        case "jump":
            up = np.sin(math.pi * phase) ** 2
            pose["lift"] = pose["lift"] + 15 * up
            pose["left"] = pose["left"] + 0.9 * up
            pose["right"] = pose["right"] + 0.9 * up
            pose["mouth"] = pose["mouth"] + 0.6 * up
        case "nod":
            pose["nod"] = hump
        case "turn":
            pose["turn"] = wave
        case "leave":
            away = smoothstep(4 * (phase % 1) / 1.2) * smoothstep((3.4 - 4 * (phase % 1)) / 1.2)
            moving = np.sqrt(np.clip(np.sin(math.pi * away), 0, 1))
            going = np.where(phase % 1 < 0.425, 1.0, -1.0) * moving
            pose["x"] = pose["x"] + 84 * away
            pose["turn"] = going
            pose["stride"] = np.sin(5 * angle) * moving
        case "bow":
            pose["bow"] = hump
            pose["left"] = pose["left"] + 0.2 * hump
            pose["right"] = pose["right"] + 0.2 * hump
        case "cheer":
            pose["left"] = pose["left"] + 2.5 * hump
            pose["right"] = pose["right"] + 2.5 * hump
            pose["mouth"] = pose["mouth"] + 0.6 * hump


def sway(scene: Scene, first: int, count: int) -> Array:
    """How far the backdrop has slid to the left in each frame, in pixels."""
    t = np.arange(first, first + count, dtype=np.float32) / FPS
    swing = scene.sway * np.sin(2 * math.pi * t / scene.sway_period)
    return np.asarray(smoothstep(t / 1.0) * swing, np.float32)


@dataclass(frozen=True)
class Lights:
    """What lamp, lantern and sign show in each frame; it changes with latent frames."""

    lamp: Array
    """[count, 3]."""
    lantern: Array
    """[count, 9, 3]."""
    sign: Array
    """[count, 6, 3]."""


def lights(scene: Scene, first: int, count: int) -> Lights:
    """The lights of `count` frames from `first` on."""
    latent = (np.arange(first, first + count) + 3) // 4
    slow = (latent // scene.lamp_hold) % len(scene.lamp)
    fast = latent % len(scene.sign)
    return Lights(
        np.asarray(scene.lamp, np.float32)[slow],
        np.asarray(scene.lamp_panes, np.float32)[slow],
        np.asarray(scene.sign_panes, np.float32)[fast],
    )


@dataclass(frozen=True)
class Skeleton:
    """Joint places in pixels, each an array [count]; `_l` is the viewer's left."""

    hip_y: Array
    chest_y: Array
    head_x: Array
    head_y: Array
    face_x: Array
    face_y: Array
    shoulders: tuple[tuple[Array, Array], tuple[Array, Array]]
    elbows: tuple[tuple[Array, Array], tuple[Array, Array]]
    hands: tuple[tuple[Array, Array], tuple[Array, Array]]
    hips: tuple[Array, Array]
    feet: tuple[tuple[Array, Array], tuple[Array, Array]]
    girth: Array


def skeleton(person: Person, pose: Mapping[str, Array]) -> Skeleton:
    """Where the joints are, from the pose parameters."""
    x, lift, turn, bow = pose["x"], pose["lift"], pose["turn"], pose["bow"]
    girth = person.girth * (1 - 0.3 * np.abs(turn))
    hip_y = 70 - lift
    chest_y = 60 - lift + 5 * bow
    shoulder_y = 53 - lift + 12 * bow
    head_x = x + 3 * turn
    head_y = 52 - person.head - lift + 20 * bow + 5 * pose["nod"]
    face_x = head_x + 7 * turn
    face_y = head_y + 2 + 5 * pose["nod"] + 6 * bow
    elbows, hands, shoulders, hips, feet = [], [], [], [], []
    for side, arm, fore in ((-1, "left", "left_fore"), (1, "right", "right_fore")):
        a, b = pose[arm], pose[arm] + pose[fore]
        sx = x + side * (girth - 1)
        ex, ey = sx + side * np.sin(a) * 10, shoulder_y + np.cos(a) * 10
        shoulders.append((sx, shoulder_y))
        elbows.append((ex, ey))
        hands.append((ex + side * np.sin(b) * 9, ey + np.cos(b) * 9))
        step = pose["stride"] * side * 10
        hips.append(x + side * girth * 0.42)
        feet.append((x + side * girth * 0.42 + step, 86 - np.maximum(lift, 0) - np.abs(step) * 0.3))
    return Skeleton(
        hip_y, chest_y, head_x, head_y, face_x, face_y,
        (shoulders[0], shoulders[1]), (elbows[0], elbows[1]), (hands[0], hands[1]),
        (hips[0], hips[1]), (feet[0], feet[1]), girth,
    )  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What is so in every frame of a clip."""

    identity: Array
    """`Person.vector`, [18]."""
    parts: Array
    """Centres of `PARTS` in pixels of the frame, [count, 6, 2] as (x, y)."""
    visible: NDArray[np.bool_]
    """Which of them are inside the frame, [count, 6]."""
    action: str
    phase: Array
    """Repetitions of the action done, [count]."""
    active: NDArray[np.bool_]
    """Whether the action is being done, [count]."""


def truth(scene: Scene, count: int, first: int = 0) -> Truth:
    """The ground truth of `count` frames from `first` on."""
    pose = poses(scene, first, count)
    s = skeleton(scene.person, pose)
    centres = [(s.head_x, s.head_y), (pose["x"], s.chest_y), *s.hands, *s.feet]
    parts = np.stack([np.stack(c, -1) for c in centres], 1).astype(np.float32)
    parts *= SIZE / CANVAS
    visible = np.asarray(((parts >= 0) & (parts < SIZE)).all(-1))
    times = {"twice": 2.0, "thrice": 3.0, "always": math.inf}[scene.manner]
    active = np.asarray((pose["phase"] > 0) & (pose["phase"] < times))
    return Truth(scene.person.vector(), parts, visible, scene.action, pose["phase"], active)
