"""Which variants stand together in the paper's tables, and in which order.

The paper's main tables group rows by how they sample; its ablation of packings groups the same rows
by packing; methods other than FramePack's stand in a table of alternatives. A variant carries what
decides this (sampler, packing, +D, method), so nothing here looks at names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Block:
    """A group of rows of a table."""

    id: str
    title: str


BLOCKS = (
    Block("vanilla", "Vanilla sampling"),
    Block("vanilla+D", "Vanilla sampling, discretised history"),
    Block("f1", "F1: vanilla sampling with a start anchor"),
    Block("anti_drifting", "Anti-drifting sampling"),
    Block("anti_drifting+D", "Anti-drifting sampling, discretised history"),
    Block("inverted", "Inverted anti-drifting sampling"),
    Block("inverted+D", "Inverted anti-drifting sampling, discretised history"),
    Block("endpoints", "Endpoints first"),
    Block("alternative", "Alternatives"),
)
"""In the paper's order: from the sampler that drifts most to the one that drifts least."""

WINDOW = re.compile(r"f(?!1k1$)(\d+)k1")
"""The packing of the alternatives' base: more than one frame, all at full length."""

FULL = 1000
"""A window of so many latent frames, two minutes, forgets nothing of the videos made here."""

_PLACE = {block.id: place for place, block in enumerate(BLOCKS)}


def method_of(sampler: str, packing: str, options: Mapping[str, Any]) -> str:
    """The title of the method in the paper's table of alternatives; "" for FramePack's own.

    Args:
        sampler: vanilla, f1, ...
        packing: levels in time order.
        options: what the variant changes; a zero changes nothing.
    """
    chosen = {key: value for key, value in options.items() if value}
    delta = str(chosen.get("delta", ""))
    if chosen.get("method") == "repeat":
        return "Repeating image-to-video"
    if chosen.get("attention") == "causal":
        return "Causal attention"
    if "forcing" in chosen or delta.startswith("forcing"):
        trained = delta.removeprefix("forcing-") if delta.startswith("forcing") else "none"
        return f"DiffusionForcing ({trained}, {chosen.get('forcing', 0):g})"
    if "noise" in chosen:
        return f"Noisy history, σ {chosen['noise']:g}"
    if "history_guidance" in chosen:
        return "History guidance"
    if window := WINDOW.fullmatch(packing):
        full = "Full history" if int(window[1]) >= FULL else "Sliding window"
        return {"f1": "Anchor frames", "vanilla": full}.get(sampler, "")
    return str(chosen.get("method", "")).replace("packed", "")


def block_of(
    sampler: str, discrete: int | None, options: Mapping[str, Any], packing: str = ""
) -> Block:
    """The block in which a variant's row stands; an unknown sampler gets a block of its own."""
    if method_of(sampler, packing, options):
        return BLOCKS[_PLACE["alternative"]]
    id_ = sampler + ("+D" if discrete is not None else "")
    if id_ in _PLACE:
        return BLOCKS[_PLACE[id_]]
    if not sampler:
        # Videos that were brought along, not made here: nothing is known of how they were sampled.
        return Block("other", "Other videos")
    title = sampler.replace("_", " ")
    title = title[0].upper() + title[1:]
    return Block(id_, title + (", discretised history" if discrete is not None else ""))


def place_of(block: Block) -> tuple[int, str]:
    """Sort key of a block: the paper's order, then unknown ones by name, alternatives last."""
    if block.id == "alternative":
        return len(BLOCKS) + 1, block.id
    return _PLACE.get(block.id, len(BLOCKS)), block.id
