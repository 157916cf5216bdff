"""What a project's command line answers to mistakes, a full disk and a signal."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tfcamp import cli
from tfcamp.cli import run_project
from tfcamp.errors import Interrupted, UserError


@dataclass(frozen=True)
class Config:
    """Options of the test."""

    batch_size: int = 128
    """Rows of a batch."""

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if self.batch_size < 1:
            raise UserError(f"--batch-size {self.batch_size}: expected at least 1")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a main with arguments and returns (exit status, stdout, stderr)."""

    def run(main, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as caught:
            run_project(main, Config)
        status = caught.value.code
        assert status is None or isinstance(status, int)
        return status or 0, *capsys.readouterr()

    return run


def main_that_raises(error: BaseException):
    def main(config: Config) -> None:
        raise error

    return main


def test_success(run):
    def main(config: Config) -> None:
        """Train it."""
        print(config.batch_size)

    assert run(main, "--batch-size", "64") == (0, "64\n", "")


def test_help_is_made_of_the_docstrings(run):
    def main(config: Config) -> None:
        """Train a thing and measure it."""

    status, out, _ = run(main, "--help")
    assert status == 0
    assert "Train a thing and measure it." in out
    assert "--batch-size" in out and "Rows of a batch." in out


def test_a_mistake_of_the_user_is_one_line(run):
    error = UserError("train.tsv:17: expected 2 columns, got 1")
    assert run(main_that_raises(error)) == (2, "", f"error: {error}\n")


def test_a_value_that_the_config_refuses_is_one_line(run):
    never = main_that_raises(AssertionError("main must not run"))
    expected = "error: --batch-size 0: expected at least 1\n"
    assert run(never, "--batch-size", "0") == (2, "", expected)


@pytest.mark.parametrize("arguments", [["--batchsize", "64"], ["--batch-size", "many"], ["64"]])
def test_a_misspelt_option_is_named_and_nothing_runs(run, arguments):
    never = main_that_raises(AssertionError("main must not run"))
    status, _, err = run(never, *arguments)
    assert status == 2
    assert arguments[-1] in err or arguments[0] in err
    assert "Traceback" not in err


def test_the_home_folder_in_a_command_of_tfcamp(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["tfcamp", "data", "list", "--data-dir=~/x"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert f"{tmp_path / 'x'}/" in capsys.readouterr().out


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS", "EACCES", "EDQUOT"])
def test_a_disk_that_refuses_is_one_line(run, number):
    error = OSError(getattr(errno, number), "It is so", "/mnt/run/a.npz")
    status, out, err = run(main_that_raises(error))
    assert (status, out) == (2, "")
    assert err.startswith("error: /mnt/run/a.npz: It is so; ") and err.count("\n") == 1


def test_characters_that_the_output_lacks_are_one_line(run):
    error = UnicodeEncodeError("cp1252", "明天见", 0, 1, "character maps to <undefined>")
    status, _, err = run(main_that_raises(error))
    assert status == 2
    line = "the output is written in cp1252, which lacks '\\u660e': set PYTHONUTF8=1"
    assert err == f"error: {line}\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    for error in (ValueError("a bug"), OSError(errno.EBADF, "a bug too")):
        with pytest.raises(type(error)):
            run_project(main_that_raises(error), Config)


@pytest.mark.parametrize("num_lines", [1, 10_000])  # noticed by the last flush, and by a print
def test_output_that_nobody_reads_on_ends_quietly(tmp_path, num_lines):
    script = tmp_path / "script.py"
    script.write_text(
        f"""
from dataclasses import dataclass
from tfcamp.cli import run_project

@dataclass
class Config:
    seed: int = 0

def main(config):
    for _ in range({num_lines}):
        print("a headline")

run_project(main, Config)
"""
    )
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, script], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Interrupted(signal.SIGTERM, 120), 143),
        (Interrupted(signal.SIGINT, 120), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_stopped_run_ends_as_in_a_shell(run, error, status):
    answer, out, err = run(main_that_raises(error))
    assert answer == status
    if isinstance(error, Interrupted):
        assert "step 120" in out and "--run-dir" in out
    assert (out + err).count("\n") == 1
