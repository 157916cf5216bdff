"""The loop: many steps in one call of a compiled function, everything else in plain Python."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfcamp.data.pipeline import BatchStream
from tfcamp.errors import Interrupted, UserError
from tfcamp.losses import WeightedSum
from tfcamp.training.checkpoints import CheckpointFolder, read_checkpoint, write_checkpoint
from tfcamp.training.signals import DeferredSignals
from tfcamp.training.step import Loss, build_train_step


class Stateful(Protocol):
    """An object whose state belongs into a checkpoint."""

    def get_state(self) -> dict:
        """Returns the state as what JSON can say."""
        ...

    def set_state(self, state: dict) -> None:
        """Takes the state back."""
        ...


class Progress(NamedTuple):
    """What an observer sees after each call, and the loop's owner after each epoch.

    Attributes:
      step: steps taken since the training began.
      total_steps: steps of the whole training.
      epoch: epochs begun.
      loss: mean training loss of the epoch so far, in nats per unit of weight.
      learning_rate: of the next step.
      examples_per_second: of this process, over the epoch so far.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    learning_rate: float
    examples_per_second: float


class _LossSum(NamedTuple):
    """The loss of the epoch so far, added up in float64 on the host."""

    total: float = 0.0
    weight: float = 0.0


_NOTHING = _LossSum()


class Trainer:
    """Takes steps, and saves and restores all that they depend on.

    The owner writes the outer loop::

        trainer = Trainer(model, optimizer, loss, checkpoints=checkpoints)
        trainer.restore()
        for progress in trainer.epochs(train_batches, num_epochs=10):
            scores = evaluate(trainer.predict(dev_batches))
            trainer.save()

    Attributes:
      step: steps taken; also the position in the data.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: Loss,
        *,
        checkpoints: CheckpointFolder,
        strategy: tf.distribute.Strategy | None = None,
        clip_norm: float | None = None,
        adversarial_norm: float = 0.0,
        steps_per_call: int = 32,
        save_seconds: float = 60.0,
        stateful: dict[str, Stateful] | None = None,
    ) -> None:
        """Builds the optimizer and the compiled functions.

        Args:
          model: returns logits.
          optimizer: not yet built, or built on this model.
          loss: see :func:`tfcamp.training.step.build_train_step`.
          checkpoints: where :meth:`save` writes.
          strategy: the strategy under whose scope the model was built.
          clip_norm: the largest global norm of the gradient.
          adversarial_norm: see :func:`tfcamp.training.step.build_train_step`.
          steps_per_call: steps taken inside one call; Python sees a number only between calls.
          save_seconds: time between two checkpoints within an epoch.
          stateful: further objects, such as early stopping, saved under these names.
        """
        self.model = model
        self.optimizer = optimizer
        self.checkpoints = checkpoints
        self.steps_per_call = steps_per_call
        self.save_seconds = save_seconds
        self.step = 0
        self._strategy = strategy or tf.distribute.get_strategy()
        self._stateful = stateful or {}
        self._epoch_loss = _NOTHING
        with self._strategy.scope():
            # Slots made inside the first trace would belong to the trace.
            optimizer.build(model.trainable_variables)
        self._train_step = build_train_step(
            model, optimizer, loss, clip_norm=clip_norm, adversarial_norm=adversarial_norm
        )
        self._run_steps = tf.function(self._take_steps)
        self._predict = tf.function(self._next_logits)

    def epochs(
        self,
        stream: BatchStream,
        num_epochs: int,
        *,
        max_steps: int | None = None,
        observers: Sequence[Callable[[Progress], None]] = (),
    ) -> Iterator[Progress]:
        """Trains from the current step on and yields after each epoch.

        Args:
          stream: the batches; read on from the current step.
          num_epochs: epochs of the whole training, those already taken included.
          max_steps: the training ends here if that is earlier.
          observers: called after each compiled call.

        Raises:
          UserError: the loss is not finite, or there is nothing to train on.
          Interrupted: Ctrl-C or SIGTERM came; the state was saved first.
        """
        per_epoch = stream.steps_per_epoch
        if per_epoch == 0:
            raise UserError("there is not one row to train on: is the training split empty?")
        total = num_epochs * per_epoch
        total = total if max_steps is None else min(total, max_steps)
        batches = iter(stream.dataset(self.step))
        with DeferredSignals() as signals:
            while self.step < total:
                end = min((self.step // per_epoch + 1) * per_epoch, total)
                progress = None
                for progress in self._calls(batches, end, stream, total):
                    for observe in observers:
                        observe(progress)
                    # At the end of an epoch the owner evaluates first: a run that goes on from
                    # here would not do it.
                    if signals.received is not None and self.step < end:
                        self._stop(signals.received)
                self._epoch_loss = _NOTHING
                if progress is not None:
                    yield progress
                if signals.received is not None:
                    self._stop(signals.received)

    def _calls(
        self, batches: Iterator, end: int, stream: BatchStream, total: int
    ) -> Iterator[Progress]:
        """Trains until the step ``end`` of the current epoch; yields after each compiled call."""
        per_epoch = stream.steps_per_epoch
        first_step, started = self.step, time.monotonic()
        saved = started
        while self.step < end:
            self.advance(batches, min(self.steps_per_call, end - self.step), per_epoch)
            now = time.monotonic()
            yield Progress(
                step=self.step,
                total_steps=total,
                epoch=(self.step - 1) // per_epoch + 1,
                loss=self._epoch_loss.total / max(self._epoch_loss.weight, 1e-9),
                learning_rate=float(self.optimizer.learning_rate.numpy()),
                examples_per_second=(self.step - first_step) * stream.batch_size / (now - started),
            )
            if self.step < end and now - saved >= self.save_seconds:
                self.save()
                saved = now

    def _stop(self, signal_number: int) -> None:
        self.save()
        raise Interrupted(signal_number, self.step)

    def predict(self, stream: BatchStream) -> np.ndarray:
        """Returns the logits float32[N, ...] of all rows, in the order of the rows."""
        batches = iter(stream.dataset(num_epochs=1))
        logits = [self._predict(batches).numpy() for _ in range(stream.steps_per_epoch)]
        in_stream_order = np.concatenate(logits)
        in_row_order = np.empty_like(in_stream_order)
        in_row_order[stream.rows()] = in_stream_order
        return in_row_order

    def save(self) -> None:
        """Writes a checkpoint of the current step.

        Raises:
          UserError: a weight is not finite; the checkpoints before stay the newest.
        """
        values = _values(self._all_variables())
        # A gradient may overflow where the loss does not: its step shows in the next loss only.
        for name, value in values.items():
            if not np.isfinite(value).all():
                self._refuse(f"{name} is not finite after step {self.step}")
        state = {
            "step": self.step,
            "epoch_loss": list(self._epoch_loss),
            "stateful": {name: part.get_state() for name, part in self._stateful.items()},
        }
        self.checkpoints.save(self.step, values, state)

    def restore(self) -> list[str]:
        """Goes back to the newest sound checkpoint, if there is one.

        Returns:
          a line for each damaged checkpoint that was passed over.
        """
        checkpoint, damaged = self.checkpoints.restore()
        if checkpoint is not None:
            _assign(self._all_variables(), checkpoint.arrays)
            self.step = checkpoint.state["step"]
            self._epoch_loss = _LossSum(*checkpoint.state["epoch_loss"])
            for name, part in self._stateful.items():
                part.set_state(checkpoint.state["stateful"][name])
        return damaged

    def save_best(self) -> None:
        """Keeps the model's weights as the best so far."""
        write_checkpoint(
            self.checkpoints.best_path, _values(self.model.weights), {"step": self.step}
        )

    def restore_best(self) -> int:
        """Loads the best weights and returns the step at which they were kept.

        Raises:
          UserError: their file is missing or damaged.
        """
        try:
            arrays, state = read_checkpoint(self.checkpoints.best_path)
        except ValueError as error:
            raise UserError(f"{error}; train again in another --run-dir") from error
        _assign(self.model.weights, arrays)
        return state["step"]

    def _take_steps(self, batches, num_steps) -> tuple[WeightedSum, tf.Tensor]:
        """Takes steps until ``num_steps`` or a loss that is not finite; returns sum and count."""
        total, weight, taken = tf.constant(0.0), tf.constant(0.0), tf.constant(0)
        finite = tf.constant(True)
        while finite and taken < num_steps:
            batch_loss = self._strategy.run(self._train_step, args=(next(batches),))
            total += batch_loss.total
            weight += batch_loss.weight
            taken += 1
            finite = tf.math.is_finite(batch_loss.total)
        return WeightedSum(total, weight), taken

    def _next_logits(self, batches) -> tf.Tensor:
        """Returns the logits of the next batch's real rows.

        The batch is taken inside the graph, where its length is unknown: given as an argument,
        each new length would trace the model anew.
        """
        inputs, _, weights = next(batches)
        return tf.boolean_mask(self.model(inputs, training=False), weights > 0)

    def advance(self, batches: Iterator, num_steps: int, steps_per_epoch: int) -> None:
        """Takes steps in one compiled call.

        Args:
          batches: an iterator over ``BatchStream.dataset``.
          num_steps: how many.
          steps_per_epoch: only to name the batch when something is wrong.

        Raises:
          UserError: the loss is not finite.
        """
        # A Python number would trace the function anew for each value.
        loss, taken = self._run_steps(batches, tf.constant(num_steps))
        self.step += int(taken)
        if not np.isfinite(loss.total):
            epoch, batch = divmod(self.step - 1, steps_per_epoch)
            self._refuse(
                f"the loss is {float(loss.total)} at step {self.step} (epoch {epoch + 1}, batch "
                f"{batch + 1})"
            )
        self._epoch_loss = _LossSum(
            self._epoch_loss.total + float(loss.total), self._epoch_loss.weight + float(loss.weight)
        )

    def _refuse(self, finding: str) -> NoReturn:
        steps = self.checkpoints.steps()
        kept = (
            f"the last good checkpoint is that of step {steps[-1]}"
            if steps
            else "no checkpoint was written yet"
        )
        raise UserError(f"{finding}; {kept}. Try a smaller --learning-rate or --clip-norm 1")

    def _all_variables(self) -> list[keras.Variable]:
        # model.variables, unlike model.weights, has the seeds of every dropout.
        return [*self.model.variables, *self.optimizer.variables]


def weights_sha256(model: keras.Model) -> str:
    """Returns one hash of all weights, to tell whether two runs ended with the same bits."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()


def _values(variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    return {
        f"{index:04d}/{variable.path}": variable.numpy() for index, variable in enumerate(variables)
    }


def _assign(variables: Sequence[keras.Variable], arrays: dict[str, np.ndarray]) -> None:
    if len(variables) != len(arrays):
        raise ValueError(f"{len(arrays)} arrays were saved, the model has {len(variables)}")
    for variable, value in zip(variables, arrays.values(), strict=True):
        variable.assign(value)
