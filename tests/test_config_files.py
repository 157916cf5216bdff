"""Options in a file: what is taken, what is refused, and that the command line wins."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st

from tfcamp.cli import run_project
from tfcamp.config_files import as_json, config_from_file, expanded_path
from tfcamp.errors import UserError


@dataclass(frozen=True)
class Config:
    """Options of the test."""

    batch_size: int = 128
    """Rows of a batch."""
    learning_rate: float = 0.1
    """Of each step."""
    epochs: int | None = None
    """How many."""
    model: Literal["gru", "lstm"] = "gru"
    """Which one."""
    ngrams: Literal[1, 2, 3] = 3
    """Longest one."""
    data_dir: Path | None = None
    """Where data are."""
    joint: bool = True
    """Both as one."""
    names: tuple[str, ...] = ()
    """Several."""

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if self.batch_size < 1:
            raise UserError(f"--batch-size {self.batch_size}: expected at least 1")


def config_of(tmp_path: Path, options: Any) -> Config:
    path = tmp_path / "best.json"
    path.write_text(json.dumps(options), "utf-8")
    return config_from_file(path, Config)


CONFIG = Config(
    batch_size=64,
    learning_rate=1.0,
    epochs=3,
    model="lstm",
    ngrams=1,
    data_dir=Path("data"),
    joint=False,
    names=("a", "b"),
)


def test_every_type_survives_a_file(tmp_path):
    assert config_of(tmp_path, as_json(vars(CONFIG))) == CONFIG
    assert config_of(tmp_path, as_json(vars(Config()))) == Config()
    assert type(config_of(tmp_path, {"learning_rate": 1}).learning_rate) is float


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"learning_rte": 0.1}, "learning_rte: there is no such option; was learning_rate meant?"),
        ({"qqq": 0.1}, "qqq: there is no such option"),
        ({"batch_size": 6.5}, "batch_size: expected an integer, got 6.5"),
        ({"batch_size": True}, "batch_size: expected an integer, got true"),
        ({"joint": 1}, "joint: expected true or false, got 1"),
        ({"learning_rate": "0.1"}, 'learning_rate: expected a number, got "0.1"'),
        ({"epochs": "four"}, 'epochs: expected an integer or null, got "four"'),
        ({"model": "rnn"}, 'model: expected gru or lstm, got "rnn"'),
        ({"ngrams": True}, "ngrams: expected 1 or 2 or 3, got true"),
        ({"data_dir": 5}, "data_dir: expected a path or null, got 5"),
        ({"learning_rate": 10**400}, f"learning_rate: expected a number, got 1{'0' * 59}…"),
        ({"learning_rate": math.inf}, "learning_rate: expected a number, got Infinity"),
        ({"learning_rate": math.nan}, "learning_rate: expected a number, got NaN"),
        ({"names": "a"}, 'names: expected a list, each a string, got "a"'),
        ({"names": [1]}, "names: expected a list, each a string, got [1]"),
        ({"batch_size": 0}, "--batch-size 0: expected at least 1"),
        ([64], 'expected an object of options, such as {"epochs": 4}'),
    ],
)
def test_what_does_not_fit_is_one_line_with_file_and_field(tmp_path, options, finding):
    with pytest.raises(UserError) as caught:
        config_of(tmp_path, options)
    assert str(caught.value) == f"{tmp_path / 'best.json'}: {finding}"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no-such.json: cannot be read: No such file"):
        config_from_file(tmp_path / "no-such.json", Config)
    for content in (b'{"epochs": 3', b"\xff\xfe"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(UserError, match=r"bad.json: expected JSON"):
            config_from_file(tmp_path / "bad.json", Config)


def test_what_is_nested_too_deeply_is_one_line(tmp_path):
    path = tmp_path / "deep.json"
    # Python gives up somewhere on the way, and writing a value takes more of it than reading one.
    for depth in (100_000, *range(600, 1000)):
        for content in ("[" * depth, f'{{"epochs": {"[" * depth}{"]" * depth}}}'):
            path.write_text(content)
            with pytest.raises(UserError, match=r"^[^\n]*deep.json: [^\n]*$"):
                config_from_file(path, Config)


@given(
    st.dictionaries(
        st.sampled_from([*vars(CONFIG), "other"]),
        st.integers() | st.integers(10**300, 10**320) | st.floats() | st.text(),
    )
)
def test_any_object_is_a_config_or_one_line(tmp_path_factory, options):
    try:
        config = config_of(tmp_path_factory.getbasetemp(), options)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        if "data_dir" in options:
            # "a//b" and "a/b" are one path, and so may "~" and "/root" be.
            options["data_dir"] = str(expanded_path(options["data_dir"]))
        if "learning_rate" in options:
            options["learning_rate"] = float(options["learning_rate"])  # of a large integer, about
            assert math.isfinite(config.learning_rate)
        assert as_json({name: getattr(config, name) for name in options}) == options


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command line and returns what main was given, or the exit status and stderr."""

    def run(config_class: type, *arguments: object) -> Any:
        given = []
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run_project(given.append, config_class)
        return given[0] if given else (caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def best(tmp_path) -> Path:
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"batch_size": 64, "joint": False, "model": "lstm"}), "utf-8")
    return path


def test_the_command_line_wins_wherever_it_stands(run, best):
    assert run(Config, "--config", best) == Config(batch_size=64, joint=False, model="lstm")
    expected = Config(batch_size=32, joint=True, model="lstm")
    assert run(Config, "--config", best, "--batch-size", 32, "--joint") == expected
    assert run(Config, "--batch-size", 32, "--joint", f"--config={best}") == expected
    # Its default, said aloud.
    assert run(Config, "--config", best, "--batch-size", 128).batch_size == 128


@pytest.mark.parametrize("arguments", [["--data-dir=~/x"], ["--data-dir", "~/x"]])
def test_the_home_folder_on_the_command_line(run, tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(Config, *arguments).data_dir == tmp_path / "x"


def test_the_home_folder_in_a_file_and_of_the_file(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "best.json").write_text('{"data_dir": "~/x", "names": ["~"]}', "utf-8")
    config = run(Config, "--config=~/best.json")
    assert (config.data_dir, config.names) == (tmp_path / "x", ("~",))


def test_the_home_folder_stands_first_and_is_somebodys(run, tmp_path):
    for path in ("a/~", "~nobody-of-this-name/x", "gs://bucket/x"):
        assert run(Config, f"--data-dir={path}").data_dir == Path(path)

    @dataclass(frozen=True)
    class Folders:
        folders: tuple[Path, ...] = ()

    home = Path.home()
    assert run(Folders, "--folders", "~", "a", "~/b").folders == (home, Path("a"), home / "b")


def test_help_explains_the_option_and_shows_its_defaults(run, best):
    status, out, _ = run(Config, "--config", best, "--help")
    assert status == 0
    assert "--config" in out and "JSON file of options" in out
    assert "Rows of a batch. (default: 64)" in out
    assert "Rows of a batch. (default: 128)" in run(Config, "--help")[1]


def test_a_bad_file_is_one_line_on_stderr(run, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text('{"batchsize": 3}')
    status, out, err = run(Config, "--config", path)
    assert (status, out) == (2, "")
    assert err == (f"error: {path}: batchsize: there is no such option; was batch_size meant?\n")
    assert run(Config, "--config")[0] == 2


def test_arguments_without_a_default_may_stand_beside_a_file(run, best):
    @dataclass(frozen=True)
    class Files:
        images: Annotated[tuple[str, ...], tyro.conf.Positional]
        batch_size: int = 1
        joint: bool = True
        model: str = ""

    assert run(Files, "a.png", "b.png", "--config", best) == Files(
        ("a.png", "b.png"), 64, False, "lstm"
    )
    assert run(Files, "a.png") == Files(("a.png",))
    assert run(Files, "--batch-size", 2) == Files((), 2)
