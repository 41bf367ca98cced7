"""The pocket world's language: what a caption says, and which words exist.

Every caption has the same number of words, so a batch of captions needs no padding. The words of
one slot never occur in another: a text encoder without word order still tells hair from shirt.
"""

from __future__ import annotations

from dataclasses import dataclass

ACTIONS: dict[str, str] = {
    "walk": "walks to and fro",
    "wave": "waves one raised hand",
    "jump": "jumps up and down",
    "nod": "nods again and again",
    "turn": "turns left and right",
    "leave": "leaves and comes back",
    "bow": "bows down very low",
    "cheer": "raises both arms high",
}
"""The eight actions and the words that say them."""

MANNERS = ("twice", "thrice", "always")
"""How often the action is done before the person stands still again."""

HAIR = ("black", "brown", "blonde", "ginger", "grey")
LENGTHS = ("short", "long")
SHIRTS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "teal")


@dataclass(frozen=True)
class Caption:
    """The slots of a caption."""

    length: str
    hair: str
    shirt: str
    action: str
    manner: str = "always"

    def __str__(self) -> str:
        return (
            f"a person with {self.length} {self.hair} hair in {self.shirt} "
            f"{ACTIONS[self.action]} {self.manner}"
        )


def words() -> list[str]:
    """Every word a caption can have, each once, in a fixed order."""
    text = " ".join(
        [
            "a person with hair in",
            *LENGTHS,
            *HAIR,
            *SHIRTS,
            *ACTIONS.values(),
            *MANNERS,
        ]
    )
    return list(dict.fromkeys(text.split()))
