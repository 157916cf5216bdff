"""Progress, history, early stopping and TensorBoard, each on its own."""

import io
import json
import math
import sys

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfcamp.training.callbacks import (
    EarlyStopping,
    History,
    ProgressBar,
    TensorBoard,
    slow_input,
)
from tfcamp.training.progress import Progress


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        return True


def make_progress(step: int, total_steps: int = 1000) -> Progress:
    return Progress(step, total_steps, 2, 0.51234, 0.001, 60.0, 1234.5, 0.0)


def test_history_is_one_object_a_line_and_read_again(tmp_path):
    path = tmp_path / "history.jsonl"
    history = History(path)
    assert history.records == []
    records = [{"step": 10, "dev_loss": 0.5}, {"step": 20, "dev_loss": math.inf}]
    for record in records:
        history.append(record)
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == records
    assert History(path).records == records
    assert [file.name for file in tmp_path.iterdir()] == ["history.jsonl"]


def test_history_forgets_what_is_measured_again(tmp_path):
    history = History(tmp_path / "history.jsonl")
    for step in (10, 20, 30):
        history.append({"step": step})
    history.rewind(20)
    assert History(tmp_path / "history.jsonl").records == [{"step": 10}, {"step": 20}]
    history.append({"step": 30})
    assert [record["step"] for record in history.records] == [10, 20, 30]


@pytest.mark.parametrize("sign", [1, -1])
def test_early_stopping_waits_for_something_better(sign):
    """An accuracy must grow, a loss fall; what is equal is not better."""
    stopping = EarlyStopping(patience=2, smaller_is_better=sign < 0)
    values = [0.5, 0.4, 0.6, 0.6, 0.55]
    assert [stopping.update(sign * value) for value in values[:-1]] == [True, False, True, False]
    assert not stopping.should_stop
    assert not stopping.update(sign * values[-1])
    assert stopping.should_stop
    assert stopping.best == sign * 0.6


def test_early_stopping_goes_on_from_its_state():
    stopping, resumed = EarlyStopping(patience=2), EarlyStopping(patience=2)
    for value in (0.5, 0.4):
        stopping.update(value)
    resumed.set_state(json.loads(json.dumps(stopping.get_state())))
    assert not resumed.update(0.45)
    assert resumed.should_stop


def test_early_stopping_needs_patience():
    with pytest.raises(ValueError, match="0"):
        EarlyStopping(patience=0)


def test_tensorboard_reads_the_records(tmp_path):
    board = TensorBoard(tmp_path)
    board.append({"step": 10, "epoch": 1, "dev_loss": 0.5})
    board.append({"step": 20, "epoch": 2, "dev_loss": 0.25})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["tensors"]) == ["dev_loss", "epoch"]
    points = events.Tensors("dev_loss")
    assert [point.step for point in points] == [10, 20]
    assert [float(tf.make_ndarray(point.tensor_proto)) for point in points] == [0.5, 0.25]


def test_the_bar_shows_where_training_stands(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    bar = ProgressBar()
    bar(make_progress(10))
    bar(make_progress(1000))
    bar.close()
    last = screen.getvalue().replace("\r", "\n").strip().splitlines()[-1]
    assert "epoch 2" in last and "1000/1000" in last
    assert "loss 0.5123, 1,234 examples/s" in last


def test_steps_of_an_earlier_process_do_not_count_as_speed(monkeypatch):
    """A run that goes on at step 900 would otherwise seem to have done them in no time."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = ProgressBar()
    bar(make_progress(900))
    assert bar._bar is not None
    assert bar._bar.format_dict["initial"] == bar._bar.format_dict["n"] == 900
    bar.close()


@pytest.mark.parametrize(("shown", "stream"), [(True, io.StringIO), (False, Terminal)])
def test_a_bar_that_nobody_sees_writes_nothing(monkeypatch, shown, stream):
    monkeypatch.setattr(sys, "stderr", screen := stream())
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    bar = ProgressBar(shown=shown)
    bar(make_progress(10))
    bar.close()
    assert screen.getvalue() == ""


def test_a_notebook_shows_the_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    bar = ProgressBar()
    bar(make_progress(10))
    bar.close()
    assert "epoch 2" in screen.getvalue()


def test_a_bar_that_was_never_shown_can_be_closed():
    ProgressBar().close()


def test_waiting_for_data_is_said_with_its_share(monkeypatch):
    monkeypatch.setattr("tfcamp.training.callbacks.count_cores", lambda: 2)
    progress = make_progress(10)._replace(data_wait=0.31)
    line = slow_input(progress)
    assert line is not None and "31%" in line
    assert slow_input(progress._replace(data_wait=0.05)) is None
    assert slow_input(progress._replace(seconds=2.0)) is None
    monkeypatch.setattr("tfcamp.training.callbacks.count_cores", lambda: 1)
    assert slow_input(progress) is None
