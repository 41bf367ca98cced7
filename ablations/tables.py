"""Which variants stand together in the paper's tables, and in which order.

The paper's main tables group rows by how they sample; its ablation of packings groups the same rows
by packing; methods other than FramePack's stand in a table of alternatives. A variant carries what
decides this (sampler, packing, +D, method), so nothing here looks at names.
"""

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

ALTERNATIVES: Mapping[str, str] = {
    "repeat_i2v": "Repeating image-to-video",
    "anchor": "Anchor frames",
    "causal": "Causal attention",
    "noisy_history": "DiffusionForcing",
    "history_guidance": "History guidance",
}
"""Titles of methods that are not a choice of sampler and packing, by `options.method`."""

_PLACE = {block.id: place for place, block in enumerate(BLOCKS)}


def block_of(sampler: str, discrete: int | None, options: Mapping[str, Any]) -> Block:
    """The block in which a variant's row stands; an unknown sampler gets a block of its own."""
    if options.get("method"):
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
