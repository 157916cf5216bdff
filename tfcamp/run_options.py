"""What a run was asked for, and whether what is asked now goes with it."""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tfcamp.errors import UserError


def read_run_config(home: Path) -> dict[str, Any]:
    """Reads the ``config.json`` of a run folder: its "options", and the "environment" it ran in.

    Raises:
      UserError: the file has the name, which other programs give to their files too, but is none.
    """
    try:
        config = json.loads((home / "config.json").read_text("utf-8"))
    except ValueError:
        raise no_run(home) from None
    if not isinstance(config, dict) or not {"options", "environment"} <= set(config):
        raise no_run(home)
    return config


def no_run(home: Path) -> UserError:
    """Returns the error of a folder that holds something else than a run."""
    return UserError(f"--run-dir {home} holds no run but other files: name another folder")


def different_option(
    before: Mapping[str, Any], now: Mapping[str, Any], may_differ: Collection[str]
) -> str | None:
    """Returns the first option, by name, that is not what it was and would have to be, or None.

    >>> different_option({"model": "ctc", "epochs": 4}, {"model": "vgg", "epochs": 9}, ["epochs"])
    'model'
    """
    names = {*before, *now} - set(may_differ)
    return min((name for name in names if before.get(name) != now.get(name)), default=None)


def asks_for_more(options: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Tells whether options ask for more training than a finished run was asked for.

    Args:
      options: ``epochs``, ``max_steps`` and ``patience``, each a number or None: for the default,
        of max_steps for no limit.
      asked: the same of the finished run.

    >>> asked = {"epochs": 4, "max_steps": 100, "patience": 5}
    >>> [asks_for_more({**asked, **more}, asked) for more in ({"max_steps": None}, {"epochs": 3})]
    [True, False]
    """
    unlimited = math.inf
    return (
        (options["epochs"] or 0) > (asked["epochs"] or 0)
        or (options["max_steps"] or unlimited) > (asked["max_steps"] or unlimited)
        or options["patience"] > (asked["patience"] or 0)
    )
