"""A run folder is new, goes on, or is left alone; never mixed up."""

import errno
import fcntl
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import tensorflow as tf

from tests.disk import full_disk, memory_bucket
from tfcamp import runs
from tfcamp.data.storage import as_path, write_json
from tfcamp.errors import Diverged, UserError
from tfcamp.runs import Run

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Config:
    run_dir: Path | None = None
    data_dir: Path | None = None
    epochs: int = 3
    batch_size: int = 128
    tokens: tuple[str, ...] = ("word", "char")


@dataclass(frozen=True)
class SearchConfig(Config):
    tuner: str = "random"


def open_run(config: Config, **options) -> Run:
    return Run.open(config, "news", may_differ=["epochs"], **options)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


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


class StoppedClock(datetime):
    @classmethod
    def now(cls, tz=None) -> datetime:
        return datetime(2026, 1, 1, 23, 59, 59, tzinfo=tz)


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    """Or when the clock was set back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "datetime", StoppedClock)
    folders = [open_run(Config()).folder for _ in range(3)]
    names = ["20260101-235959", "20260101-235959-2", "20260101-235959-3"]
    assert [folder.name for folder in folders] == names
    assert all((folder / "config.json").exists() for folder in folders)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("took_a_step", [False, True])
@pytest.mark.parametrize(
    "error", [UserError("--data-dir: nothing there"), ValueError("a bug"), Diverged("loss is nan")]
)
def test_a_mistake_leaves_no_folder_that_nobody_named(
    tmp_path, monkeypatch, error, took_a_step, named
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(type(error)), open_run(Config(Path("mine") if named else None)) as run:
        if took_a_step:
            (run.checkpoints / "000001.npz").touch()
        raise error
    assert run.folder.exists() == (named or took_a_step or type(error) is not UserError)


def test_a_stamp_names_the_folder_and_the_same_stamp_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_run(Config(), stamp="20260101-120000").folder == Path("runs/news/20260101-120000")
    assert open_run(Config(), stamp="20260101-120000").resumed


def test_the_wall_time_does_not_depend_on_the_clock(tmp_path, monkeypatch):
    run = open_run(Config(tmp_path / "run"))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(runs, "datetime", StoppedClock)
    assert 0 < run.seconds < 600


def test_the_wall_time_goes_on_with_the_checkpoint(tmp_path):
    state = open_run(Config(tmp_path / "run")).get_state()
    assert 0 < state["seconds"] < 600
    run = open_run(Config(tmp_path / "run"))
    run.set_state(json.loads(json.dumps({"seconds": 5000.0})))
    assert 5000 < run.seconds < 5600
    assert run.get_state()["seconds"] > 5000


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


def test_a_training_and_a_search_do_not_take_each_others_folder(tmp_path):
    """Neither has steps where the other leaves them: checkpoints here, trials there."""
    with open_run(Config(tmp_path / "training")) as run:
        (run.checkpoints / "step-1.npz").touch()
    with open_run(SearchConfig(tmp_path / "search")) as run:
        (run.home / "trials/001").mkdir(parents=True)
    with pytest.raises(UserError, match="holds a training, no search: name another folder"):
        open_run(SearchConfig(tmp_path / "training"))
    with pytest.raises(UserError, match="holds a search, no training: name another folder"):
        open_run(Config(tmp_path / "search"))


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


def test_a_run_that_was_killed_while_it_began_can_be_tried_again(tmp_path):
    (tmp_path / "lock").write_text("1 elsewhere\n")
    (tmp_path / "config.json.partial").write_text('{"opt')
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


HOLDER = """
import sys
from pathlib import Path
from tfcamp.data.locks import FolderLock

lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def other_process_can_have(folder: Path) -> bool:
    answer = subprocess.run(
        [sys.executable, "-c", HOLDER, folder], cwd=ROOT, input="", capture_output=True, text=True
    )
    assert answer.returncode == 0 or "is in use by process" in answer.stderr, answer.stderr
    return answer.returncode == 0


class TestTwoProcesses:
    def test_the_second_refuses_and_names_the_first(self, tmp_path):
        config = Config(tmp_path / "run")
        before = contents(open_run(config).folder)
        with held_by_another_process(tmp_path / "run") as holder:
            with pytest.raises(UserError) as caught:
                open_run(config)
            line = str(caught.value)
            assert f"--run-dir {tmp_path / 'run'} is in use" in line and "\n" not in line
            assert f"process {holder.pid} on {socket.gethostname()}" in line
            before.pop("lock")
            after = contents(tmp_path / "run")
            assert after.pop("lock") and after == before

    def test_the_second_on_a_new_folder(self, tmp_path):
        with held_by_another_process(tmp_path), pytest.raises(UserError, match="is in use"):
            open_run(Config(tmp_path))
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]

    def test_a_killed_process_leaves_the_folder_free(self, tmp_path):
        with held_by_another_process(tmp_path) as holder:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            open_run(Config(tmp_path))

    def test_an_open_run_keeps_another_process_out_until_it_is_closed(self, tmp_path):
        with open_run(Config(tmp_path)) as run:
            assert not other_process_can_have(tmp_path)
            run.finish({})
            assert not other_process_can_have(tmp_path), "the last lines are still to be said"
        assert other_process_can_have(tmp_path)

    def test_a_run_that_nobody_closed(self, tmp_path):
        run = open_run(Config(tmp_path))
        del run
        gc.collect()
        assert other_process_can_have(tmp_path)

    def test_a_run_that_is_refused_holds_nothing(self, tmp_path):
        begin(Config(tmp_path)).close()
        with pytest.raises(UserError, match="--batch-size") as caught:
            open_run(Config(tmp_path, batch_size=64))
        assert other_process_can_have(tmp_path)
        del caught  # whose traceback keeps the run alive

    def test_the_same_process_takes_over(self, tmp_path):
        """A cell of a notebook that failed leaves a run that nobody can close."""
        earlier = open_run(Config(tmp_path))
        later = open_run(Config(tmp_path))
        earlier.close()
        assert not other_process_can_have(tmp_path), "it is the later one's"
        later.close()
        assert other_process_can_have(tmp_path)

    def test_a_file_system_without_locks_is_named(self, tmp_path, monkeypatch, capsys):
        def refuse(*_) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
        assert open_run(Config(tmp_path / "run")).checkpoints.is_dir()
        assert capsys.readouterr().out.startswith(f"the file system of {tmp_path / 'run'} has no")


class TestDeletedFolder:
    @pytest.mark.parametrize("act", [lambda run: run.say("epoch 1"), lambda run: run.finish({})])
    @pytest.mark.parametrize("another", [False, True])
    def test_it_is_told_in_one_line_and_not_made_anew(self, tmp_path, act, another):
        run = open_run(Config(tmp_path / "run"))
        shutil.rmtree(tmp_path / "run")
        if another:
            other = tmp_path / "run"
            other.mkdir()
            (other / "lock").touch()
        with pytest.raises(UserError, match=r"run is gone") as caught:
            act(run)
        assert "\n" not in str(caught.value)
        assert contents(tmp_path) == ({"run/lock": b""} if another else {})

    def test_what_fails_because_of_it_is_told_so(self, tmp_path):
        with (
            pytest.raises(UserError, match=r"run is gone"),
            open_run(Config(tmp_path / "run")) as run,
        ):
            shutil.rmtree(run.folder)
            (run.folder / "history.jsonl").write_text("")

    def test_a_line_for_the_user_is_not_replaced(self, tmp_path):
        with pytest.raises(UserError, match="no rows"), open_run(Config(tmp_path / "run")) as run:
            shutil.rmtree(run.folder)
            raise UserError("no rows")

    def test_what_fails_for_another_reason_is_told_as_it_is(self, tmp_path):
        with pytest.raises(FileNotFoundError), open_run(Config(tmp_path / "run")) as run:
            (run.folder / "missing").read_text()


class TestWorker:
    """A worker that is not the chief."""

    def test_it_changes_nothing_and_says_nothing(self, tmp_path, capsys):
        chief = begin(Config(tmp_path / "run"))
        before = contents(tmp_path)
        worker = open_run(Config(tmp_path / "run"), chief=False)
        worker.say("hello")
        (worker.folder / "history.jsonl").write_text("{}")
        worker.reopen()
        worker.finish({"accuracy": 0.5})
        assert worker.metrics is not None and worker.metrics["accuracy"] == 0.5
        assert contents(tmp_path) == before
        assert capsys.readouterr().out == ""
        assert worker.checkpoints == chief.checkpoints and worker.home == chief.folder
        assert worker.resumed and not worker.chief and chief.chief

    def test_its_own_folder_goes_with_it(self, tmp_path):
        worker = open_run(Config(tmp_path / "run"), chief=False)
        private = worker.folder
        assert private.is_dir() and tmp_path not in private.parents
        del worker
        gc.collect()
        assert not private.exists()
        assert list(tmp_path.iterdir()) == []

    def test_it_may_come_before_the_chief(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        worker = open_run(Config(), chief=False, stamp="20260101-120000")
        chief = open_run(Config(), stamp="20260101-120000")
        assert worker.checkpoints == chief.checkpoints
        assert not worker.resumed and worker.metrics is None

    def test_it_reads_the_figures_of_a_finished_run(self, tmp_path):
        open_run(Config(tmp_path / "run")).finish({"accuracy": 0.9})
        worker = open_run(Config(tmp_path / "run"), chief=False)
        assert worker.metrics is not None and worker.metrics["accuracy"] == 0.9
        worker.reopen()
        assert worker.metrics is None
        assert (tmp_path / "run" / "metrics.json").exists(), "the chief's to remove"

    def test_it_refuses_what_the_chief_refuses(self, tmp_path):
        begin(Config(tmp_path / "run"))
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "thesis.tex").touch()
        for config in (Config(tmp_path / "run", batch_size=64), Config(tmp_path / "other")):
            lines = []
            for chief in (True, False):
                with pytest.raises(UserError) as caught:
                    open_run(config, chief=chief)
                lines.append(str(caught.value))
            assert lines[0] == lines[1]

    def test_it_leaves_what_another_config_prepared_to_the_chief(self, tmp_path):
        run = open_run(Config(tmp_path / "run"))
        (run.folder / "data").mkdir()
        before = contents(tmp_path)
        open_run(Config(tmp_path / "run", batch_size=64), chief=False)
        assert contents(tmp_path) == before and (run.folder / "data").is_dir()

    def test_it_cannot_name_the_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match="stamp"):
            open_run(Config(), chief=False)


@pytest.fixture
def bucket() -> Iterator[Path]:
    with memory_bucket() as bucket:
        yield bucket


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestBucket:
    def test_a_run_from_its_beginning_to_its_end(self, bucket, capsys):
        # As an option of the command line arrives: without the second slash.
        run = open_run(Config(Path(str(bucket / "run"))))
        assert run.home == bucket / "run" and run.checkpoints == bucket / "run" / "checkpoints"
        assert run.folder.is_dir() and not run.resumed
        assert "make sure that no other process" in capsys.readouterr().out
        assert names_in(run.home) == {"config.json", "checkpoints"}

        (run.folder / "data").mkdir()
        (run.folder / "data" / "ids.bin").write_bytes(b"large")
        (run.folder / "history.jsonl").write_text('{"epoch": 1}\n')
        (run.folder / "report.html.partial").touch()
        run.say("epoch 1: 财经")
        assert names_in(run.home) == {"config.json", "checkpoints", "log.txt", "history.jsonl"}
        assert "财经" in (run.home / "log.txt").read_text("utf-8")
        (run.folder / "history.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
        run.say("epoch 2")
        assert (run.home / "history.jsonl").read_text().count("\n") == 2

        (run.folder / "saved_model" / "variables").mkdir(parents=True)
        (run.folder / "saved_model" / "variables" / "index").write_bytes(b"weights")
        run.finish({"accuracy": 0.9})
        assert (run.home / "saved_model" / "variables" / "index").read_bytes() == b"weights"
        assert json.loads((run.home / "metrics.json").read_text("utf-8"))["accuracy"] == 0.9

    def test_metrics_are_sent_after_all_the_rest(self, bucket, monkeypatch):
        run = open_run(Config(bucket / "run"))
        (run.folder / "report.html").touch()  # an empty file is one too

        def crash(*_) -> None:
            assert names_in(run.home) >= {"report.html"}
            raise KeyboardInterrupt

        monkeypatch.setattr(runs, "write_json", crash)
        with pytest.raises(KeyboardInterrupt):
            run.finish({"accuracy": 0.9})

    def test_another_machine_goes_on(self, bucket):
        run = open_run(Config(bucket / "run"))
        (run.folder / "history.jsonl").write_text('{"epoch": 1}\n')
        run.say("one")
        run.finish({"accuracy": 0.9})
        again = open_run(Config(bucket / "run"))
        assert again.resumed and again.folder != run.folder
        assert again.metrics is not None and again.metrics["accuracy"] == 0.9
        assert (again.folder / "history.jsonl").read_text() == '{"epoch": 1}\n'
        again.reopen()
        assert "metrics.json" not in names_in(again.home)
        again.say("two")
        said = (again.home / "log.txt").read_text("utf-8").splitlines()
        assert [line.split("  ")[1] for line in said] == ["one", "two"]
        assert open_run(Config(bucket / "run")).metrics is None

    def test_another_config_is_refused(self, bucket):
        run = open_run(Config(bucket / "run"))
        (run.checkpoints / "step-00000001.npz").touch()
        with pytest.raises(UserError, match="--batch-size 128, not 64"):
            open_run(Config(bucket / "run", batch_size=64))

    def test_something_else_is_left_alone(self, bucket):
        (bucket / "thesis.tex").write_text("precious")
        with pytest.raises(UserError, match="holds no run"):
            open_run(Config(bucket))
        assert names_in(bucket) == {"thesis.tex"}

    def test_a_worker_reads_there(self, bucket):
        chief = open_run(Config(bucket / "run"))
        worker = open_run(Config(bucket / "run"), chief=False)
        assert worker.resumed and worker.checkpoints == chief.checkpoints
        worker.finish({})
        assert names_in(chief.home) == {"config.json", "checkpoints"}

    @pytest.mark.parametrize("act", [lambda run: run.say("epoch 1"), lambda run: run.finish({})])
    def test_one_that_was_deleted_is_told_and_not_made_anew(self, bucket, act):
        run = open_run(Config(bucket / "run"))
        tf.io.gfile.rmtree(run.home)
        with pytest.raises(UserError, match=r"run is gone"):
            act(run)
        assert not run.home.exists()

    def test_a_scheme_that_tensorflow_cannot_open_is_one_line(self):
        with pytest.raises(UserError, match=r"s3://bucket/run: .*not implemented") as caught:
            open_run(Config(as_path("s3://bucket/run")))
        assert "\n" not in str(caught.value)

    def test_an_unknown_scheme(self):
        with pytest.raises(UserError, match="expected a path, or an address"):
            open_run(Config(Path("ftp://host/run")))
