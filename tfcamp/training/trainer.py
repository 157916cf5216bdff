"""The loop: many steps in one call of a compiled function, everything else in plain Python."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from tfcamp.data.pipeline import BatchStream
from tfcamp.errors import Diverged, Interrupted, UserError
from tfcamp.training.averaging import WeightAverages
from tfcamp.training.checkpoints import CheckpointFolder, Stateful
from tfcamp.training.inner_loop import Call, InnerLoop
from tfcamp.training.loss_scale import DynamicLossScale
from tfcamp.training.pace import CallPace, CheckpointPace
from tfcamp.training.progress import EpochTotals, Progress
from tfcamp.training.signals import DeferredSignals
from tfcamp.training.step import Loss, StepOptions, build_train_step
from tfcamp.training.variables import assign_variables, read_variables, spread_seeds
from tfcamp.training.workers import check_same_step, take_from_chief


class Trainer:
    """Takes steps, and saves and restores all that they depend on.

    The owner writes the outer loop, the same for one device and for several machines::

        trainer = Trainer(model, optimizer, loss, checkpoints=checkpoints, strategy=strategy)
        trainer.restore()
        for progress in trainer.epochs(train_batches, num_epochs=10):
            with trainer.averaged_weights():
                scores = evaluate(trainer.predict(dev_batches))
            trainer.save()

    Attributes:
      step: steps taken; also the position in the data.
      loss_scale: the factor on the loss of a float16 model, else None.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: Loss,
        *,
        checkpoints: CheckpointFolder,
        strategy: tf.distribute.Strategy | None = None,
        options: StepOptions | None = None,
        average_decay: float = 0.0,
        steps_per_call: int | None = None,
        save_seconds: float = 60.0,
        stateful: dict[str, Stateful] | None = None,
    ) -> None:
        """Builds the optimizer and the compiled functions.

        Args:
          model: returns logits. Computes in float16: the loss is scaled.
          optimizer: not yet built, or built on this model; made under the strategy's scope.
          loss: see :func:`tfcamp.training.step.build_train_step`.
          checkpoints: where :meth:`save` writes.
          strategy: the strategy under whose scope the model was built.
          options: how a step is taken.
          average_decay: above 0, averages of the weights are kept; see :class:`WeightAverages`.
          steps_per_call: steps taken inside one call; Python sees a number only between calls. None
            for as many as take about a second. The weights do not depend on it.
          save_seconds: time between two checkpoints within an epoch; longer where writing them
            would otherwise hold the loop up for more than 2 % of the time. 0 for one after each
            call.
          stateful: further objects, such as early stopping, saved under these names.
        """
        self.model = model
        self.optimizer = optimizer
        self.checkpoints = checkpoints
        self.steps_per_call = steps_per_call
        self.save_seconds = save_seconds
        self.step = 0
        self._strategy = strategy or tf.distribute.get_strategy()
        self._options = options or StepOptions()
        self._stateful = stateful or {}
        self._several_workers = isinstance(
            self._strategy, tf.distribute.MultiWorkerMirroredStrategy
        )
        self._epoch_totals = EpochTotals()
        self.loss_scale: DynamicLossScale | None = None
        self._averages: WeightAverages | None = None
        with self._strategy.scope():
            # Slots made inside the first trace would belong to the trace.
            optimizer.build(model.trainable_variables)
            if model.compute_dtype == "float16":
                self.loss_scale = DynamicLossScale()
            if average_decay:
                self._averages = WeightAverages(model.trainable_variables, average_decay)
            train_step = build_train_step(
                model,
                optimizer,
                loss,
                self._options,
                loss_scale=self.loss_scale,
                averages=self._averages,
            )
        spread_seeds(model, self._strategy)
        self._inner = InnerLoop(model, train_step, optimizer, self._strategy)

    def epochs(
        self,
        stream: BatchStream,
        num_epochs: int,
        *,
        max_steps: int | None = None,
        observers: Sequence[Callable[[Progress], None]] = (),
    ) -> Generator[Progress, None, None]:
        """Trains from the current step on and yields after each epoch.

        Args:
          stream: the batches; read on from the current step.
          num_epochs: epochs of the whole training, those already taken included.
          max_steps: the training ends here if that is earlier.
          observers: called after each compiled call.

        Raises:
          UserError: the loss is not finite, or there is nothing to train on.
          Interrupted: Ctrl-C or SIGTERM came, to any worker; the state was saved first.
        """
        per_epoch = stream.steps_per_epoch
        if per_epoch == 0:
            raise UserError("there is not one row to train on: is the training split empty?")
        total = num_epochs * per_epoch
        total = total if max_steps is None else min(total, max_steps)
        batches = self.distribute(stream)
        paces = CallPace(self._steps_per_call(stream)), CheckpointPace(self.save_seconds)
        with DeferredSignals() as signals:
            while self.step < total:
                end = min((self.step // per_epoch + 1) * per_epoch, total)
                progress, told = None, False
                for progress, told in self._calls(batches, end, stream, total, paces, signals):
                    for observe in observers:
                        observe(progress)
                    # At the end of an epoch the owner evaluates first: a run that goes on from
                    # here would not do it.
                    if self.step < end:
                        self._stop_if_asked(told, signals)
                if self.step % per_epoch == 0:  # else the run may go on within the epoch
                    self._epoch_totals = EpochTotals()
                if progress is not None:
                    yield progress
                self._stop_if_asked(told, signals)

    @property
    def num_traces(self) -> int:
        """How often the steps were traced; more than once means that something varies."""
        return self._inner.num_traces

    def distribute(self, stream: BatchStream, start_step: int | None = None) -> Iterator:
        """Returns an iterator over what each replica reads of the batches, for :meth:`advance`.

        Args:
          stream: the batches.
          start_step: the step to begin with; None for the current one.
        """
        start = self.step if start_step is None else start_step
        return iter(
            self._strategy.distribute_datasets_from_function(
                lambda context: stream.dataset(
                    start, context=context, row_multiple=self._options.accumulate
                )
            )
        )

    def _calls(
        self,
        batches: Iterator,
        end: int,
        stream: BatchStream,
        total: int,
        paces: tuple[CallPace, CheckpointPace],
        signals: DeferredSignals,
    ) -> Iterator[tuple[Progress, bool]]:
        """Trains until the step ``end`` of the current epoch.

        Yields after each compiled call, also whether it told that a worker was asked to stop.
        """
        per_epoch = stream.steps_per_epoch
        first_step, started, waited = self.step, time.monotonic(), 0.0
        pace, checkpoint = paces
        rows_per_step = stream.num_rows / per_epoch
        while self.step < end:
            call_started = time.monotonic()
            call = self.advance(
                batches,
                min(pace.steps, end - self.step),
                per_epoch,
                report=(float(signals.received is not None), pace.seconds),
            )
            stops, mean_before = (call.reports / self._strategy.num_replicas_in_sync).numpy()
            now = time.monotonic()
            pace.update(int(call.taken), now - call_started, float(mean_before))
            waited += float(call.waited)
            progress = Progress(
                step=self.step,
                total_steps=total,
                epoch=(self.step - 1) // per_epoch + 1,
                loss=self._epoch_totals.mean,
                learning_rate=float(call.learning_rate),
                seconds=now - started,
                examples_per_second=(self.step - first_step) * rows_per_step / (now - started),
                data_wait=waited / (now - started),
            )
            yield progress, bool(stops > 0)
            if self.step < end and checkpoint.is_due:
                with checkpoint.saving():
                    self.save(wait=False)

    def _steps_per_call(self, stream: BatchStream) -> int | None:
        if self._several_workers and not stream.has_one_shape:
            # The shape of what workers exchange, rows of an embedding say, is fixed for a call.
            return 1
        return self.steps_per_call

    def _stop_if_asked(self, told: bool, signals: DeferredSignals) -> None:
        """Saves and raises `Interrupted`; several workers together, after the call that told."""
        if told or (signals.received is not None and not self._several_workers):
            self.save()
            raise Interrupted(signals.take(), self.step)

    def predict(self, stream: BatchStream, predict: Callable[[tuple], Any] | None = None) -> Any:
        """Returns what is predicted of all rows, in their order, on every worker.

        Args:
          stream: each row is read once.
          predict: a function that each replica compiles: from (inputs, labels, weights) to tensors
            [B, ...] whose other axes are the same in each batch, so that a loss or the ids of a
            text can be returned where the logits of all tokens would not fit. None for the model's
            logits. The same function each time, or it is traced anew.

        Returns:
          arrays [N, ...], in the structure of what is predicted of a batch.

        Raises:
          Diverged: a prediction is not finite.
        """
        batches = self.distribute(stream, 0)
        parts = [self._inner.predict_next(batches, predict) for _ in range(stream.steps_per_epoch)]
        in_row_order = np.argsort(stream.rows())
        whole = tf.nest.map_structure(lambda *arrays: np.concatenate(arrays)[in_row_order], *parts)
        # The last step of an epoch may have ruined the weights; its loss was that of those before.
        if not all(np.isfinite(array).all() for array in tf.nest.flatten(whole)):
            self._refuse(f"what the model predicts is not finite after step {self.step}")
        return whole

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Lets the model hold the averages of its weights, where they are kept."""
        with contextlib.nullcontext() if self._averages is None else self._averages.in_place():
            yield

    def save(self, *, wait: bool = True) -> None:
        """Writes a checkpoint of the current step.

        Args:
          wait: whether to return only when it is on the disk.

        Raises:
          UserError: a weight is not finite, or the run folder is gone; the checkpoints before stay
            the newest.
          OSError: the disk is full, now or when the checkpoint before was written.
        """
        values = read_variables(self._all_variables())
        # A gradient may overflow where the loss does not: its step shows in the next loss only.
        for name, value in values.items():
            if not np.isfinite(value).all():
                self._refuse(f"{name} is not finite after step {self.step}")
        state = {
            "step": self.step,
            "epoch_totals": list(self._epoch_totals),
            "stateful": {name: part.get_state() for name, part in self._stateful.items()},
        }
        self.checkpoints.save(self.step, values, state, wait=wait)

    def restore(self) -> list[str]:
        """Goes back to the newest sound checkpoint, if there is one.

        Returns:
          a line for each damaged checkpoint that was passed over.

        Raises:
          UserError: the workers do not see the same checkpoints.
        """
        checkpoint, damaged = self.checkpoints.restore()
        check_same_step(self._strategy, checkpoint.state["step"] if checkpoint else 0)
        if checkpoint is None and self._several_workers:
            take_from_chief(self._strategy, self._all_variables())
            spread_seeds(self.model, self._strategy)
        elif checkpoint is not None:
            assign_variables(self._all_variables(), checkpoint.arrays)
            spread_seeds(self.model, self._strategy)
            self.step = checkpoint.state["step"]
            self._epoch_totals = EpochTotals(*checkpoint.state["epoch_totals"])
            for name, part in self._stateful.items():
                part.set_state(checkpoint.state["stateful"][name])
        return damaged

    def save_best(self, *, wait: bool = True) -> None:
        """Keeps the model's weights as the best so far; arguments and errors are :meth:`save`'s."""
        values = read_variables(self.model.weights)
        self.checkpoints.save_best(values, {"step": self.step}, wait=wait)

    def restore_best(self) -> int:
        """Loads the best weights and returns the step at which they were kept.

        Raises:
          UserError: their file is missing or damaged.
        """
        best = self.checkpoints.read_best()
        assign_variables(self.model.weights, best.arrays)
        return best.state["step"]

    def advance(
        self,
        batches: Iterator,
        num_steps: int,
        steps_per_epoch: int,
        *,
        report: tuple[float, float] = (0.0, 0.0),
    ) -> Call:
        """Takes steps in one compiled call.

        Args:
          batches: of :meth:`distribute`.
          num_steps: how many.
          steps_per_epoch: only to name the batch when something is wrong.
          report: numbers that all workers get the sum of.

        Raises:
          UserError: the loss is not finite.
        """
        call = self._inner.take_steps(batches, num_steps, report)
        self.step += int(call.taken)
        if not np.isfinite(call.loss.total):
            epoch, batch = divmod(self.step - 1, steps_per_epoch)
            self._refuse(
                f"the loss is {float(call.loss.total)} at step {self.step} (epoch {epoch + 1}, "
                f"batch {batch + 1})"
            )
        self._epoch_totals = self._epoch_totals.plus(call.loss)
        return call

    def _refuse(self, finding: str) -> NoReturn:
        with contextlib.suppress(OSError, UserError):  # the finding is what matters
            self.checkpoints.wait()
        steps = self.checkpoints.steps()
        kept = f"the last good checkpoint is that of step {steps[-1]}" if steps else ""
        raise Diverged(
            f"{finding}; {kept or 'no checkpoint was written yet'}. Try a smaller --learning-rate "
            "or --clip-norm 1"
        )

    def _all_variables(self) -> list[keras.Variable]:
        # model.variables, unlike model.weights, has the seeds of every dropout.
        variables = [*self.model.variables, *self.optimizer.variables]
        parts = [part for part in (self.loss_scale, self._averages) if part is not None]
        return variables + [variable for part in parts for variable in part.variables]
