"""The paper's naming grammar: names to variants and back, exactly.

Tokens stand in time order.

    td_f16k4f2k2f1k1_g9              vanilla: history, then target
    f1k1_x_td_f16k4f2k2f1k1_g9       F1: the start frame stays in the context as an anchor
    td_f16k4f2k2f1k1_g9_x_f1k1       anti-drifting: an end made first is seen too
    td_f16k4f2k2f1k1_g9_x_f1k1_x_f1k1    several endpoints made first, the nearest two seen
    f1k1_x_g9_f1k1f2k2f16k4_td       inverted anti-drifting: start, gap, target, future history

fNkM: N latent frames packed with kernel (M, 2M, 2M); gN: N latent frames made at once; x: any
number of frames skipped; td, ta, tc: older frames deleted, appended, compressed.
After the body: +D or +D128 (history made discrete, with the codebook's own K or K = 128), then
options that differ from the defaults, in alphabetical order: +steps-10, +teacache-0.15.
A few architectures that the grammar cannot say have explicit names; see `NAMED`.
"""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import NoReturn

from bench.errors import UserError
from bench.packing import KERNELS, LAYOUTS, TAILS, Level, Packing, Tail
from bench.variant import MAX_SECTION, OPTIONS, Scalar, Variant

NUMBER = re.compile(r"[1-9][0-9]*")
WORD = re.compile(r"[a-z_]+")
VALUE = re.compile(r"[A-Za-z0-9._-]+")

LEVEL = "a level such as f16k4"
TAIL = "one of " + ", ".join(TAILS)
SECTION = "a section such as g9"


def parse(name: str) -> Variant:
    """The variant that a name says.

    Raises:
        UserError: one line naming the token where the name breaks and what could stand there.
    """
    body, plus, _ = name.partition("+")
    if body in NAMED:
        variant = NAMED[body]()
        discrete, options = _Cursor(name, len(body)).suffix() if plus else (None, {})
        parsed = Variant(variant.sampler, variant.packing, variant.section, name, discrete, options)
    else:
        parsed = _Cursor(name).variant()
    if (canonical := format(parsed)) != name:
        raise UserError(f"variant {name}: write it as {canonical}")
    return parsed


def levels(packing: str) -> tuple[Level, ...]:
    """The levels of a packing as it is typed, in the order of the text.

    Raises:
        UserError: one line naming the token where the text breaks and what could stand there.
    """
    cursor = _Cursor(packing, what="packing=")
    found = cursor.levels()
    if cursor.at < len(packing):
        cursor.fail(LEVEL)
    return found


def format(variant: Variant) -> str:
    """The name of a variant: what `parse` reads back to the same variant.

    Raises:
        UserError: neither the grammar nor an explicit name can say this variant.
    """
    return _body(variant) + _suffix(variant)


def _body(variant: Variant) -> str:
    packing = variant.packing
    groups = (packing.levels, packing.start, *packing.ends)
    if any(level.kernel not in KERNELS.values() for group in groups for level in group):
        for body, make in NAMED.items():
            named = make()
            same = (named.sampler, named.packing, named.section)
            if same == (variant.sampler, packing, variant.section):
                return body
        raise UserError(f"variant {variant.name}: the grammar has no name for its kernels")
    start = "".join(map(str, packing.start))
    if variant.sampler == "inverted":
        near_first = "".join(map(str, packing.levels))
        return f"{start}_x_g{variant.section}_{near_first}_{packing.tail}"
    history = "".join(map(str, reversed(packing.levels)))
    ends = "".join("_x_" + "".join(map(str, group)) for group in packing.ends)
    anchor = f"{start}_x_" if start else ""
    return f"{anchor}{packing.tail}_{history}_g{variant.section}{ends}"


def _suffix(variant: Variant) -> str:
    discrete = "" if variant.discrete is None else f"+D{variant.discrete or ''}"
    options = (f"+{key}-{scalar(value)}" for key, value in variant.options.items())
    return discrete + "".join(options)


def scalar(value: Scalar) -> str:
    """An option's value as names write it."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _forward_sampler(start: tuple[Level, ...], ends: tuple[tuple[Level, ...], ...]) -> str:
    """The order of the tokens says the sampler."""
    if len(ends) > 1:
        return "endpoints"
    if ends:
        return "anti_drifting"
    return "f1" if start else "vanilla"


@dataclass
class _Cursor:
    """A place in a name; reads one token at a time and says where and why it cannot."""

    name: str
    at: int = 0
    what: str = "variant "

    def variant(self) -> Variant:
        start: tuple[Level, ...] = ()
        if self.sees("f"):
            start = self.levels()
            self.literal("_x_")
            if self.sees("g"):
                return self.inverted(start)
        tail = self.tail(f"{TAIL}, {LEVEL}" if not start else f"{TAIL}, {SECTION}")
        self.literal("_")
        levels = self.levels()[::-1]
        self.literal("_")
        section = self.section()
        ends: list[tuple[Level, ...]] = []
        while self.sees("_"):
            self.literal("_x_")
            ends.append(self.levels())
        discrete, options = self.suffix()
        packing = Packing(levels, tail, start, tuple(ends))
        sampler = _forward_sampler(start, tuple(ends))
        return Variant(sampler, packing, section, self.name, discrete, options)

    def inverted(self, start: tuple[Level, ...]) -> Variant:
        section = self.section()
        self.literal("_")
        levels = self.levels()
        self.literal("_")
        packing = Packing(levels, self.tail(TAIL), start)
        discrete, options = self.suffix()
        return Variant("inverted", packing, section, self.name, discrete, options)

    def suffix(self) -> tuple[int | None, dict[str, Scalar]]:
        discrete: int | None = None
        options: dict[str, Scalar] = {}
        if self.sees("+D"):
            self.at += 2
            discrete = self.number("K") if self.sees_number() else 0
        while self.at < len(self.name):
            self.literal("+")
            key = self.match(WORD, "an option: " + ", ".join(OPTIONS))
            if key not in OPTIONS:
                self.at -= len(key)
                self.fail("D (before all options) or an option: " + ", ".join(OPTIONS))
            self.literal("-")
            text = self.match(VALUE, f"a value of {key}")
            options[key] = _typed(key, text)
        return discrete, options

    def levels(self) -> tuple[Level, ...]:
        found = [self.level()]
        while self.sees("f"):
            found.append(self.level())
        return tuple(found)

    def level(self) -> Level:
        begin = self.at
        self.literal("f", LEVEL)
        frames = self.number("N of fNkM")
        self.literal("k", "k and the kernel, such as k4")
        kernel = self.number("the kernel, one of " + ", ".join(map(str, KERNELS)), KERNELS)
        try:
            return Level(frames, KERNELS[kernel])
        except UserError as error:
            raise UserError(f"{self.what}{self.name}: at character {begin + 1}: {error}") from None

    def section(self) -> int:
        self.literal("g", SECTION)
        allowed = range(1, MAX_SECTION + 1)
        return self.number(f"the section's latent frames, 1 to {MAX_SECTION}", allowed)

    def tail(self, expected: str) -> Tail:
        for tail in ("td", "ta", "tc"):
            if self.sees(tail):
                self.at += 2
                return tail
        return self.fail(expected)

    def number(self, what: str, allowed: Container[int] | None = None) -> int:
        text = self.match(NUMBER, what)
        if allowed is not None and int(text) not in allowed:
            self.at -= len(text)
            self.fail(what)
        return int(text)

    def match(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self.name, self.at)
        if found is None:
            self.fail(what)
        self.at = found.end()
        return found.group()

    def literal(self, text: str, expected: str = "") -> None:
        if not self.sees(text):
            self.fail(expected or text)
        self.at += len(text)

    def sees(self, text: str) -> bool:
        return self.name.startswith(text, self.at)

    def sees_number(self) -> bool:
        return NUMBER.match(self.name, self.at) is not None

    def fail(self, expected: str) -> NoReturn:
        found = re.match(r"[^_+]+|[_+].?|$", self.name[self.at :])
        token = found.group() if found and found.group() else "the end"
        raise UserError(
            f"{self.what}{self.name}: at character {self.at + 1} ({token}): expected {expected}"
        )


def _typed(key: str, text: str) -> Scalar:
    """A value as the option's type reads it; text that is no number is refused by Variant."""
    kind = OPTIONS[key].kind
    try:
        return kind(text)
    except ValueError:
        return text


def _layout(letter: str, section: int) -> Callable[[], Variant]:
    def make() -> Variant:
        packing = Packing(LAYOUTS[letter]())
        return Variant("vanilla", packing, section, f"layout_{letter}_g{section}")

    return make


NAMED: dict[str, Callable[[], Variant]] = {
    f"layout_{letter}_g{section}": _layout(letter, section)
    for letter in ("a", "b")
    for section in (1, 4, 9)
}
"""Explicit names: the importance layouts whose kernels the grammar does not have."""

TABLE_1: tuple[str, ...] = (
    "td_f16k4f2k2f1k1_g9",
    "td_f8k8f4k4f2k2f1k1_g9",
    "td_f16k4f2k2f1k1_g9+D",
    "td_f8k8f4k4f2k2f1k1_g9+D",
    "td_f16k4f2k2f1k1_g9_x_f1k1",
    "f1k1_x_g9_f1k1f2k2f16k4_td",
)
"""The names that the paper's text and tables show."""
