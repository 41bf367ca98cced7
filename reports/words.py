"""Numbers with their nouns."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """ "1 prompt", "2 prompts"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
