"""tune.py of each project: trials are runs of train.py, and the best one becomes a finished run."""

import contextlib
import dataclasses
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_tuner import HyperParameters

from projects.news import data as news_data
from projects.news import train, tune
from projects.news.config import NewsConfig
from projects.street_view import train as street_train
from projects.street_view import tune as street_tune
from projects.street_view.config import StreetConfig
from projects.translation import train as translation_train
from projects.translation import tune as translation_tune
from projects.translation.config import TranslationConfig
from tests.projects import street, translation
from tests.projects.test_news_resume import crash, weights_of
from tests.projects.tiny import acting_bar, as_arguments, tiny_config
from tfcamp.config_files import config_from_file
from tfcamp.launch import free_ports
from tfcamp.training.checkpoints import read_checkpoint
from tfcamp.tuning.search import Search

ROOT = Path(__file__).parents[2]

# keras-tuner 1.4.8 asks for the thread's name in a way that Python has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]


def news_arguments(folder: Path, **changes) -> list[str]:
    """A bag of characters; what the search is about has its default."""
    config = tiny_config(folder, learning_rate=NewsConfig.learning_rate, **changes)
    return [*as_arguments(config), "--search", "learning-rate", "token-dropout"]


def metrics_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def scores_of(folder: Path) -> list[float]:
    return [trial["score"] for trial in metrics_of(folder)["trials"]]


def history_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def num_graphs_of_steps() -> int:
    keras.backend.clear_session()
    graphs = (it for it in gc.get_objects() if type(it).__name__ == "FuncGraph")
    return sum("_take_steps" in graph.name for graph in graphs)


def newest_arrays(folder: Path) -> dict[str, np.ndarray]:
    return read_checkpoint(max((folder / "checkpoints").glob("step-*.npz"))).arrays


@pytest.mark.parametrize(
    ("tuning", "config_class", "space"),
    [
        (tune.NewsTuning(), NewsConfig, tune.search_space()),
        (
            street_tune.StreetTuning(),
            StreetConfig,
            street_tune.search_space(street_tune.StreetTuning()),
        ),
        (
            street_tune.StreetTuning(model="ctc"),
            StreetConfig,
            street_tune.search_space(street_tune.StreetTuning(model="ctc")),
        ),
        (translation_tune.TranslationTuning(), TranslationConfig, translation_tune.search_space()),
    ],
    ids=["news", "street_view", "street_view ctc", "translation"],
)
def test_every_value_of_the_space_is_one_that_train_takes(
    tuning: Any, config_class: type, space: HyperParameters
):
    base = {field.name: getattr(tuning, field.name) for field in dataclasses.fields(config_class)}
    for parameter in space.space:
        for share in (0.0, 0.25, 0.5, 0.75, 0.999):
            value = parameter.prob_to_value(share)
            config_class(**{**base, parameter.name: value})  # refuses what cannot work


@pytest.mark.parametrize(
    ("module", "tuning_class", "config_class", "options"),
    [
        (tune, tune.NewsTuning, NewsConfig, {}),
        # Given, and searched around; outside of what is searched; or a choice that is not searched.
        (tune, tune.NewsTuning, NewsConfig, {"learning_rate": 0.004123, "model": "linear"}),
        (street_tune, street_tune.StreetTuning, StreetConfig, {}),
        (
            street_tune,
            street_tune.StreetTuning,
            StreetConfig,
            {"learning_rate": 0.5, "batch_size": 48, "augmentation": 0.0},
        ),
        # The dropout depends on the number of pairs, which only train.py knows.
        (translation_tune, translation_tune.TranslationTuning, TranslationConfig, {}),
        (
            translation_tune,
            translation_tune.TranslationTuning,
            TranslationConfig,
            {"dataset": "reverse", "warmup": 0.0, "average_decay": 0.9},
        ),
    ],
)
def test_the_first_trial_trains_what_train_would(
    tmp_path: Path, module: Any, tuning_class: Any, config_class: Any, options: dict[str, Any]
):
    searched = tuple(name for name in options if name != "dataset")
    tuning = tuning_class(**options, search=searched, run_dir=tmp_path / "search", max_trials=1)
    space = module.search_space(tuning) if module is street_tune else module.search_space()
    with Search(tuning, config_class, space, project="tuned") as search:
        trial = next(search.trials())
    assert dataclasses.replace(trial.config, run_dir=None) == config_class(**options)


def test_a_search_of_the_news_project(tmp_path, monkeypatch, command):
    folder = tmp_path / "search"
    arguments = [*news_arguments(folder), "--max-trials", "3"]
    loaded = news_data.load_text_dataset

    class Unread:
        """The test split: a trial that looks at a row fails."""

        def __init__(self, split: Any) -> None:
            self.num_rows = len(split)

        def __len__(self) -> int:
            return self.num_rows

        def __iter__(self):
            raise AssertionError("a trial reads the test split")

    def without_test(*place, **options):
        dataset = loaded(*place, **options)
        return dataclasses.replace(dataset, test=Unread(dataset.test))

    graphs = num_graphs_of_steps()
    with monkeypatch.context() as patch:
        patch.setattr(news_data, "load_text_dataset", without_test)
        patch.setattr(train, "evaluate", crash)
        patch.setattr(train, "export_text_classifier", crash)
        answer = command(tune.main, tune.NewsTuning, *arguments)
    assert (answer.status, answer.err.count("Traceback")) == (0, 0), answer.err
    assert num_graphs_of_steps() <= graphs  # which would keep the weights of each trial
    kept = metrics_of(folder)
    assert [trial["number"] for trial in kept["trials"]] == [1, 2, 3]
    assert kept["trials"][0]["values"] == {"learning_rate": 0.003, "token_dropout": 0.2}
    best = kept["trials"][kept["best"] - 1]
    assert best["score"] == max(scores_of(folder))
    (epoch,) = history_of(Path(best["folder"]))
    assert epoch["dev_accuracy"] == best["score"]
    for name in ("best.json", "report.html", "figures/trials.svg", "figures/options.svg"):
        assert (folder / name).exists()

    # What it prints last finishes the run of the best trial without training it again.
    script, *finish = answer.out.splitlines()[-1].split()[2:]
    assert script == "projects/news/train.py"
    finished = command(train.main, NewsConfig, *finish)
    assert finished.status == 0, finished.err
    assert f"resumed at step {epoch['step']}" in finished.out
    assert history_of(Path(best["folder"])) == [epoch]
    straight = command(
        train.main, NewsConfig, "--config", folder / "best.json", "--run-dir", tmp_path / "straight"
    )
    assert straight.status == 0, straight.err
    assert weights_of(Path(best["folder"])) == weights_of(tmp_path / "straight")
    ended, again = metrics_of(Path(best["folder"])), metrics_of(tmp_path / "straight")
    assert ended["test"] == again["test"]
    assert ended["dev"]["accuracy"] == pytest.approx(best["score"], abs=0.01)


@pytest.mark.slow
def test_hyperband_goes_on_from_the_checkpoint_as_if_it_had_not_paused(tmp_path, command):
    folder = tmp_path / "search"
    arguments = [*news_arguments(folder, epochs=3), "--tuner", "hyperband", "--keep-weights"]
    answer = command(tune.main, tune.NewsTuning, *arguments, "--max-trials", "4")
    assert answer.status == 0, answer.err
    *_, longest = metrics_of(folder)["trials"]
    assert [trial["epochs"] for trial in metrics_of(folder)["trials"]] == [1, 1, 1, 3]
    run = Path(longest["folder"])
    assert f"resumed at step {history_of(run)[0]['step']}" in (run / "log.txt").read_text()
    # A run of all three epochs without a break, whose learning rate falls over all three as well.
    options = json.loads((run / "config.json").read_text())["options"]
    path = tmp_path / "straight.json"
    path.write_text(json.dumps({**options, "run_dir": str(tmp_path / "straight")}))
    keras.backend.clear_session()  # layers are named as in a process of its own
    train.main(config_from_file(path, NewsConfig))
    paused, straight = newest_arrays(run), newest_arrays(tmp_path / "straight")
    assert paused.keys() == straight.keys()
    for name, array in paused.items():
        np.testing.assert_array_equal(array, straight[name], err_msg=name)
    measures = ("step", "train_loss", "learning_rate", "dev_loss")
    assert [[record[name] for name in measures] for record in history_of(run)] == [
        [record[name] for name in measures] for record in history_of(tmp_path / "straight")
    ]


@pytest.mark.slow
def test_a_search_that_is_stopped_within_a_trial_goes_on(tmp_path, monkeypatch, command):
    folder = tmp_path / "search"
    arguments = [*news_arguments(folder), "--max-trials", "2"]
    assert command(tune.main, tune.NewsTuning, *arguments).status == 0
    straight = scores_of(folder)

    arguments = [*news_arguments(tmp_path / "stopped"), "--max-trials", "2"]
    calls = []

    def stop_in_the_second() -> None:
        calls.append(None)
        if len(calls) == 7:  # five calls of four steps an epoch: step 8 of the second trial
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(train, "ProgressBar", acting_bar(0, stop_in_the_second))
        stopped = command(tune.main, tune.NewsTuning, *arguments)
    assert stopped.status == 128 + signal.SIGTERM
    assert "stopped by SIGTERM at step 8" in stopped.out.splitlines()[-1]
    finished = command(tune.main, tune.NewsTuning, *arguments)
    assert finished.status == 0, finished.err
    assert "trial 1 of" not in finished.out and "trial 2 of 2" in finished.out
    assert "resumed at step 8" in finished.out
    assert scores_of(tmp_path / "stopped") == straight


@pytest.mark.slow
def test_word_vectors_are_trained_once(tmp_path, command):
    folder = tmp_path / "search"
    arguments = news_arguments(folder, model="bilstm", tokens="word+char", vectors="cbow")
    more = ["--vectors-epochs", "1", "--max-steps", "4", "--max-trials", "2", "--keep-weights"]
    answer = command(tune.main, tune.NewsTuning, *arguments, *more)
    assert answer.status == 0, answer.err
    names = sorted(path.name for path in (folder / "shared").iterdir())
    assert names == ["vectors.char.npz", "vectors.word.npz"]
    for name in names:
        times = {
            (folder / place / name).read_bytes()
            for place in ("shared", "trials/001/data", "trials/002/data")
        }
        assert len(times) == 1


def test_a_search_of_the_street_view_project(tmp_path, command):
    folder = tmp_path / "search"
    arguments = street.as_arguments(street.tiny_config(folder, epochs=1))
    with street.few_drawings():
        answer = command(
            street_tune.main,
            street_tune.StreetTuning,
            *arguments,
            *("--max-trials", 2, "--search", "learning_rate", "dropout", "label_smoothing"),
        )
        assert answer.status == 0, answer.err
        assert len(scores_of(folder)) == 2
        finish = answer.out.splitlines()[-1].split()[3:]
        finished = command(street_train.main, StreetConfig, *finish)
    assert finished.status == 0 and "resumed at step 5\n" in finished.out, finished.err


@pytest.mark.slow
def test_a_search_of_the_translation_project(tmp_path, pairs, command):
    folder = tmp_path / "search"
    arguments = translation.as_arguments(translation.tiny_config(folder, pairs, epochs=1))
    answer = command(
        translation_tune.main,
        translation_tune.TranslationTuning,
        *arguments,
        *("--stop-on", "loss", "--max-trials", 2, "--search", "learning_rate", "average_decay"),
    )
    assert answer.status == 0, answer.err
    best = metrics_of(folder)["trials"][metrics_of(folder)["best"] - 1]
    assert best["score"] == min(scores_of(folder))
    finished = command(translation_train.main, TranslationConfig, *answer.out.split()[-4:])
    assert finished.status == 0 and "resumed at step" in finished.out, finished.err


def test_help_explains_the_search(command):
    answer = command(tune.main, tune.NewsTuning, "--help")
    assert answer.status == 0
    assert "Search for better options of train.py" in answer.out
    for option in ("--tuner", "--max-trials", "--search", "--dataset", "--learning-rate"):
        assert option in answer.out
    assert "--export-dir" not in answer.out
    assert "Folder of the search" in answer.out and "The run folder;" not in answer.out


# tune.py, killed at step 20 of its first trial: from outside the moment might be missed.
KILLED = """
import os, signal
from projects.news import train, tune
from tests.projects.tiny import acting_bar
from tfcamp.cli import run_project

train.ProgressBar = acting_bar(20, lambda: os.kill(os.getpid(), signal.SIGKILL))
run_project(tune.main, tune.NewsTuning)
"""


@pytest.mark.slow
def test_a_chief_and_workers_share_a_search(tmp_path):
    """Two workers run what the chief hands out; one of them is killed and started again."""
    folder = tmp_path / "search"
    arguments = [*news_arguments(folder, epochs=2, save_seconds=0), "--max-trials", "6"]
    (port,) = free_ports(1)
    processes: dict[str, subprocess.Popen] = {}

    def start(tuner_id: str, *program: str) -> subprocess.Popen:
        processes[tuner_id] = subprocess.Popen(
            [sys.executable, *(program or ["projects/news/tune.py"]), *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "KERASTUNER_TUNER_ID": tuner_id,
                "KERASTUNER_ORACLE_IP": "127.0.0.1",
                "KERASTUNER_ORACLE_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return processes[tuner_id]

    try:
        start("chief")
        killed = start("worker-1", "-c", KILLED)
        _, err = killed.communicate(timeout=1200)
        assert killed.returncode == -signal.SIGKILL, err
        other = start("worker-0")
        deadline = time.monotonic() + 1200
        while not (folder / "trials/002").exists():  # now each of the two has a trial
            assert time.monotonic() < deadline
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert other.wait(0.05) is None, "it ended before its time"
        start("worker-1")
        ended = {name: process.communicate(timeout=1200) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    codes = {name: process.returncode for name, process in processes.items()}
    assert set(codes.values()) == {0}, ended
    # Each trial was run by one worker, and the chief has told of all of them.
    assert "resumed at step" in ended["worker-1"][0]
    trials = metrics_of(folder)["trials"]
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4, 5, 6]
    assert all(trial["score"] > 0 for trial in trials)
    by = [
        {int(line.split()[1]) for line in ended[name][0].splitlines() if " of 6: " in line}
        for name in ("worker-0", "worker-1")
    ]
    assert by[0] and by[1] and by[0] | by[1] == {1, 2, 3, 4, 5, 6} and not by[0] & by[1]
    assert "best: trial" in ended["chief"][0] and "best: trial" not in ended["worker-0"][0]
    assert not any("epoch 1" in line for line in ended["chief"][0].splitlines())
    best = config_from_file(folder / "best.json", NewsConfig)
    # Alone, the same options come to the same score.
    shutil.rmtree(folder)
    alone = subprocess.run(
        [sys.executable, "projects/news/tune.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 0, alone.stderr
    assert scores_of(folder) == pytest.approx([trial["score"] for trial in trials], abs=1e-6)
    assert config_from_file(folder / "best.json", NewsConfig) == best
