"""What a loop wants around it: progress, history, early stopping, TensorBoard.

None of these is called behind the reader's back: a project's ``train.py`` names each where it acts.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from tqdm.auto import tqdm

from tfcamp.data.storage import whole_file
from tfcamp.errors import UserError
from tfcamp.training.pace import count_cores
from tfcamp.training.progress import Progress


class ProgressBar:
    """Shows loss, examples per second and the time left; an observer of ``Trainer.epochs``."""

    def __init__(self, *, shown: bool = True) -> None:
        """Shows nothing until the first call; never where nobody looks.

        Args:
          shown: False for a worker that is not the chief. In a file that takes the output, a bar
            would be megabytes of one line, so there it is not shown either; a notebook shows it.
        """
        self._shown = shown and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._bar: tqdm | None = None

    def __call__(self, progress: Progress) -> None:
        """Moves the bar to the current step."""
        if self._bar is None:
            # What an earlier process did says nothing about the time that is left.
            self._bar = tqdm(
                total=progress.total_steps,
                initial=progress.step,
                unit="step",
                dynamic_ncols=True,
                disable=not self._shown,
            )
        self._bar.set_description(f"epoch {progress.epoch}", refresh=False)
        self._bar.set_postfix_str(
            f"loss {progress.loss:.4f}, {progress.examples_per_second:,.0f} examples/s",
            refresh=False,
        )
        self._bar.update(progress.step - self._bar.n)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


def slow_input(progress: Progress, *, share: float = 0.05, seconds: float = 3.0) -> str | None:
    """Returns a line that says so where the loop waits for its data.

    On one core reading and training take turns, so that waiting is no sign of anything.

    Args:
      progress: at the end of an epoch.
      share: of the time, in [0, 1], that may be spent waiting.
      seconds: of waiting that are not worth a word; the first batches take some.
    """
    worth_a_word = progress.data_wait > share and progress.data_wait * progress.seconds > seconds
    if not worth_a_word or count_cores() == 1:
        return None
    return (
        f"the loop waited for data for {progress.data_wait:.0%} of the epoch: reading the rows is "
        "slower than training on them; give it more CPU cores, or a larger --batch-size"
    )


class History:
    """The measurements of a run, one JSON object a line, the oldest first.

    Attributes:
      records: all of them.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, which need not be there yet."""
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self.records: list[dict[str, float]] = [json.loads(line) for line in lines]

    def append(self, record: Mapping[str, float]) -> None:
        """Adds a record."""
        self.records.append(dict(record))
        self._write()

    def rewind(self, step: int) -> None:
        """Forgets what came after a step: a run that goes on from there measures it again."""
        self.records = [record for record in self.records if record["step"] <= step]
        self._write()

    def _write(self) -> None:
        text = "".join(json.dumps(record) + "\n" for record in self.records)
        with whole_file(self._path) as file:
            file.write(text.encode())


class EarlyStopping:
    """Tells whether a measure still improves.

    Attributes:
      best: the best value so far; None before the first.
      waited: updates since then.
    """

    def __init__(self, *, patience: int, smaller_is_better: bool = False) -> None:
        """Keeps the rule.

        Args:
          patience: updates without improvement after which training should stop; at least 1.
          smaller_is_better: True for a loss.
        """
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self.patience = patience
        self.smaller_is_better = smaller_is_better
        self.best: float | None = None
        self.waited = 0

    def update(self, value: float) -> bool:
        """Takes a new value and returns whether it is the best so far.

        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.update(accuracy) for accuracy in (0.5, 0.7, 0.6, 0.7)]
        [True, True, False, False]
        >>> stopping.should_stop
        True
        """
        improved = self.best is None or (
            value < self.best if self.smaller_is_better else value > self.best
        )
        if improved:
            self.best = value
        self.waited = 0 if improved else self.waited + 1
        return improved

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.waited >= self.patience

    def get_state(self) -> dict:
        """Returns the state as what JSON can say."""
        return {"best": self.best, "waited": self.waited}

    def set_state(self, state: dict) -> None:
        """Takes the state back."""
        self.best = state["best"]
        self.waited = state["waited"]


class TensorBoard:
    """Writes records for ``tensorboard --logdir RUN``."""

    def __init__(self, folder: Path) -> None:
        """Opens an event file in the folder."""
        self._folder = folder
        self._writer = tf.summary.create_file_writer(str(folder))

    def append(self, record: Mapping[str, float]) -> None:
        """Writes each number of a record that has a ``step``.

        Raises:
          UserError: the disk refuses.
        """
        try:
            with self._writer.as_default(step=int(record["step"])):
                for name, value in record.items():
                    if name != "step":
                        tf.summary.scalar(name, value)
            self._writer.flush()
        except tf.errors.OpError as error:  # TensorFlow writes by itself: no OSError
            raise UserError(
                f"{self._folder}: TensorBoard's events cannot be written: is the disk full or "
                "read-only? give the same command again once it is not"
            ) from error
