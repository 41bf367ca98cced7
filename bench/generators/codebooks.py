"""Which codebook a variant's +D takes, seen from the configuration before any model is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.errors import UserError
from bench.variant import Variant

ROOT: Final = Path(__file__).parents[2]


def codebook(codebooks: Mapping[str, str], variant: Variant) -> tuple[str, Path]:
    """The codebook of a variant with +D: its K as configured, and its file.

    Args:
        codebooks: K → safetensors file with `codes` [K, channels]; the first serves a bare +D.
        variant: one whose history is made discrete.

    Raises:
        UserError: no codebook of this K is configured, or its file is not there.
    """
    books = {str(codes): file for codes, file in codebooks.items()}
    key = str(variant.discrete or next(iter(books), ""))
    if key not in books:
        have = f"there are {', '.join(books)}" if books else "none are configured"
        raise UserError(
            f"{variant.name}: +D needs a codebook: give "
            f"+generator.codebooks.{key or 'K'}=FILE; {have}"
        )
    path = Path(books[key])
    if not path.is_file() and (ROOT / path).is_file():
        path = ROOT / path  # those of the pocket model, from any folder
    if not path.is_file():
        raise UserError(f"generator.codebooks.{key}: {path}: no such file")
    return key, path
