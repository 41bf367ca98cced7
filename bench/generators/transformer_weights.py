"""Which weights the transformer has: its own or fine-tuned ones, with a LoRA and a delta merged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from bench.errors import UserError
from bench.generators import checkpoint as ckpt
from bench.generators.deltas import Delta
from bench.generators.framepack_config import Config
from bench.generators.lora import Lora
from bench.generators.options import place
from bench.generators.sources import local_folder
from bench.generators.transformer import PackedTransformer, TextTokens
from bench.variant import Variant

ROOT: Final = Path(__file__).parents[2]


class TransformerWeights:
    """The transformer of a pipeline; `use` gives it what a variant asks for."""

    def __init__(self, pipe: Any, config: Config, device: str, dtype: torch.dtype) -> None:
        self._pipe = pipe
        self._config = config
        self._device = device
        self._dtype = dtype
        self._name: str | None = ""
        """Of `transformers`, empty for the checkpoint's own; None where loading has failed."""
        self._merged: dict[str, Lora] = {}
        self.texts = TextTokens()
        """Tokens of texts as the weights in use make them."""
        self._pack()

    def use(self, variant: Variant) -> Delta | None:
        """Load and merge what the variant asks for, and say which delta is in use.

        A variant that asks for a delta that is not there runs without.

        Raises:
            UserError: the configuration has no such weights or LoRA, or a file does not fit.
        """
        weights, lora = (str(variant.option(key, "")) for key in ("weights", "lora"))
        self._check(variant, "weights", weights, "transformers", self._config.transformers)
        self._check(variant, "lora", lora, "loras", self._config.loras)
        delta = self._delta(variant, weights)
        files = {f"loras.{lora}": self._config.loras[lora]} if lora else {}
        if delta is not None:
            files[f"deltas.{delta.name}"] = str(delta.file)
        if weights == self._name and list(files) == list(self._merged):
            return delta
        self.texts = TextTokens()
        for key in reversed(list(self._merged)):
            self._merged.pop(key).remove(self._pipe.transformer)
        if weights != self._name:
            self._load(weights)
        for key, source in files.items():
            found = Lora(key, source, offline=self._config.offline)
            found.merge(self._pipe.transformer)
            self._merged[key] = found
        return delta

    @staticmethod
    def _check(
        variant: Variant, option: str, name: str, key: str, known: Mapping[str, str]
    ) -> None:
        if name and name not in known:
            raise UserError(
                f"{variant.name}: no {option} {name!r}; generator.{key} has "
                f"{', '.join(known) or 'none'}"
            )

    def _delta(self, variant: Variant, weights: str) -> Delta | None:
        """The delta that a variant asks for, or None where there is none.

        Raises:
            UserError: it was trained for other weights than those that the variant asks for.
        """
        name, folder = str(variant.option("delta", "")), self._config.deltas
        if not name or folder is None:
            return None
        path = Path(folder) if Path(folder).is_dir() else ROOT / folder
        file = path / f"{name}.safetensors"
        if not file.is_file():
            return None
        transformer = local_folder(self._source(weights))
        return Delta.read(name, file, None if transformer is None else inner_folder(transformer))

    def _load(self, name: str) -> None:
        source = self._source(name)
        key = f"generator.transformers.{name}" if name else "generator.transformer"
        self._pipe.remove_all_hooks()
        self._pipe.transformer, self._name = None, None  # two 13B models do not fit
        loaded = ckpt.load_transformer(source, self._dtype, key=key, offline=self._config.offline)
        self._pipe.register_modules(transformer=loaded)
        self._name = name
        self._pack()

    def _source(self, name: str) -> str:
        if name:
            return self._config.transformers[name]
        if self._config.transformer:
            return self._config.transformer
        folder = local_folder(self._config.checkpoint)
        return str(folder or self._config.checkpoint)

    @property
    def folder(self) -> Path | None:
        """Where the weights in use are; None where they are not in a folder of this machine."""
        folder = local_folder(self._source(self._name or ""))
        return None if folder is None else inner_folder(folder)

    def _pack(self) -> None:
        """Give the transformer our forward, and place all components."""
        # Same modules and weights; only `forward` differs, so hooks and offloading keep working.
        self._pipe.transformer.__class__ = PackedTransformer
        self._pipe.transformer.eval()
        place(self._pipe, self._config.offload, self._device)


def inner_folder(folder: Path) -> Path:
    """Where the transformer's weights are: the folder itself, or a whole checkpoint's part."""
    return folder / "transformer" if (folder / "transformer").is_dir() else folder
