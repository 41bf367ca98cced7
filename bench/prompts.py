"""Prompt suites: what is asked of the generators, checked before anything is made.

A suite is a CSV, JSONL or YAML file beside its images:

| field | meaning |
|---|---|
| `id` | names the prompt in folders and tables; a-z, A-Z, 0-9, `.`, `_`, `+`, `-` |
| `text` | the prompt |
| `image` | the first frame, a path relative to the suite's folder; may be empty |
| `end_image` | what the video ends with, likewise; may be missing |
| `negative` | what to steer away from; may be missing |
| `tags` | words that reports group by: a list, or words separated by `;` |

All problems of a suite are reported at once, one line each: a suite with forty missing images is
mended in one go, not in forty.
"""

import csv
import hashlib
import io
import json
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from bench import files
from bench.errors import UserError
from bench.study import SAFE, SAFE_WORDS, Study

FIELDS = ("id", "text", "image", "end_image", "negative", "tags")
FORMATS = (".csv", ".jsonl", ".yaml", ".yml")


@dataclass(frozen=True)
class Prompt:
    """One prompt: its id, text, first frame and tags."""

    id: str
    text: str
    image: Path | None = None
    """The first frame's file; None for generators that need no image."""
    negative: str = ""
    tags: tuple[str, ...] = ()
    source: str = ""
    """Where a drawn image comes from ("pocket scene 7"): its identity without drawing it."""
    draw: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)
    """Draws the first frame as a PNG, for images that no file holds."""
    end_image: Path | None = None
    """The file of what the video ends with, for samplers and generators that can be told."""

    @property
    def has_image(self) -> bool:
        """Whether there is a first frame."""
        return self.image is not None or self.draw is not None

    def origin(self) -> str | None:
        """What identifies the first frame: its source, or its file's SHA-256."""
        if self.source:
            return self.source
        return hashlib.sha256(self.image.read_bytes()).hexdigest() if self.image else None

    def png(self) -> bytes:
        """The first frame as a PNG file: upright, RGB."""
        if self.draw is not None:
            return self.draw()
        if self.image is None:
            raise UserError(f"prompt {self.id!r} has no image")
        return _as_png(self.image.read_bytes())


@dataclass(frozen=True)
class Suite:
    """A checked list of prompts."""

    prompts: tuple[Prompt, ...]

    def select(self, ids: Sequence[str] | None, tags: Sequence[str] | None) -> "Suite":
        """The prompts with these ids and any of these tags; None selects all.

        Raises:
            UserError: an unknown id or tag.
        """
        known = {prompt.id for prompt in self.prompts}
        known_tags = {tag for prompt in self.prompts for tag in prompt.tags}
        for key, wanted, have in (("ids", ids, known), ("tags", tags, known_tags)):
            if unknown := [name for name in wanted or () if name not in have]:
                raise UserError(
                    f"prompts.{key}: no {', '.join(unknown)}; there are {', '.join(sorted(have))}"
                )
        return Suite(
            tuple(
                prompt
                for prompt in self.prompts
                if (ids is None or prompt.id in ids)
                and (tags is None or not {*tags}.isdisjoint(prompt.tags))
            )
        )


def load(
    path: Path,
    images: Path | None = None,
    known: Collection[str] = (),
    wanted: Callable[[Suite], Suite] = lambda suite: suite,
) -> Suite:
    """Read a suite, choose from it, and check it.

    Args:
        path: the CSV, JSONL or YAML file.
        images: where the images are; the suite's own folder where it is not given.
        known: SHA-256 of image files that were read before and need no second look.
        wanted: chooses the prompts; images of the others need not be there.

    Raises:
        UserError: everything that is wrong with the suite, one line each.
    """
    root = (images or path.parent).resolve()
    problems: list[tuple[int, str]] = []
    prompts: dict[str, Prompt] = {}
    rows: dict[str, tuple[int, str]] = {}
    for number, (where, row) in enumerate(_rows(path)):
        try:
            prompt = _prompt(row, root)
        except UserError as error:
            problems += [(number, f"{where}: {line}") for line in str(error).splitlines()]
            continue
        if prompt.id in prompts:
            problems.append((number, f"{where}: id {prompt.id!r} is there twice"))
        prompts[prompt.id], rows[prompt.id] = prompt, (number, where)
    if not prompts and not problems:
        raise UserError(f"{path.name}: no prompts in it")
    suite = Suite(tuple(prompts.values()))
    if not problems:  # else what is chosen from it is not known yet
        suite = wanted(suite)
    for prompt in suite.prompts:
        number, where = rows[prompt.id]
        for image in (prompt.image, prompt.end_image):
            if image is not None and (problem := _image_problem(image, root, known)):
                problems.append((number, f"{where}: prompt {prompt.id!r}: {problem}"))
    if problems:
        problems.sort(key=lambda each: each[0])
        raise UserError("\n".join(f"{path.name}: {problem}" for _, problem in problems))
    return suite


def store(study: Study, suite: Suite, *, dry: bool = False) -> Suite:
    """Keep the prompts and their images in the study, once for all cells.

    Args:
        study: the study.
        suite: the prompts.
        dry: write nothing, only look whether they fit what the study holds.

    Returns:
        The suite with the study's own images: what generators and judges see. As it is where dry.

    Raises:
        UserError: the study holds another prompt of the same id.
    """
    kept = []
    for prompt in suite.prompts:
        stored = {
            "id": prompt.id,
            "text": prompt.text,
            "negative": prompt.negative,
            "tags": list(prompt.tags),
            "image": reference(prompt) if prompt.has_image else None,
            "origin": prompt.origin(),
        }
        if prompt.end_image:
            end = prompt.end_image.read_bytes()
            stored |= {"end_image": ending(prompt), "end_origin": hashlib.sha256(end).hexdigest()}
        path = study.path / "prompts" / f"{prompt.id}.json"
        image = study.path / reference(prompt)
        if not dry and not path.exists():
            if prompt.has_image:
                files.atomic_write(image, prompt.png())
            if prompt.end_image:
                files.atomic_write(study.path / ending(prompt), _as_png(end))
            files.create_once(path, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
        if path.exists() and json.loads(path.read_bytes()) != stored:
            raise UserError(
                f"study={study.path} holds another prompt {prompt.id!r} (text or image differ): "
                "give the new one another id, or name another study"
            )
        kept.append(
            replace(
                prompt,
                image=image if prompt.has_image else None,
                end_image=study.path / ending(prompt) if prompt.end_image else None,
                draw=None,
            )
        )
    return suite if dry else Suite(tuple(kept))


def reference(prompt: Prompt) -> str:
    """Where a study keeps a prompt's first frame, relative to the study."""
    return f"prompts/{prompt.id}.png"


def ending(prompt: Prompt) -> str:
    """Where a study keeps what a prompt's video ends with; `@` is in no prompt's id."""
    return f"prompts/{prompt.id}@end.png"


def _rows(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """(where, fields) of every prompt in the file."""
    if path.suffix not in FORMATS:
        raise UserError(f"prompts.file={path}: give a file that ends in {', '.join(FORMATS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"prompts.file={path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"prompts.file={path}: cannot be read (not UTF-8)") from None
    if path.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            _check_separator(path, reader.fieldnames or ())
            return [(f"line {reader.line_num}", row) for row in reader]
        except csv.Error as error:
            first = reader.line_num + 1  # of the row that cannot be read
            raise UserError(f"{path.name}: line {first}: not CSV ({error})") from None
    if path.suffix == ".jsonl":
        found = []
        # Not splitlines: a text may have other line ends than the file's, such as U+2028.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    found.append((f"line {number}", json.loads(line)))
                except json.JSONDecodeError as error:
                    raise UserError(f"{path.name}: line {number}: not JSON ({error})") from None
        return found
    try:
        items = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path.name}: not YAML ({' '.join(str(error).split())})") from None
    if isinstance(items, dict):
        items = items.get("prompts")
    if not isinstance(items, list):
        raise UserError(f"{path.name}: give a list of prompts")
    return [(f"prompt {number}", item) for number, item in enumerate(items, start=1)]


def _check_separator(path: Path, header: Sequence[str]) -> None:
    """Refuse what a spreadsheet saves in some countries: all fields of a line would be one."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise UserError(f"{path.name}: line 1: {name} between the fields; save it with commas")


def _prompt(row: object, root: Path) -> Prompt:
    """One prompt, its images unseen; raises with all of its problems, one line each."""
    if not isinstance(row, Mapping):
        raise UserError(f"not a prompt: give {', '.join(FIELDS)}")
    problems: list[str] = []
    if unknown := [str(key) for key in row if key not in FIELDS]:
        problems.append(f"unknown field {', '.join(unknown)}; there are {', '.join(FIELDS)}")
    identity = str(row.get("id") or "")
    if not identity or not SAFE.issuperset(identity) or identity[0] in ".-":
        problems.append(f"id {identity!r} must be {SAFE_WORDS}")
    text = str(row.get("text") or "").strip()
    if not text:
        problems.append(f"prompt {identity!r} has no text")
    tags = row.get("tags")
    words = (tags or "").split(";") if isinstance(tags, str | None) else tags
    if not isinstance(words, list):
        problems.append(f"prompt {identity!r}: tags {tags!r}: give a list, or words between ;")
    if problems:
        raise UserError("\n".join(problems))
    image, end_image = (
        root / name if (name := str(row.get(key) or "")) else None for key in ("image", "end_image")
    )
    return Prompt(
        identity,
        text,
        image,
        negative=str(row.get("negative") or "").strip(),
        tags=tuple(word for tag in words if (word := str(tag).strip())),
        end_image=end_image,
    )


def _image_problem(path: Path, root: Path, known: Collection[str]) -> str:
    """What is wrong with an image file; empty where nothing is."""
    name = path.relative_to(root) if path.is_relative_to(root) else path
    if not path.resolve().is_relative_to(root):
        return f"image {name} leaves the suite's folder"
    if not path.is_file():
        return f"image {name} is missing in {root}"
    if known and hashlib.sha256(path.read_bytes()).hexdigest() in known:
        return ""
    return _unreadable(path, str(name))


def _unreadable(path: Path, name: str) -> str:
    """What keeps an image from being read to its end; empty where nothing does."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
    except Exception as error:  # Pillow's plugins raise whatever they like on broken files
        return (
            f"image {name} cannot be read ({' '.join(str(error).split()) or type(error).__name__})"
        )
    return ""


def _as_png(data: bytes) -> bytes:
    """An image file as PNG, upright, in RGB: one kind of file for whoever reads the study."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as image:
        if image.format == "PNG" and image.mode == "RGB":
            return data
        buffer = io.BytesIO()
        ImageOps.exif_transpose(image).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
