"""The prompt suites that a configuration can name: files, shipped ones, and the pocket world's."""

import difflib
import io
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench import prompts
from bench.errors import UserError
from bench.prompts import Prompt, Suite

SHIPPED = Path(__file__).parents[1] / "conf" / "prompts"
"""Suites that come with the configuration."""

SWAP = 3
"""How many places further on in the list of actions a scene's second prompt stands."""


def chosen(cfg: Mapping[str, Any], known: Collection[str] = ()) -> Suite:
    """The suite of a configuration's `prompts` group, checked and selected.

    Args:
        cfg: see `bench.config.Prompts`.
        known: SHA-256 of images that need no second look.

    Raises:
        UserError: all problems of the suite, one line each.
    """

    if cfg["limit"] is not None and cfg["limit"] < 1:
        raise UserError(f"prompts.limit={cfg['limit']}: give a whole number from 1 on, or null")

    ids, tags = _names(cfg["ids"]), _names(cfg["tags"])

    def wanted(suite: Suite) -> Suite:
        return Suite(suite.select(ids, tags).prompts[: cfg["limit"]])

    if cfg["kind"] == "pocket":
        if cfg["file"]:
            raise UserError(
                f"prompts.file={cfg['file']}: prompts=pocket reads no file; "
                f"write prompts={cfg['file']}"
            )
        return wanted(pocket(cfg["scenes"], cfg["first_scene"]))
    if cfg["kind"] == "file":
        if not cfg["file"]:
            raise UserError("prompts.file: name a CSV, JSONL or YAML file with prompts")
        images = Path(cfg["images_dir"]) if cfg["images_dir"] else None
        if images is not None and not images.is_dir():
            raise UserError(f"prompts.images_dir={images}: no such folder")
        path = _find(Path(cfg["file"]))
        if images is None and path.parent == SHIPPED:
            raise UserError(
                f"prompts.images_dir: the images of {path.name} are yours; name their folder"
            )
        return prompts.load(path, images, known, wanted)
    raise UserError(f"prompts.kind={cfg['kind']}: choose from file, pocket")


def _names(given: Any) -> list[str] | None:
    """Ids or tags as words, of one or of a list; None stays None."""
    if given is None:
        return None
    return [str(name) for name in (given if isinstance(given, list | tuple) else [given])]


def pocket(scenes: int, first: int) -> Suite:
    """Scenes of the pocket world, two prompts each: all of them start from the same neutral pose.

    The two prompts of a scene share the first frame and ask for different actions, so a model
    cannot tell from the picture what to do: what follows the prompt is read from the prompt.

    Args:
        scenes: how many scenes; eight cover all actions twice.
        first: number of the first scene.
    """
    from bench.pocket.captions import ACTIONS
    from bench.pocket.world import sample_scene, with_action

    if scenes < 1:
        raise UserError(f"prompts.scenes={scenes}: give 1 or more")
    actions = list(ACTIONS)
    found = []
    for index in range(scenes):
        for kind, shift in (("first", 0), ("swapped", SWAP)):
            action = actions[(index + shift) % len(actions)]
            scene = with_action(sample_scene(first + index), action, "always")
            found.append(
                Prompt(
                    id=f"{action}-{index:02d}",
                    text=scene.caption,
                    tags=(action, kind),
                    source=f"pocket scene {first + index}",
                    draw=partial(_first_frame, first + index),
                )
            )
    return Suite(tuple(found))


def _first_frame(scene: int) -> bytes:
    """The first frame of a scene of the pocket world, as a PNG."""
    from PIL import Image

    from bench.pocket.render import render
    from bench.pocket.world import sample_scene

    frame = render(sample_scene(scene), 1)[0].permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def _find(path: Path) -> Path:
    """The suite's file: as named, or among the shipped ones.

    Raises:
        UserError: there is none; names one that is called alike.
    """
    if path.exists():
        return path
    if (SHIPPED / path).exists():
        return SHIPPED / path
    if path.suffix not in prompts.FORMATS:
        return path  # what it may be is told where it is read
    groups = [file.stem for file in SHIPPED.glob("*.yaml") if file.stem != "file"]
    files = path.parent.glob("*") if path.parent.is_dir() else ()
    names = [file.name for file in files if file.suffix in prompts.FORMATS]
    alike = [path.with_name(name) for name in difflib.get_close_matches(path.name, names, n=1)]
    near = alike or difflib.get_close_matches(path.stem, groups, n=1)
    hint = f"; did you mean prompts={near[0]}?" if near else ""
    raise UserError(f"prompts.file={path}: no such file{hint}")
