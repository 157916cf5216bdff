"""``--help`` of every command and every training script, as a terminal of 80 columns shows it."""

import dataclasses
import importlib
import io
import re
import sys

import pytest

from tfcamp import cli

COMMANDS = ["", "doctor", "launch", "demo", "data", "data list", "data fetch", "data check"]
CONFIGS = {
    "news": "NewsConfig",
    "street_view": "StreetConfig",
    "translation": "TranslationConfig",
}


class Screen(io.StringIO):
    """An output for which tyro draws its boxes."""

    encoding = "utf-8"


@pytest.fixture
def help_of(monkeypatch):
    """Returns what a program says when it is asked for help on 80 columns."""

    def help_of(main, *arguments: str) -> str:
        screen = Screen()
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys, "argv", ["program", *arguments, "--help"])
        monkeypatch.setattr(sys, "stdout", screen)
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0
        return screen.getvalue()

    return help_of


def explanations(page: str) -> dict[str, list[str]]:
    """Returns the lines that explain each option, without its default."""
    found: dict[str, list[str]] = {}
    for line in page.splitlines():
        inside = line.strip("│").rstrip()
        if not line.startswith("│"):
            continue
        if inside.startswith((" -", " COMMAND", " PATH", " NAME")):
            name, _, text = inside.strip().partition("  ")
            found[name] = lines = []
        elif inside.startswith("  ") and found:
            text = inside
        else:
            continue
        lines.append(text.strip())
    return {
        name: re.sub(r" ?\(default: .*\)$", "", "\n".join(lines), flags=re.DOTALL).split("\n")
        for name, lines in found.items()
    }


def check(page: str) -> dict[str, str]:
    """Checks what every page must be; returns the explanation of each option as one line."""
    assert max(len(line) for line in page.splitlines()) <= 80
    explained = {name: " ".join(lines).strip() for name, lines in explanations(page).items()}
    for name, text in explained.items():
        assert len(text.split()) > 1, f"{name} is not explained: {text!r}"
    return explained


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(help_of, command):
    check(help_of(cli.main, *command.split()))


def test_long_paragraphs_are_broken_between_words(help_of):
    page = help_of(cli.main, "launch")
    example = "tfcamp launch --workers 2 -- python projects/news/train.py --strategy\n"
    assert f"{example}multi_worker --run-dir runs/two\n" in page


def test_what_follows_two_dashes_is_not_ours(monkeypatch):
    """The help that another program is asked for goes its way unchanged."""
    monkeypatch.setattr(sys, "argv", ["tfcamp", "launch", "--", "python", "--help"])
    before = sys.stdout
    with cli._folded_help():
        assert sys.stdout is before


@pytest.mark.parametrize("project", CONFIGS)
def test_training_scripts(help_of, project):
    config = getattr(importlib.import_module(f"projects.{project}.config"), CONFIGS[project])

    def main(config) -> None:
        """Train it."""

    explained = check(help_of(lambda: cli.run_project(main, config)))
    names = " ".join(explained)
    for field in dataclasses.fields(config):
        assert f"--{field.name.replace('_', '-')}" in names


@pytest.mark.parametrize("project", CONFIGS)
def test_lines_end_where_sentences_do(help_of, project):
    """tyro keeps the line breaks of a field's docstring."""
    path = importlib.import_module(f"projects.{project}.config").__file__
    with open(str(path), encoding="utf-8") as file:
        docstrings = re.findall(r'^    """(.*?)"""$', file.read(), re.MULTILINE | re.DOTALL)
    assert len(docstrings) > 30
    for docstring in docstrings:
        assert all(line.endswith(".") for line in docstring.splitlines()), docstring
