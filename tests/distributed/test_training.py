"""Two processes are one device; and a cluster that lost a worker goes on where it was."""

import contextlib
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from projects.news.config import NewsConfig
from tests.distributed.processes import run_workers
from tests.projects.tiny import as_arguments, tiny_config
from tests.training.replicas import MODELS, ONE, OPTIMIZERS, distance, make_trainer, train
from tests.training.tiny import make_stream
from tfcamp.training.checkpoints import CheckpointFolder

pytestmark = pytest.mark.slow

SCRIPT = "projects/news/train.py"


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for ended in run_workers("tests/distributed/train_worker.py", [folder]):
        assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_end_where_one_device_ends(trained_by_two, tmp_path, model, optimizer):
    """Ragged batches, padding, clipping, an embedding with repeated rows; 20 steps."""
    stream = make_stream(tmp_path / "rows", batch_size=7)
    trainer = make_trainer(tmp_path / "one", ONE, MODELS[model], optimizer)
    expected = train(trainer, stream)
    with np.load(trained_by_two / f"{model}-{optimizer}.npz") as saved:
        weights = [saved[f"arr_{i}"] for i in range(len(expected))]
        logits = saved["logits"]
    assert distance(weights, expected) < 1e-6
    np.testing.assert_allclose(logits, trainer.predict(stream), rtol=0, atol=1e-4)


def news_run(folder: Path) -> list[str]:
    """The arguments of a run with dropout, saved after each step."""
    config: NewsConfig = tiny_config(
        folder,
        model="bilstm",
        tokens="word+char",
        epochs=2,
        save_seconds=0.0,
        strategy="multi_worker",
    )
    return as_arguments(config)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> list[np.ndarray]:
    """The weights after a run of two workers without a break."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    for ended in run_workers(SCRIPT, news_run(folder)):
        assert ended.returncode == 0, ended.stderr
    return last_weights(folder)


def last_weights(folder: Path) -> list[np.ndarray]:
    checkpoint, damaged = CheckpointFolder(folder / "checkpoints", writes=False).restore()
    assert checkpoint is not None and not damaged
    assert checkpoint.state["step"] == 40
    return [array for array in checkpoint.arrays.values() if array.dtype == np.float32]


def kill_at(step: int, folder: Path, worker: int) -> Callable[[list[subprocess.Popen]], None]:
    """Kills a worker once the checkpoint of a step is there."""

    def kill(processes: list[subprocess.Popen]) -> None:
        checkpoints = CheckpointFolder(folder / "checkpoints", writes=False)
        while max(checkpoints.steps(), default=0) < step:
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert processes[worker].wait(0.02) is None, "it ended before its time"
        processes[worker].kill()

    return kill


@pytest.mark.parametrize("worker", [0, 1])
def test_a_cluster_that_lost_a_worker_goes_on_by_the_same_command(straight, tmp_path, worker):
    folder = tmp_path / "run"
    ended = run_workers(SCRIPT, news_run(folder), meanwhile=kill_at(12, folder, worker))
    assert ended[worker].returncode == -signal.SIGKILL
    assert ended[1 - worker].returncode == 2
    assert f"lost worker {worker}" in ended[1 - worker].stderr.splitlines()[-1]

    chief, _ = run_workers(SCRIPT, news_run(folder))
    assert chief.returncode == 0, chief.stderr
    resumed = re.search(r"resumed at step (\d+)", chief.stdout)
    assert resumed and int(resumed[1]) >= 12
    assert distance(last_weights(folder), straight) < 1e-6
