"""Options in a file: what ``--config`` reads, a JSON object of a config's fields and their values.

tune.py writes one, ``best.json``, and train.py takes it.
"""

import dataclasses
import difflib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tfcamp.errors import UserError

Config = TypeVar("Config")

_DESCRIPTIONS = {
    str: "a string",
    Path: "a path",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    types.NoneType: "null",
}


# Of a value in a message.
_MOST_LETTERS = 60


def config_from_file(path: Path, config_class: type[Config], *, missing: Any = None) -> Config:
    """Builds a config of the options in a file; those that it leaves out have their defaults.

    Args:
      path: of a JSON object.
      config_class: a dataclass.
      missing: stands for options that have no default and are left out.

    Raises:
      UserError: the file cannot be read, or has a field or a value that the class does not take.
    """
    required = {
        field.name: missing
        for field in dataclasses.fields(config_class)  # pyright: ignore[reportArgumentType]
        if field.default is field.default_factory is dataclasses.MISSING
    }
    options = required | read_options(path, config_class)
    try:
        return config_class(**options)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_options(path: Path, config_class: type) -> dict[str, Any]:
    """Reads options and makes sure that a config has them.

    Args:
      path: of a JSON object.
      config_class: a dataclass.

    Returns:
      the values, as the fields' types say.

    Raises:
      UserError: the file cannot be read, or names a field that the class has not, or gives it a
        value of another type.
    """
    try:
        options = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"--config {path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        raise UserError(f"--config {path}: expected JSON: {error}") from None
    except RecursionError:
        raise UserError(f"--config {path}: is nested too deeply for options") from None
    if not isinstance(options, dict):
        raise UserError(f'{path}: expected an object of options, such as {{"epochs": 4}}')
    kinds = get_type_hints(config_class)
    names = [field.name for field in dataclasses.fields(config_class)]
    for name, value in options.items():
        if name not in names:
            alike = difflib.get_close_matches(name, names, n=1)
            meant = f"; was {alike[0]} meant?" if alike else ""
            raise UserError(f"{path}: {name}: there is no such option{meant}")
        try:
            options[name] = _typed(value, kinds[name])
        except ValueError:
            raise UserError(
                f"{path}: {name}: expected {_described(kinds[name])}, got {_shown(value)}"
            ) from None
    return options


def expanded_path(text: str) -> Path:
    """Returns a path, with the home folder for a leading ``~``.

    A shell expands that at the start of a word, so in ``--run-dir ~/x`` but not in
    ``--run-dir=~/x``. Whose home is not known stays as it is, as in a shell.
    """
    return Path(os.path.expanduser(text))


def as_json(options: Any) -> Any:
    """Returns options as what JSON can say: paths as strings.

    >>> as_json({"data_dir": Path("data"), "epochs": None})
    {'data_dir': 'data', 'epochs': None}
    """
    return json.loads(json.dumps(options, default=str))


def _typed(value: Any, kind: Any) -> Any:
    """Returns a value of JSON as a type says it.

    Raises:
      ValueError: it is of another type.

    >>> _typed("data", Path | None), _typed(1, float), _typed(["a"], tuple[str, ...])
    (PosixPath('data'), 1.0, ('a',))
    """
    if get_origin(kind) in (Union, types.UnionType):
        for choice in get_args(kind):
            try:
                return _typed(value, choice)
            except ValueError:
                continue
    elif get_origin(kind) is Literal:
        if any(type(value) is type(choice) and value == choice for choice in get_args(kind)):
            return value
    elif get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_typed(item, get_args(kind)[0]) for item in value)
    elif kind is Path and isinstance(value, str):
        return expanded_path(value)
    elif kind is float and type(value) in (int, float):
        # Python reads Infinity and NaN, which JSON has not, and 1e999 as one of them.
        if abs(value) <= sys.float_info.max:
            return float(value)
    elif type(value) is kind:  # true is no number, though Python thinks so
        return value
    raise ValueError(value)


def _shown(value: Any) -> str:
    """Says a value as JSON does; the start of a long one.

    >>> _shown(True), len(_shown(10**400))
    ('true', 61)
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:  # it was read with a few levels to spare
        return "a value that is nested too deeply"
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def _described(kind: Any) -> str:
    """Says what a type takes.

    >>> _described(int | None), _described(Literal["negative", "hierarchical"])
    ('an integer or null', 'negative or hierarchical')
    """
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_described, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each {_described(get_args(kind)[0])}"
    return _DESCRIPTIONS[kind]
