"""What Hydra, OmegaConf and YAML say of a wrong configuration, as one line that a user can mend."""

import difflib
import re
from collections.abc import Sequence

import yaml
from hydra.errors import OverrideParseException
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from bench import config
from bench.errors import UserError

GROUPS = ("generator", "prompts", "video", "metrics", "arena", "report", "ablation")
"""Keys whose values are files of conf/KEY; each run has one of them."""

GLOBAL = "# @package _global_"
"""The first line of a preset, whose keys are then those of the whole configuration."""

EXPECTED = {
    "Integer": "a whole number",
    "Float": "a number",
    "bool": "true or false",
    "string": "one word",
    "Dict": "KEY: VALUE pairs",
}
"""What OmegaConf calls a type, and what is told instead."""


def one_line(error: BaseException) -> str:
    """An error of the configuration as one line: what is wrong, and what there is instead."""
    text = str(error)
    if isinstance(error.__context__, UserError):  # of a key that a launcher's settings come from
        return str(error.__context__)
    if isinstance(error, yaml.MarkedYAMLError):
        return _not_yaml(error)
    if isinstance(error, OverrideParseException):
        return _not_parsed(error)
    if found := re.match(r"Ambiguous value for argument '\+*([\w./@]+)=(.*)'", text):
        return _ambiguous(found[1], found[2])
    if found := re.search(r"No match in the defaults list\.\s+To append.* use \+(\S+)=(\S*)", text):
        return f"{found[1]}={found[2]}: write +{found[1]}={found[2]}, with a plus"
    if found := re.match(r"Could not override '([\w.]+)'", text):
        group = getattr(error.__cause__, "parent_node", None)
        return unknown_key(found[1], [str(key) for key in group or ()])
    if found := re.match(r"Error merging override (\S+)", text):
        return f"{found[1]}: {_expected(error.__cause__ or error)}"
    if found := re.match(r"In '(\w+)/([^']+)': \w+ raised while composing", text):
        return _in_file(found[1], found[2], _reason(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for place, line in enumerate(lines):
        if line.startswith("Available options"):
            end = next(
                (i for i, rest in enumerate(lines) if rest.startswith("Config search")), None
            )
            there = ", ".join(lines[place + 1 : end])
            if found := re.search(r"Could not find '([\w/]+)/([^/']+)'", lines[0]):
                return f"{found[1]}={found[2]}: there is no such value; there are {there}"
            return f"{lines[0]}; there are {there}"
    key = getattr(error, "full_key", None)
    head = _first_line(error)
    return f"{key}: {head}" if key and str(key) not in head else head


def unknown_key(key: str, there: Sequence[str] = ()) -> str:
    """What to say of a key that does not exist: the nearest one that does, or how to add it.

    Args:
        key: the key, with its groups.
        there: the keys that its group has.
    """
    known = config.Config.__dataclass_fields__
    group, dot, inner = key.rpartition(".")
    if dot and (top := group.partition(".")[0]) in known:
        parts = getattr(known[top].type, "__dataclass_fields__", None)
        if parts is None:  # a group whose package checks it: a mapping may take a new name
            near = difflib.get_close_matches(inner, there, n=1)
            hint = f"did you mean {group}.{near[0]}? " if near else ""
            return f"{key}: conf/{top} does not name it; {hint}if it is right, write +{key}=..."
        known, key, prefix = parts, inner, f"{group}."
    else:
        prefix = ""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {prefix}{near[0]}?" if near else "see --help"
    return f"{prefix}{key}: no such key; {hint}"


def check_word(word: str, flags: Sequence[str]) -> None:
    """Refuse a word that neither Hydra nor argparse would tell of in one line.

    That is a number for a group of `conf/`, or dashes before what is none of the program's flags.

    Args:
        word: a word of the command line.
        flags: all flags, with their dashes.

    Raises:
        UserError: says how settings are written.
    """
    name, equals, value = word.partition("=")
    if name in GROUPS and re.fullmatch(r"[-+.\d]+|true|false", value, re.IGNORECASE):
        raise UserError(f"{word}: {name} takes a name of a file in conf/{name}")
    if not name.startswith("-") or any(flag.startswith(name) for flag in flags):
        return
    key = name.lstrip("-")
    mended = f"{key}={value}" if equals else f"{key}=VALUE"
    known = key.partition(".")[0] in config.Config.__dataclass_fields__
    hint = f"write {mended}, without dashes" if known else "settings are KEY=VALUE; see --help"
    raise UserError(f"{word}: {hint}")


def _not_yaml(error: yaml.MarkedYAMLError) -> str:
    """Where a file is no YAML."""
    mark = error.problem_mark or error.context_mark
    where = f"{mark.name}: line {mark.line + 1}" if mark else "the configuration"
    told = error.problem or "it cannot be read"
    if told.startswith("found duplicate key"):
        return f"{where}: {told.removeprefix('found ')}"
    return f"{where}: not YAML ({told}); is it indented as the lines around it?"


def _not_parsed(error: OverrideParseException) -> str:
    """What to say of a word that is no KEY=VALUE."""
    word = error.override
    key, equals, value = word.partition("=")
    if not equals:
        return f"{word}: write KEY=VALUE, without blanks around ="
    return f"{word}: put the value in quotes, and all in others: '{key}=\"{value}\"'"


def _ambiguous(key: str, value: str) -> str:
    """What to say of commas outside of brackets."""
    sweep = f"-m {key}={value} for a run of each"
    one = f"{key}=[{value}] for a list in one study, or "
    return f"{key}={value}: write {'' if key in GROUPS else one}{sweep}"


def _expected(error: BaseException) -> str:
    """What a key takes that was given something else."""
    told = _first_line(error)
    found = re.search(r"(?:converted to|convert '\w+' to|assign \w+ to|a valid) (\w+)", told)
    if isinstance(error, ValidationError) and found and found[1] in EXPECTED:
        return f"give {EXPECTED[found[1]]}"
    return told


def _in_file(group: str, name: str, error: BaseException) -> str:
    """What is wrong with a file of conf/, such as a preset of one's own."""
    file = f"{group}/{name}.yaml"
    key = str(getattr(error, "full_key", None) or "")
    if group == "ablation" and isinstance(error, ConfigKeyError) and key in (group, "global"):
        return f"{file}: its first line must be `{GLOBAL}`"
    if isinstance(error, ConfigKeyError):
        return f"{file}: {unknown_key(key)}"
    if not key:
        return f"{file}: give KEY: VALUE lines"
    value = re.match(r"Value '(.*)' of type", _first_line(error))
    return f"{file}: {key}{f'={value[1]}' if value else ''}: {_expected(error)}"


def _reason(error: BaseException) -> BaseException:
    """OmegaConf's own error, however often Hydra has raised it anew."""
    reason: BaseException | None = error
    while reason and not isinstance(reason, OmegaConfBaseException):
        reason = reason.__cause__ or reason.__context__
    return reason or error


def _first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "error")
