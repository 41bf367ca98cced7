"""Deltas: small files that fine-tune one checkpoint for one method.

A delta is a LoRA in diffusers' layout (`bench.generators.lora` merges it and takes it out again)
whose metadata say which weights it belongs to and what those weights have seen with it. Low rank
suits what it is for: a method changes how history is read, not what the world looks like, and ten
minutes of training cannot fill more.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from safetensors import safe_open

from bench.errors import UserError
from bench.generators.checkpoint import digest

SPLIT = ","
"""Between the words of `trained` in a file's metadata."""


@dataclass(frozen=True)
class Delta:
    """One file, read so far as to know what it is."""

    name: str
    file: Path
    digest: str
    """16 hex digits of the file's SHA-256: what records name."""
    trained: frozenset[str]
    """What the checkpoint has seen once the delta is merged, in the words of a record's
    `untrained`: forcing, guidance, causal, +D."""

    @classmethod
    def read(cls, name: str, file: Path, transformer: Path | None) -> "Delta":
        """Read a file's metadata.

        Args:
            name: one of `bench.variant.DELTAS`.
            file: NAME.safetensors.
            transformer: the folder of the weights in use; None where it is not known.

        Raises:
            UserError: the file belongs to other weights, or does not say to which.
        """
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
        if transformer is not None and about.get("base") != digest(transformer):
            raise UserError(
                f"generator.deltas: {file.name} belongs to other weights than {transformer}: "
                f"train it again (python -m bench.pocket.train_delta {name})"
            )
        trained = frozenset(filter(None, about.get("trained", "").split(SPLIT)))
        return cls(name, file, sha256(file.read_bytes()).hexdigest()[:16], trained)
