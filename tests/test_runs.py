"""A run folder is new, goes on, or is left alone; never mixed up."""

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.disk import full_disk
from tfcamp.errors import UserError
from tfcamp.runs import Run, write_json


@dataclass(frozen=True)
class Config:
    run_dir: Path | None = None
    data_dir: Path | None = None
    epochs: int = 3
    batch_size: int = 128
    tokens: tuple[str, ...] = ("word", "char")


def open_run(config: Config) -> Run:
    return Run.open(config, "news", may_differ=["epochs"])


def test_a_new_run(tmp_path):
    run = open_run(Config(tmp_path / "deep" / "run"))
    assert run.folder == tmp_path / "deep" / "run"
    assert not run.resumed and run.metrics is None
    assert run.checkpoints.is_dir() and run.figures.is_dir()
    kept = json.loads((run.folder / "config.json").read_text("utf-8"))
    assert kept["options"]["batch_size"] == 128
    assert kept["options"]["run_dir"] == str(run.folder)
    assert {"tensorflow", "keras", "threads", "device"} <= kept["environment"].keys()


def test_a_run_without_a_folder_is_named_by_the_project_and_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = open_run(Config()).folder
    assert folder.parent == Path("runs/news")
    assert len(folder.name) == len("20260101-235959")


def test_an_unfinished_run_goes_on(tmp_path):
    open_run(Config(tmp_path / "run"))
    run = open_run(Config(tmp_path / "run", data_dir=Path("elsewhere"), epochs=5))
    assert run.resumed and run.metrics is None
    kept = json.loads((run.folder / "config.json").read_text("utf-8"))
    assert kept["options"]["epochs"] == 5


def test_a_finished_run_knows_it(tmp_path):
    run = open_run(Config(tmp_path / "run"))
    run.finish({"dev_accuracy": 0.9, "label": "财经"})
    again = open_run(Config(tmp_path / "run"))
    assert again.metrics is not None
    assert again.metrics["dev_accuracy"] == 0.9
    assert "财经" in (run.folder / "metrics.json").read_text("utf-8")
    assert "tensorflow" in again.metrics["environment"]


def test_a_finished_run_can_be_reopened(tmp_path):
    run = open_run(Config(tmp_path / "run"))
    run.finish({"dev_accuracy": 0.9})
    run.reopen()
    assert run.metrics is None
    assert open_run(Config(tmp_path / "run")).metrics is None


def begin(config: Config) -> Run:
    """A run that has taken a step."""
    run = open_run(config)
    (run.checkpoints / "step-00000001.npz").touch()
    return run


def test_another_config_is_refused_by_the_name_of_the_option(tmp_path):
    begin(Config(tmp_path / "run"))
    with pytest.raises(UserError, match="--batch-size 128, not 64") as caught:
        open_run(Config(tmp_path / "run", batch_size=64))
    assert "\n" not in str(caught.value)
    kept = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert kept["options"]["batch_size"] == 128


def test_a_run_that_took_no_step_gives_way_to_another_config(tmp_path):
    run = open_run(Config(tmp_path / "run"))
    (run.folder / "data").mkdir()
    (run.folder / "data" / "vectors.npz").touch()
    open_run(Config(tmp_path / "run", batch_size=64))
    kept = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert kept["options"]["batch_size"] == 64
    assert not (run.folder / "data").exists(), "what other options prepared"


def test_a_finished_run_gives_way_to_none_though_its_checkpoints_were_deleted(tmp_path):
    run = open_run(Config(tmp_path / "run"))
    run.finish({"accuracy": 0.9})
    with pytest.raises(UserError, match="--batch-size 128, not 64"):
        open_run(Config(tmp_path / "run", batch_size=64))


def test_another_number_of_threads_is_said(tmp_path, capsys):
    run = begin(Config(tmp_path / "run"))
    assert "threads" not in capsys.readouterr().out
    kept = json.loads((run.folder / "config.json").read_text("utf-8"))
    kept["environment"]["threads"] += 1
    write_json(run.folder / "config.json", kept)
    open_run(Config(tmp_path / "run"))
    assert f"began with {kept['environment']['threads']} threads" in capsys.readouterr().out


def test_an_option_that_the_older_run_did_not_have_is_another_config(tmp_path):
    run = begin(Config(tmp_path / "run"))
    kept = json.loads((run.folder / "config.json").read_text("utf-8"))
    del kept["options"]["tokens"]
    write_json(run.folder / "config.json", kept)
    with pytest.raises(UserError, match="--tokens"):
        open_run(Config(tmp_path / "run"))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious", "utf-8")
    with pytest.raises(UserError, match="holds no run"):
        open_run(Config(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", ['{"model_type": "bert"}', "[]", "no JSON"])
def test_the_config_of_another_program_is_left_alone(tmp_path, content):
    (tmp_path / "config.json").write_text(content, "utf-8")
    with pytest.raises(UserError, match="holds no run"):
        open_run(Config(tmp_path))
    assert (tmp_path / "config.json").read_text("utf-8") == content


def test_an_empty_folder_is_taken(tmp_path):
    assert not open_run(Config(tmp_path)).resumed


def test_a_run_on_a_full_disk_can_be_tried_again(tmp_path):
    with full_disk(16), pytest.raises(OSError):
        open_run(Config(tmp_path / "run"))
    assert not open_run(Config(tmp_path / "run")).resumed


def test_what_is_said_is_printed_and_kept(tmp_path, capsys):
    run = open_run(Config(tmp_path / "run"))
    run.say("财经 0.9")
    open_run(Config(tmp_path / "run")).say("resumed")
    assert capsys.readouterr().out == "财经 0.9\nresumed\n"
    log = (run.folder / "log.txt").read_text("utf-8").splitlines()
    assert [line.split("  ")[1] for line in log] == ["财经 0.9", "resumed"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_json_is_the_old_file_or_the_new_one(tmp_path, monkeypatch, error):
    path = tmp_path / "metrics.json"
    write_json(path, {"old": 1})

    def fail(*_) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(type(error)):
            write_json(path, {"new": 2})
    assert json.loads(path.read_text("utf-8")) == {"old": 1}
    write_json(path, {"new": 2})
    assert json.loads(path.read_text("utf-8")) == {"new": 2}
    assert list(tmp_path.iterdir()) == [path]
