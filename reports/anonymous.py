"""A study as strangers may read it: what was made, with what and why it failed, but not where.

Paths on the machine name its users and how it is set up. Of an absolute path its last name stays,
which is what a reader can use (a checkpoint's, a missing file's); tracebacks are left out whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.results import Results

ABSOLUTE = re.compile(r"(?:file://|(?<![\w./:~-])~?)(?:/[^\s/'\"<>:;,()]+)+/([^\s/'\"<>:;,()]+)/?")
"""A path of two names or more within a sentence; an address of the web or a fraction is none."""


def named(value: Any) -> Any:
    """The same text, list or mapping with absolute paths reduced to their last names.

    Example:
        >>> named({"checkpoint": "/home/ann/my models/pocket", "steps": 25})
        {'checkpoint': 'pocket', 'steps': 25}
    """
    return _texts(value, lambda text: Path(text).name if _is_path(text) else told(text))


def portable(value: Any) -> Any:
    """The same with paths below this folder as they are called from it; others stay."""
    here = Path.cwd()

    def below(text: str) -> str:
        found = _is_path(text) and Path(text).is_relative_to(here)
        return Path(text).relative_to(here).as_posix() if found else text

    return _texts(value, below)


def _is_path(text: str) -> bool:
    return text.startswith(("/", "~/"))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    """A text, list or mapping with every text in it changed."""
    if isinstance(value, Mapping):
        return {key: _texts(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def told(message: str) -> str:
    """A sentence with the absolute paths in it reduced to their last names.

    Example:
        >>> told("no weights at /home/ann/models/musiq.pt: run make weights")
        'no weights at musiq.pt: run make weights'
    """
    return ABSOLUTE.sub(r"\1", message)


def from_here(path: Path) -> Path:
    """A path as a command run from this folder names it, or its name where it lies elsewhere."""
    place, here = path.resolve(), Path.cwd()
    return place.relative_to(here) if place.is_relative_to(here) else Path(place.name)


def anonymous(results: Results) -> Results:
    """Results without tracebacks and without folders of the machine, but for the videos' own."""
    cells, scores = results.cells.copy(), results.scores
    cells["error_traceback"] = ""
    cells["error_message"] = [told(message) for message in cells["error_message"]]
    for column in ("generator", "options", "reference_image"):
        cells[column] = [named(value) for value in cells[column]]
    if len(scores):
        scores = scores.assign(reason=scores["reason"].astype(str).map(told).astype("category"))
    settings = {name: named(of) for name, of in results.settings.items()}
    return replace(results, cells=cells, scores=scores, settings=settings)
