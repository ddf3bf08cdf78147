"""The command line of a study: its file, and every field of its configuration as a flag."""

import dataclasses
import json
import re
import textwrap
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from lottery.errors import ConfigError, UsageError
from lottery.study.config import StudyConfig

LISTS = ("--inits", "--seeds", "--controls.levels", "--train.lr_milestones", "--prune.fixed")
SETTINGS = {
    f"{field}.{key}" if key else field: default
    for field, value in StudyConfig().to_dict().items()
    for key, default in (value if isinstance(value, dict) and value else {"": value}).items()
}
TYPES = {
    "list[int]": "a list of whole numbers",
    "list[str]": "a list",
    "list": "a list",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "NoneType": "null",
}


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description, and names with hyphens whole."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def study_parser(
    program: str,
    description: str,
    configs: Path,
    default: str,
    families: Sequence[str] = ("",),
) -> ArgumentParser:
    """A parser of STUDY and of every field of its configuration by dotted name.

    configs: the folder of the shipped studies' YAML files; default: one of them. families: how the
    names of those begin that help lists, by default all.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog=program,
        usage="%(prog)s [STUDY] [options]",
        description=description,
        formatter_class=HelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument(
        "study",
        nargs="?",
        default=default,
        metavar="STUDY",
        help=f"a path to a YAML file, or one of: {_shipped(configs, families)}",
    )
    parser.add_argument("--config", action="config", help=SUPPRESS)
    parser.add_class_arguments(StudyConfig)
    return parser


def parse_study(
    parser: ArgumentParser, argv: list[str], configs: Path, families: Sequence[str] = ("",)
) -> tuple[Namespace, StudyConfig]:
    """Arguments and resolved configuration: the STUDY's file, with the flags on top of it.

    Raises ConfigError with the setting, its value and what is allowed.
    """
    argv = with_lists(argv)
    try:
        study = parser.parse_args(argv).study
        is_path = study.endswith((".yaml", ".yml"))
        path = Path(study) if is_path else configs / f"{study}.yaml"
        if is_path and not path.is_file():
            raise ConfigError("STUDY", study, "a file that exists; there is none of this path")
        if not path.is_file():
            allowed = f"a path to a YAML file, or one of: {_shipped(configs, families)}"
            raise ConfigError("STUDY", study, allowed)
        check_file(path)
        arguments = parser.parse_args(["--name", path.stem, "--config", str(path), *argv])
    except ArgumentError as error:
        raise _plain(error) from error
    for name, default in SETTINGS.items():
        if arguments[name] is None and default is not None:
            raise ConfigError(name, None, f"a value, such as {default}")
    values = parser.instantiate(arguments)
    fields = [field.name for field in dataclasses.fields(StudyConfig)]
    return arguments, StudyConfig(**{name: values[name] for name in fields})


def _shipped(configs: Path, families: Sequence[str]) -> str:
    found = sorted(path.stem for path in configs.glob("*.yaml"))
    return ", ".join(name for name in found if name.startswith(tuple(families)))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which the last value would count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value} is there a second time"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def check_file(path: Path) -> None:
    """Raise ConfigError unless the file holds settings by name, those of a group in a group."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (ValueError, yaml.YAMLError) as error:
        allowed = f"a file of valid YAML ({_fault(error)})"
        raise ConfigError("STUDY", str(path), allowed) from error
    if not isinstance(values, dict):
        raise ConfigError("STUDY", str(path), "a file of settings, such as levels: 10")
    groups = {name.split(".")[0] for name in SETTINGS if "." in name}
    for name, value in values.items():
        if name in groups and not isinstance(value, dict):
            raise ConfigError(name, value, _known(f"{name}."))
        if isinstance(value, dict) and name not in groups | {"variants"}:
            # The parser passes over groups that it does not know if there is nothing in them.
            raise UsageError(f"{name} is not a setting; allowed: {_known('')}")


def _fault(error: Exception) -> str:
    """Where a file is no YAML, and why, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def with_lists(argv: list[str]) -> list[str]:
    """Write lists with commas as YAML lists: --seeds 0,1 as --seeds [0, 1].

    Commas within brackets belong to a scheme's options.
    """
    argv = [part for arg in argv for part in (arg.split("=", 1) if _is_list(arg) else [arg])]
    for position, flag in enumerate(argv[:-1]):
        value = argv[position + 1]
        if flag in LISTS and value != "null" and not value.startswith("["):
            items = [item.strip() for item in _split(value)]
            whole = [int(item) if re.fullmatch(r"-?\d+", item) else item for item in items]
            argv[position + 1] = json.dumps(whole)
    return argv


def _split(text: str) -> list[str]:
    """Parts between the commas that are in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _is_list(arg: str) -> bool:
    return arg.startswith(tuple(f"{flag}=" for flag in LISTS))


def _plain(error: ArgumentError) -> UsageError:
    """jsonargparse's message in this project's form: what, its value, what is allowed."""
    text = str(error)
    wrong = re.match(
        r"Parser key \"([^\"]+)\":\s+"
        r"(?:Expected an? (?P<one>.+?)\. Got value: (?P<value>.*)"
        r"|Does not validate .+?Subtypes: \[(?P<some>.+?)\]\n.+Given value: (?P<given>.*))",
        text,
        re.DOTALL,
    )
    if wrong:
        allowed = re.sub(r"typing\.|<class '|'>", "", wrong["one"] or wrong["some"])
        allowed = re.sub(r"Literal\[(.+)\]", lambda match: match[1].replace("'", ""), allowed)
        names = "|".join(map(re.escape, TYPES))
        allowed = re.sub(rf"\b({names})(?!\w)", lambda match: TYPES[match[1]], allowed)
        value = wrong["value"] if wrong["given"] is None else wrong["given"]
        return ConfigError(wrong[1], value, allowed)
    unknown = re.search(r"unrecognized arguments: --([\w.]+)|[Oo]ption '([^']+)'", text)
    if unknown:
        group = re.match(r"Group '([^']+)'", text)
        name = unknown[1] or (f"{group[1]}.{unknown[2]}" if group else unknown[2])
        prefix = f"{name.rpartition('.')[0]}." if "." in name else ""
        return UsageError(f"{name} is not a setting; allowed: {_known(prefix)}")
    return UsageError(" ".join(text.split()))


def _known(prefix: str) -> str:
    """Settings whose names start so; those of one group are named, of other groups the group."""
    found = [name for name in SETTINGS if name.startswith(prefix)] or list(SETTINGS)
    short = dict.fromkeys(prefix + name.removeprefix(prefix).split(".")[0] for name in found)
    return ", ".join(short)
