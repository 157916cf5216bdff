"""kill -9 or SIGTERM at any moment, the same command again: the same bits in the end."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from projects.news import train
from tests.projects.test_news_resume import losses_of, weights_of
from tests.projects.tiny import as_arguments, tiny_config

ROOT = Path(train.__file__).parents[2]
# TFCAMP_KILLS=20 kills more often, at other moments.
KILLS = int(os.environ.get("TFCAMP_KILLS", "1"))


def command_for(folder: Path, model: str) -> list[str]:
    """Four epochs with every kind of dropout; a checkpoint after each call of four steps."""
    config = tiny_config(
        folder, model=model, tokens="word+char", vectors="cbow", epochs=4, save_seconds=0.0
    )
    return [sys.executable, "projects/news/train.py", *as_arguments(config)]


def steps_saved(folder: Path) -> list[int]:
    names = (re.fullmatch(r"step-(\d+)\.npz", path.name) for path in folder.glob("checkpoints/*"))
    return sorted(int(name[1]) for name in names if name)


@pytest.fixture(scope="module", params=["bilstm", "textcnn"])
def straight(request: pytest.FixtureRequest, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param) / "straight"
    subprocess.run(command_for(folder, request.param), cwd=ROOT, check=True, capture_output=True)
    return request.param, folder


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_goes_on_with_the_same_bits(straight, tmp_path, number):
    model, expected = straight
    folder = tmp_path / "run"
    # The moment: somewhere between the first checkpoint and the last steps.
    steps = random.Random(number).randrange(4, 4 * 18)
    with subprocess.Popen(
        command_for(folder, model), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        while run.poll() is None and max(steps_saved(folder), default=0) < steps:
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(0.02)
        run.send_signal(signal.SIGKILL)
        run.communicate()
    assert run.returncode == -signal.SIGKILL, "it was over before it was killed"
    assert steps_saved(folder)

    assert resume(folder, model) >= 4
    assert weights_of(folder) == weights_of(expected)
    assert losses_of(folder) == losses_of(expected)


def resume(folder: Path, model: str) -> int:
    """Gives the command again, and returns the step from which it goes on."""
    again = subprocess.run(
        command_for(folder, model), cwd=ROOT, check=True, capture_output=True, text=True
    )
    (step,) = re.findall(r"resumed at step (\d+)", again.stdout)
    return int(step)


# train.py, which is told to stop at step 30: a signal from outside may come when all is done.
STOPPED = """
import os, signal
from projects.news import train
from projects.news.config import NewsConfig
from tests.projects.tiny import acting_bar
from tfcamp.cli import run_project

train.ProgressBar = acting_bar(30, lambda: os.kill(os.getpid(), signal.SIGTERM))
run_project(train.main, NewsConfig)
"""


@pytest.mark.slow
@pytest.mark.parametrize("straight", ["bilstm"], indirect=True)
def test_a_run_that_is_told_to_stop_goes_on_with_the_same_bits(straight, tmp_path):
    model, expected = straight
    folder = tmp_path / "run"
    _, _, *options = command_for(folder, model)
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    (step,) = re.findall(r"stopped by SIGTERM at step (\d+)", stopped.stdout)
    assert resume(folder, model) == int(step)
    assert weights_of(folder) == weights_of(expected)
    assert losses_of(folder) == losses_of(expected)
