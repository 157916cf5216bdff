"""The search for better options: keras-tuner proposes values, the project's own loop tries them.

RUN/best.json           the best options so far, for ``train.py --config``
RUN/trials/001/ …       the run folder of each trial
RUN/shared/             files of RUN/data that trials have in common
RUN/keras_tuner/        what keras-tuner knows, so that the same command goes on
RUN/config.json, log.txt, lock, figures/, report.html, metrics.json   as in any run folder

A trial is a run of train.py that ends with its score on the dev split: nothing is exported, and the
test split decides nothing. One that Hyperband pauses is a run that was stopped: it goes on from its
checkpoint, and its learning rate is at each step that of a run of all epochs. So scores of paused
trials were measured while the learning rate was still high; those of trials with as many epochs
may be compared, others may not.
"""

import contextlib
import dataclasses
import io
import math
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import keras
import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial as Proposal
from keras_tuner.engine.trial import TrialStatus
from tensorflow.python.framework import ops
from tqdm.auto import tqdm

from tfcamp.config_files import as_json
from tfcamp.data.storage import write_json
from tfcamp.errors import UserError
from tfcamp.runs import Run
from tfcamp.tuning.options import (
    TuningOptions,
    count_trials,
    find_role,
    searched_part,
    shared_config,
)
from tfcamp.tuning.oracles import build_oracle
from tfcamp.tuning.results import duration, wall_time, write_results
from tfcamp.tuning.trials import Trial, as_arguments, best_of, best_options, tidy

# So many failures, one after another, end the search.
_MOST_FAILURES = 3


class Search:
    """The trials of a project: proposed, told and remembered, to be closed.

    With keras-tuner's environment variables (``KERASTUNER_TUNER_ID``, ``KERASTUNER_ORACLE_IP`` and
    ``KERASTUNER_ORACLE_PORT``) several processes share a search: the one whose id is ``chief``
    hands trials out and tells what came of them, the others run them.
    """

    def __init__(
        self,
        options: TuningOptions,
        config_class: type,
        space: keras_tuner.HyperParameters,
        *,
        project: str,
    ) -> None:
        """Begins a search, or goes on with the one in the folder.

        Args:
          options: a dataclass of both, `TuningOptions` and `config_class`.
          config_class: the options of train.py.
          space: what may be searched; the names are those of fields.
          project: the name of its folder in ``projects``.

        Raises:
          UserError: the options do not fit, or the folder cannot be used.
        """
        self._role = find_role(options)
        self._project = project
        self._options = options
        self._base = shared_config(options, config_class)
        space = searched_part(space, self._base, options.search)
        self._given = {
            parameter.name: getattr(self._base, parameter.name) for parameter in space.space
        }
        self._max_trials = count_trials(options, self._base)
        self._score: str = self._base.stop_on
        self._larger_is_better = self._score != "loss"
        self.run = _SearchRun.open(
            options,
            f"{project}-tuning",
            may_differ=("max_trials", "keep_weights", "steps_per_call", "save_seconds"),
            chief=self._role != "worker",
        )
        oracle = build_oracle(
            options.tuner,
            keras_tuner.Objective(self._score, "max" if self._larger_is_better else "min"),
            space,
            max_trials=self._max_trials,
            max_epochs=self._base.epochs,
            seed=self._base.seed,
            stands_in=any(
                parameter.default != self._given[parameter.name] for parameter in space.space
            ),
            on_end=self._tell,
        )
        self._oracle = oracle  # of a worker, one that nobody asks
        state = self.run.folder / "keras_tuner"
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it reloads
            self._tuner = BaseTuner(oracle, directory=str(state.parent), project_name=state.name)
        if (state / "oracle.json").exists():
            oracle.reload()  # as whatever part it was made
        self._tuner.save()
        before, now = (
            [parameter.get_config() for parameter in part.space]
            for part in (oracle.hyperparameters, space)
        )
        if before != now:
            raise UserError(
                f"--run-dir {self.run.home} holds a search of other options or ranges: bring "
                "search_space() back to what it was, or name another --run-dir"
            )

    def trials(self) -> Iterator[Trial]:
        """Yields each trial to be run, until there have been enough; the chief's yields none.

        What was set of a trial counts when the next one is asked for.

        Raises:
          UserError: trial after trial fails, the rows have changed, or the chief does not answer.
        """
        self.run.say(f"search in {self.run.home}")
        if self._role == "chief":
            self._tuner.search()  # until all trials have been run by others
            return
        failures = 0
        oracle = self._tuner.oracle
        while (proposal := self._propose()) is not None:
            self.run.reopen()  # until finish() it counts as unfinished
            trial = self._trial(proposal)
            say = self.run.say if self.run.chief else tqdm.write
            say(f"trial {self._described(trial)}: {as_arguments(trial.values)}")
            with _as_in_a_process_of_its_own():
                yield trial
            self._compare_rows(trial)
            if trial.score is None or not math.isfinite(trial.score):
                trial.failure = trial.failure or f"its dev {self._score} is {trial.score}"
                proposal.status, proposal.message = TrialStatus.FAILED, trial.failure
            else:
                proposal.status = TrialStatus.COMPLETED
            failures = failures + 1 if trial.failure else 0
            with _chief_named():
                if not trial.failure:
                    measures = {self._score: trial.score, "seconds": trial.seconds}
                    oracle.update_trial(proposal.trial_id, measures)
                oracle.end_trial(proposal)
            if failures == _MOST_FAILURES:
                raise UserError(
                    f"{failures} trials after one another failed, the last one so: {trial.failure}"
                )

    @contextlib.contextmanager
    def shared_data(self, run: Run, pattern: str, *, whatever: Collection[str]) -> Iterator[None]:
        """Lets trials have files of each other's ``RUN/data`` that all of them would make alike.

        Args:
          run: the trial's, just opened.
          pattern: of the files' names.
          whatever: the options that do not matter to the files; where others are searched, each
            trial makes its own.
        """
        if not set(self._given) <= set(whatever):
            yield
            return
        shared, own = self.run.home / "shared", run.folder / "data"
        _copy_missing(shared, own, pattern)
        yield
        _copy_missing(own, shared, pattern)

    def finish(self) -> None:
        """Writes and prints what came of the search; workers leave that to the chief.

        Raises:
          UserError: no trial has a score.
        """
        if not self.run.chief:
            return
        trials = self._results()
        if best_of(trials, larger_is_better=self._larger_is_better) is None:
            raise UserError("no trial has a score: search smaller values of learning_rate")
        self._forget_weights(trials)
        write_results(
            self.run,
            trials,
            project=self._project,
            score=self._score,
            larger_is_better=self._larger_is_better,
        )

    def close(self) -> None:
        """Lets other processes have the folder."""
        self.run.close()

    def __enter__(self) -> "Search":
        """Returns the search."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the search."""
        self.close()

    def _propose(self) -> Proposal | None:
        """Returns the next trial, or None when there have been enough."""
        while True:
            with _chief_named():
                proposal = self._tuner.oracle.create_trial(self._tuner.tuner_id)
            if proposal.status == TrialStatus.STOPPED:
                return None
            if proposal.status != TrialStatus.IDLE:
                return proposal
            time.sleep(1)  # others must end a round first

    def _trial(self, proposal: Proposal) -> Trial:
        proposed = proposal.hyperparameters.values
        first = proposal
        while "tuner/trial_id" in first.hyperparameters.values:
            first = self._tuner.oracle.get_trial(first.hyperparameters.values["tuner/trial_id"])
        if int(first.trial_id) == 0:
            values = dict(self._given)  # as they are, whether in the space or not
        else:
            values = {name: tidy(proposed[name]) for name in self._given}
        folder = self.run.checkpoints / _folder_name(int(first.trial_id) + 1)
        trial = Trial(
            number=int(proposal.trial_id) + 1,
            config=dataclasses.replace(self._base, **values, run_dir=folder),
            values=values,
            epochs=proposed.get("tuner/epochs", 0),
        )
        if proposal.status == TrialStatus.COMPLETED:
            trial.score = proposal.score
            trial.seconds = proposal.metrics.get_last_value("seconds")
        elif proposal.status == TrialStatus.FAILED:
            trial.failure = proposal.message or "failed"
        return trial

    def _compare_rows(self, trial: Trial) -> None:
        """Makes sure that all trials read the same rows."""
        sha256 = trial.folder / "dataset.sha256"
        if sha256.exists():
            self.run.compare_rows(self._base.dataset, sha256.read_text("utf-8"))

    def _results(self) -> list[Trial]:
        oracle = self._oracle
        return [self._trial(oracle.trials[trial_id]) for trial_id in oracle.start_order]

    def _described(self, trial: Trial) -> str:
        """Says which trial it is, and what Hyperband does with it."""
        text = f"{trial.number} of {self._max_trials}"
        if trial.folder.name != _folder_name(trial.number):
            text += f", {int(trial.folder.name)} goes on"
        return f"{text}, to epoch {trial.epochs}" if trial.epochs else text

    def _tell(self) -> None:
        """Says and keeps what came of the trial that has just ended."""
        trials = self._results()
        ended = trials[self._oracle.start_order.index(self._oracle.end_order[-1])]
        best = best_of(trials, larger_is_better=self._larger_is_better)
        score = f"dev {self._score} {ended.score:.4f}" if ended.score is not None else "no score"
        if ended.failure:
            self.run.say(ended.failure)
        if best is not None:
            write_json(self.run.folder / "best.json", as_json(best_options(best)))
            score += f" (the best: {best.score:.4f}, trial {best.number})"
        self.run.say(f"trial {ended.number}: {score}; {duration(wall_time(trials))} so far")
        if self._options.tuner != "hyperband":  # whose earlier trials may go on
            self._forget_weights(trials)

    def _forget_weights(self, trials: Sequence[Trial]) -> None:
        """Removes the checkpoints of trials that are over, and what they were fitted on."""
        best = best_of(trials, larger_is_better=self._larger_is_better)
        if self._options.keep_weights or best is None:
            return
        for trial in trials:
            if trial.has_ended and trial.folder != best.folder:
                for part in ("checkpoints", "data"):
                    shutil.rmtree(trial.folder / part, ignore_errors=True)


class _SearchRun(Run):
    """The folder of a search, whose options count from the first trial on."""

    @property
    def checkpoints(self) -> Path:
        """The folder of the trials, which hold the checkpoints."""
        return self.home / "trials"


def _folder_name(number: int) -> str:
    return f"{number:03d}"


@contextlib.contextmanager
def _as_in_a_process_of_its_own() -> Iterator[None]:
    """Names layers as if there had been no model before, and lets go of those that there are.

    TensorFlow keeps each gradient that a graph brought with it (``tf.custom_gradient``; the sum
    over replicas is one), and with it the graph and all weights that this reads: 420 MB a trial in
    a search of models with 360 MB of weights and moments (measured, TensorFlow 2.21).
    """
    gradients = ops.gradient_registry._registry
    before = set(gradients)
    keras.backend.clear_session()
    try:
        yield
    finally:
        for name in set(gradients) - before:
            del gradients[name]


def _copy_missing(source: Path, target: Path, pattern: str) -> None:
    """Copies files that the target has not; other processes see none that is not whole."""
    target.mkdir(exist_ok=True)
    for path in source.glob(pattern):
        if not (target / path.name).exists():
            partial = target / f"{path.name}.{os.getpid()}"
            shutil.copyfile(path, partial)
            partial.replace(target / path.name)


@contextlib.contextmanager
def _chief_named() -> Iterator[None]:
    """Names the chief of a search where it does not answer.

    Raises:
      UserError: it does not.
    """
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        place = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
        raise UserError(
            f"the chief at {place} does not answer: start it again by the same command, and then "
            "this one"
        ) from error
