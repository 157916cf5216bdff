"""The search for options: what is proposed, kept and told. The training here is a formula."""

import dataclasses
import json
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras_tuner
import pytest
from keras_tuner import HyperParameters
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import HyperbandOracle

from tfcamp.config_files import config_from_file
from tfcamp.errors import Diverged, UserError
from tfcamp.runs import Run
from tfcamp.tuning.options import TuningOptions, searched_part
from tfcamp.tuning.oracles import hyperband_trials
from tfcamp.tuning.results import trial_table, wall_time
from tfcamp.tuning.search import Search
from tfcamp.tuning.trials import Trial, best_options

# keras-tuner 1.4.8 asks for the thread's name in a way that Python has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no models to forget between trials, and looking for them takes a while."""
    monkeypatch.setattr("keras.backend.clear_session", lambda: None)


@dataclass(frozen=True)
class Config:
    dataset: str = "sample"
    learning_rate: float = 0.1
    width: int = 4
    cell: Literal["gru", "lstm"] = "gru"
    bias: bool = True
    dropout: float | None = None
    epochs: int | None = None
    stop_on: Literal["accuracy", "loss"] = "accuracy"
    strategy: str = "one"
    seed: int = 0
    run_dir: Path | None = None
    data_dir: Path | None = None
    export_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.width == 13:
            raise UserError("--width 13: expected another number")


@dataclass(frozen=True)
class Tuning(TuningOptions, Config):
    """All options."""


def search_space() -> HyperParameters:
    space = HyperParameters()
    space.Float("learning_rate", 1e-3, 1.0, sampling="log", default=0.1)
    space.Choice("width", [2, 4, 8, 16], default=4)
    space.Choice("cell", ["gru", "lstm"], default="gru")
    space.Boolean("bias", default=True)
    return space


def accuracy(config: Config) -> float:
    """Best at a learning rate of 0.02 with an LSTM of width 16."""
    distance = abs(math.log10(config.learning_rate / 0.02)) + abs(math.log2(config.width / 16))
    return 0.9 - 0.1 * distance + 0.02 * (config.cell == "lstm")


def train(config: Config, epochs: int, score: Callable[[Config], float]) -> float:
    """A run that keeps how many epochs it has taken, and gains a little by each."""
    with Run.open(config, "toys") as run:
        taken = run.folder / "checkpoints" / "epochs.txt"
        begun_at = int(taken.read_text()) if taken.exists() else 0
        for epoch in range(begun_at, epochs or 4):
            with open(run.folder / "history.txt", "a") as history:
                history.write(f"{epoch + 1}\n")
            taken.write_text(str(epoch + 1))
        return score(config) + 0.001 * int(taken.read_text())


def search(
    options: Tuning,
    score: Callable[[Config], float] = accuracy,
    *,
    space: HyperParameters | None = None,
    only: int | None = None,
) -> list[Trial]:
    """Runs a search, or the next few trials of it, and returns those that were run."""
    run = []
    with Search(options, Config, space or search_space(), project="toys") as toys:
        for trial in toys.trials():
            if only is not None and len(run) == only:
                break
            with trial.attempt():
                trial.score = train(trial.config, trial.epochs, score)
                trial.seconds = 1.0
            run.append(trial)
        else:
            toys.finish()
    return run


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_every_tuner_begins_with_the_defaults_and_ends_with_the_best(tmp_path, capsys, tuner):
    options = Tuning(run_dir=tmp_path / "search", tuner=tuner, max_trials=6, epochs=3)
    trials = search(options)
    assert [trial.number for trial in trials] == list(range(1, 7))
    defaults = {"learning_rate": 0.1, "width": 4, "cell": "gru", "bias": True}
    assert trials[0].values == defaults
    assert all(trial.values != defaults for trial in trials[1:] if trial.folder.name != "001")
    for trial in trials:
        assert 1e-3 <= trial.values["learning_rate"] <= 1.0
        assert trial.values["width"] in (2, 4, 8, 16)
        assert dataclasses.replace(trial.config, **defaults, run_dir=None) == Config(epochs=3)

    best = max(trials, key=lambda trial: trial.score or 0.0)
    found = config_from_file(tmp_path / "search/best.json", Config)
    assert dataclasses.replace(best.config, run_dir=None) == found
    metrics = metrics_of(tmp_path / "search")
    assert metrics["best"] == best.number
    assert [trial["score"] for trial in metrics["trials"]] == [trial.score for trial in trials]
    out = capsys.readouterr().out
    assert f"best: trial {best.number}, dev accuracy {best.score:.4f}" in out
    assert out.splitlines()[-1] == (
        f"next        python projects/toys/train.py --config {tmp_path}/search/best.json "
        f"--run-dir {best.folder}"
    )
    assert "Reloading" not in out and "Trial " not in out  # keras-tuner says nothing by itself
    for name in ("report.html", "figures/trials.svg", "figures/options.svg"):
        assert (tmp_path / "search" / name).stat().st_size > 0


@pytest.mark.parametrize(
    "tuner", ["random", pytest.param("bayesian", marks=pytest.mark.slow), "hyperband"]
)
def test_the_first_trial_has_the_options_as_given(tmp_path, capsys, tuner):
    """Within the range and not rounded, outside of it, and not given at all."""
    given = {"learning_rate": 0.0123456, "width": 5, "dropout": None}
    options = Tuning(
        run_dir=tmp_path / "search",
        tuner=tuner,
        epochs=3,
        max_trials=7,
        search=("learning_rate", "width", "dropout"),
        learning_rate=0.0123456,
        width=5,
    )
    space = search_space()
    space.Float("dropout", 0.1, 0.4, step=0.1, default=0.3)
    trials = search(options, lambda config: 0.5 + 0.4 * (config.dropout is None), space=space)
    assert trials[0].values == given
    for trial in trials:
        of_first = trial.folder.name == "001"  # Hyperband goes on with it, as it was
        assert (trial.values == given) == of_first
        for name, value in trial.values.items():
            assert getattr(trial.config, name) == value
        assert of_first or (trial.values["width"] in (2, 4, 8, 16) and trial.config.dropout)
    out = capsys.readouterr().out
    assert "--learning-rate 0.0123456 --width 5 (not given: --dropout)\n" in out
    assert " not given\n" in out  # in the table
    found = config_from_file(tmp_path / "search/best.json", Config)
    assert found == Config(learning_rate=0.0123456, width=5, epochs=3)


def test_what_stands_in_for_the_first_trial_is_still_tried(tmp_path):
    space = HyperParameters()
    space.Float("dropout", 0.25, 0.75, step=0.25, default=0.5)
    options = Tuning(run_dir=tmp_path / "search", max_trials=4)
    trials = search(options, lambda config: 0.5, space=space)
    tried = [trial.values["dropout"] for trial in trials]
    assert tried[0] is None and sorted(tried[1:]) == [0.25, 0.5, 0.75]


def test_the_next_command_can_be_pasted(tmp_path, capsys):
    folder = tmp_path / "my search; it's mine"
    (trial,) = search(Tuning(run_dir=folder, max_trials=1))
    command = capsys.readouterr().out.splitlines()[-1].removeprefix("next ")
    words = ["--config", str(folder / "best.json"), "--run-dir", str(trial.folder)]
    assert shlex.split(command) == ["python", "projects/toys/train.py", *words]


@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_a_seed_proposes_the_same_again(tmp_path, tuner):
    def proposed(name: str, seed: int) -> list[dict]:
        options = Tuning(run_dir=tmp_path / name, tuner=tuner, max_trials=5, epochs=4, seed=seed)
        return [trial.values for trial in search(options)]

    assert proposed("a", 0) == proposed("b", 0) != proposed("c", 1)


@pytest.mark.slow  # a Gaussian process is fitted and searched for each trial
def test_the_bayesian_search_learns_where_to_look(tmp_path):
    trials = search(Tuning(run_dir=tmp_path / "search", tuner="bayesian", max_trials=12))
    scores = [trial.score or 0.0 for trial in trials]
    assert sum(scores[-4:]) / 4 > sum(scores[:5]) / 5 + 0.05


def test_a_loss_should_be_small(tmp_path, capsys):
    options = Tuning(run_dir=tmp_path / "search", stop_on="loss", max_trials=6)
    trials = search(options, lambda config: 1 - accuracy(config))
    best = min(trials, key=lambda trial: trial.score or math.inf)
    found = config_from_file(tmp_path / "search/best.json", Config)
    assert (found.learning_rate, found.stop_on) == (best.values["learning_rate"], "loss")
    assert f"best: trial {best.number}, dev loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    "tuner", ["random", pytest.param("bayesian", marks=pytest.mark.slow), "hyperband"]
)
def test_a_search_that_was_stopped_goes_on(tmp_path, tuner):
    options = Tuning(
        run_dir=tmp_path / "straight", tuner=tuner, max_trials=7, epochs=4, keep_weights=True
    )
    straight = search(options)
    options = dataclasses.replace(options, run_dir=tmp_path / "stopped")
    before = search(options, only=3)

    def crash(config: Config) -> float:
        raise RuntimeError("the machine is switched off")

    with pytest.raises(RuntimeError):
        search(options, crash)
    after = search(options)
    # The trial that was interrupted is run again, those that had ended are not.
    assert [trial.number for trial in before + after] == list(range(1, 8))
    if tuner != "bayesian":  # whose draws depend on the process
        values = [trial.values for trial in straight]
        assert [trial.values for trial in before + after] == values
        scores = [trial["score"] for trial in metrics_of(tmp_path / "stopped")["trials"]]
        assert scores == [trial.score for trial in straight]
    # Each epoch of each run was taken once.
    for history in (tmp_path / "stopped/trials").glob("*/history.txt"):
        epochs = [int(line) for line in history.read_text().split()]
        assert epochs == list(range(1, len(epochs) + 1))


def test_more_trials_may_be_asked_for_and_an_ended_search_only_tells(tmp_path, capsys, monkeypatch):
    options = Tuning(run_dir=tmp_path / "search", max_trials=3)
    search(options)
    told = capsys.readouterr().out.splitlines()[-6:]
    assert search(options) == []
    assert capsys.readouterr().out.splitlines()[-6:] == told
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "another")  # as when a worker goes on alone
    more = search(dataclasses.replace(options, max_trials=12))
    assert [trial.number for trial in more] == list(range(4, 13))
    assert len(metrics_of(tmp_path / "search")["trials"]) == 12


def test_a_search_goes_on_with_the_same_options_only(tmp_path):
    options = Tuning(run_dir=tmp_path / "search", max_trials=2)
    search(options, only=1)
    with pytest.raises(UserError, match="--dataset sample, not other"):
        search(dataclasses.replace(options, dataset="other"))
    with pytest.raises(UserError, match="holds a run with --tuner random, not bayesian"):
        search(dataclasses.replace(options, tuner="bayesian"))
    wider = search_space()
    wider.Choice("seed", [1, 2], default=1)
    with pytest.raises(UserError, match="holds a search of other options or ranges"):
        search(options, space=wider)


def test_a_folder_without_trials_may_have_any_options(tmp_path):
    with pytest.raises(UserError, match="--search depth"):
        search(Tuning(run_dir=tmp_path / "search", search=("depth",)))
    options = Tuning(run_dir=tmp_path / "search", max_trials=1)
    search(options, only=0)  # a trial was proposed, but nothing was trained
    assert len(search(dataclasses.replace(options, max_trials=2))) == 2


@pytest.mark.parametrize("max_epochs", [1, 2, 4, 8, 10, 27, 30])
def test_one_pass_of_hyperband_is_as_long_as_foreseen(tmp_path, max_epochs):
    objective = keras_tuner.Objective("accuracy", "max")
    oracle = HyperbandOracle(objective, max_epochs, hyperparameters=search_space(), seed=1)
    oracle.verbose = 0
    BaseTuner(oracle, directory=str(tmp_path))  # gives it a folder
    while (trial := oracle.create_trial("tuner")).status != TrialStatus.STOPPED:
        oracle.update_trial(trial.trial_id, {"accuracy": float(trial.trial_id)})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    assert len(oracle.trials) == hyperband_trials(max_epochs)


@pytest.mark.parametrize("max_epochs", [1, 3, 9])
def test_hyperband_goes_on_with_the_best_third(tmp_path, max_epochs):
    options = Tuning(
        run_dir=tmp_path / "search", tuner="hyperband", epochs=max_epochs, keep_weights=True
    )
    trials = search(options)
    assert len(trials) == hyperband_trials(max_epochs)
    assert max(trial.epochs for trial in trials) == max_epochs
    by_folder: dict[Path, list[Trial]] = {}
    for trial in trials:
        by_folder.setdefault(trial.folder, []).append(trial)
    for folder, rounds in by_folder.items():
        # The same options, from where the round before paused.
        assert all(trial.values == rounds[0].values for trial in rounds)
        epochs = [trial.epochs for trial in rounds]
        assert epochs == sorted(set(epochs))
        history = [int(line) for line in (folder / "history.txt").read_text().split()]
        assert history == list(range(1, epochs[-1] + 1))
    if max_epochs == 9:
        numbers = sorted(trial.epochs for trial in trials)
        assert numbers == [1] * 9 + [3] * 3 + [3] * 5 + [9] * 6
        first = sorted(trials[:9], key=lambda trial: -(trial.score or 0.0))
        promoted = {trial.folder for trial in trials if trial.epochs == 3 and trial.number <= 12}
        assert promoted == {trial.folder for trial in first[:3]}


def test_a_loss_that_is_not_finite_is_a_result(tmp_path, capsys):
    def fragile(config: Config) -> float:
        if config.learning_rate > 0.1:
            raise Diverged(f"the loss is nan with {config.learning_rate}")
        return math.nan if config.width == 2 else accuracy(config)

    options = Tuning(run_dir=tmp_path / "search", max_trials=8, search=("learning_rate", "width"))
    trials = search(options, fragile)
    assert len(trials) == 8
    failed = [trial for trial in trials if trial.failure]
    assert 0 < len(failed) < 8
    for trial in failed:
        assert trial.values["learning_rate"] > 0.1 or trial.values["width"] == 2
    kept = metrics_of(tmp_path / "search")["trials"]
    assert [trial["failure"] for trial in kept] == [trial.failure for trial in trials]
    out = capsys.readouterr().out
    assert "the loss is nan" in out and "its dev accuracy is nan" in out and "failed" in out


def test_failure_after_failure_ends_the_search(tmp_path):
    def hopeless(config: Config) -> float:
        raise Diverged("the loss is nan")

    with pytest.raises(UserError, match="3 trials after one another failed, the last one so: the"):
        search(Tuning(run_dir=tmp_path / "search"), hopeless)
    assert not (tmp_path / "search/best.json").exists()


def test_any_other_error_ends_the_search_and_the_trial_is_tried_again(tmp_path):
    def without_disk(config: Config) -> float:
        raise UserError("the disk is full")

    options = Tuning(run_dir=tmp_path / "search", max_trials=2)
    with pytest.raises(UserError, match="the disk is full"):
        search(options, without_disk)
    assert [trial.number for trial in search(options)] == [1, 2]


@pytest.mark.parametrize("tuner", ["random", "hyperband"])
@pytest.mark.parametrize("keep_weights", [False, True])
def test_only_the_best_keeps_its_weights(tmp_path, tuner, keep_weights):
    options = Tuning(
        run_dir=tmp_path / "search", tuner=tuner, epochs=3, max_trials=6, keep_weights=keep_weights
    )
    trials = search(options)
    folders = {trial.folder for trial in trials}
    best = max(trials, key=lambda trial: trial.score or 0.0)
    with_weights = {folder for folder in folders if (folder / "checkpoints").exists()}
    assert with_weights == (folders if keep_weights else {best.folder})
    assert all((folder / "history.txt").exists() for folder in folders)


def test_what_is_given_is_not_searched():
    def names(config: Config, chosen: tuple[str, ...] = ()) -> list[str]:
        return [parameter.name for parameter in searched_part(search_space(), config, chosen).space]

    assert names(Config()) == ["learning_rate", "width", "cell", "bias"]
    assert names(Config(width=7, bias=False)) == ["learning_rate", "cell"]
    assert names(Config(width=7), ("width", "learning-rate")) == ["width", "learning_rate"]
    with pytest.raises(UserError, match="--search depth: expected some of learning_rate, width"):
        names(Config(), ("depth",))
    with pytest.raises(UserError, match="are given: name some with --search"):
        names(Config(learning_rate=0.2, width=7, cell="lstm", bias=False))


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"max_trials": 0}, "--max-trials 0: expected at least 1"),
        ({"tuner": "hyperband"}, "--tuner hyperband: give --epochs"),
        ({"strategy": "multi_worker"}, "--strategy multi_worker: each trial runs in one process"),
        ({"run_dir": Path("gs://bucket/search")}, "expected a folder on a disk"),
    ],
)
def test_options_that_do_not_fit_are_one_line(tmp_path, changes, finding):
    with pytest.raises(UserError, match=finding):
        search(dataclasses.replace(Tuning(run_dir=tmp_path / "search"), **changes))
    assert not (tmp_path / "search").exists()


def test_a_part_of_a_search_must_know_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(UserError, match="KERASTUNER_ORACLE_PORT is not: set it as well"):
        search(Tuning(run_dir=tmp_path / "search"))
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    with pytest.raises(UserError, match="give --run-dir"):
        search(Tuning())


def test_rows_that_change_during_a_search_are_noticed(tmp_path):
    def run(rows: str) -> None:
        options = Tuning(run_dir=tmp_path / "search", max_trials=2)
        with Search(options, Config, search_space(), project="toys") as toys:
            for trial in toys.trials():
                trial.score = train(trial.config, 1, accuracy)
                (trial.folder / "dataset.sha256").write_text(rows)
                if rows == "before":
                    rows = "after"

    with pytest.raises(UserError, match="holds a run on other rows: sample has changed since"):
        run("before")


def test_trials_share_what_none_of_their_options_changes(tmp_path):
    made = []
    options = Tuning(run_dir=tmp_path / "search", max_trials=3, search=("width", "cell"))

    def run(options: Tuning, whatever: set[str]) -> int:
        made.clear()
        with Search(options, Config, search_space(), project="toys") as toys:
            for trial in toys.trials():
                with (
                    Run.open(trial.config, "toys") as run,
                    toys.shared_data(run, "vectors.*", whatever=whatever),
                ):
                    vectors = run.folder / "data" / "vectors.word"
                    if not vectors.exists():
                        made.append(trial.number)
                        vectors.parent.mkdir(exist_ok=True)
                        vectors.write_text("0.5")
                    (run.folder / "data" / "other").write_text("mine")
                    assert vectors.read_text() == "0.5"
                    assert [path.name for path in vectors.parent.iterdir()].count("other") == 1
                    trial.score = accuracy(trial.config)
        return len(made)

    assert run(options, {"width", "cell", "bias"}) == 1
    assert [path.name for path in (tmp_path / "search/shared").iterdir()] == ["vectors.word"]
    assert run(dataclasses.replace(options, run_dir=tmp_path / "other"), {"width"}) == 3


def test_best_options_are_the_searched_ones_and_the_changed_ones():
    config = Config(dataset="mine", width=4, cell="lstm", run_dir=Path("runs/1"))
    trial = Trial(1, config, {"width": 4, "cell": "lstm"}, score=0.5)
    assert best_options(trial) == {"dataset": "mine", "width": 4, "cell": "lstm"}


def test_the_table_has_the_best_first_and_failures_last():
    configs = [Config(run_dir=Path(str(folder))) for folder in (1, 2, 3, 1)]
    scores = (0.5, None, 0.9, 0.9)
    trials = [
        Trial(number, config, {"width": number}, score=score, seconds=10.0 * number)
        for number, (config, score) in enumerate(zip(configs, scores, strict=True), start=1)
    ]
    table = trial_table(trials, "accuracy", larger_is_better=True)
    assert [row[0] for row in table.rows] == [3, 4, 1, 2]
    assert table.rows[-1][1] == "failed"
    loss = trial_table(trials, "loss", larger_is_better=False)
    assert [row[0] for row in loss.rows] == [1, 3, 4, 2]
    # Trial 4 went on with trial 1: its 40 seconds contain the others.
    assert wall_time(trials) == 40 + 20 + 30


def test_hundreds_of_trials_stay_in_order(tmp_path):
    """keras-tuner pads its numbers by the number of trials that were asked for."""
    options = Tuning(run_dir=tmp_path / "search", max_trials=9)
    search(options)
    search(dataclasses.replace(options, max_trials=11))
    numbers = [trial["number"] for trial in metrics_of(tmp_path / "search")["trials"]]
    assert numbers == list(range(1, 12))
