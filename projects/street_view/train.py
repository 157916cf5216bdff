"""Trains a reader of house numbers: encoded images in, a measured and exported model out.

python projects/street_view/train.py                                 numbers drawn here
python projects/street_view/train.py --dataset street_view --data-dir DIR --epochs 40
python projects/street_view/train.py --model resnet --dataset street_view_digits --data-dir DIR
python projects/street_view/train.py --help                          every option
"""

import contextlib

from projects.street_view.config import MAY_DIFFER, StreetConfig
from projects.street_view.data import evaluation_stream, prepare, train_stream
from projects.street_view.evaluate import evaluate
from projects.street_view.model import begin_from, build_loss, build_model, decoder, score
from projects.street_view.results import write_results
from tfcamp.cli import run_project
from tfcamp.decoding.ctc import decode_by_beam_search
from tfcamp.errors import UserError
from tfcamp.export.image_model import export_image_model, load_image_model
from tfcamp.models.flops import count_flops
from tfcamp.models.trunks import trunk_of
from tfcamp.runs import Run
from tfcamp.training.callbacks import (
    EarlyStopping,
    History,
    ProgressBar,
    TensorBoard,
    slow_input,
)
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.fine_tuning import build_fine_tuning_optimizer
from tfcamp.training.optimizers import build_optimizer, build_schedule
from tfcamp.training.precision import set_precision
from tfcamp.training.step import StepOptions
from tfcamp.training.strategy import check_agreement, choose_strategy
from tfcamp.training.trainer import Trainer
from tfcamp.training.variables import weights_sha256
from tfcamp.training_run import open_training_run

import keras
import tensorflow as tf


def main(config: StreetConfig) -> None:
    """Train a reader of house numbers, measure it and export it."""
    # 1. The devices, before anything uses one; and the run folder: a new one, or one that an
    # earlier process left unfinished. Of several workers, only the chief writes into it.
    strategy = choose_strategy(config.strategy, virtual_devices=config.virtual_devices)
    with open_training_run(config, "street_view", strategy, may_differ=MAY_DIFFER) as (
        run,
        checkpoints,
    ):
        if run.is_finished(config):
            run.say(
                f"{run.home} holds a finished run; more --epochs, --max-steps or --patience goes on"
            )
        else:
            train(config, strategy, run, checkpoints)


def train(
    config: StreetConfig,
    strategy: tf.distribute.Strategy,
    run: Run,
    checkpoints: CheckpointFolder,
    *,
    trial_epochs: int | None = None,
) -> float | None:
    """Does the whole job, from pictures to report; steps 2 to 6.

    Returns the best score on the dev split. A trial of tune.py ends before step 5, after
    `trial_epochs` of the epochs, 0 for all; called again with more, it goes on as if it had not
    paused.
    """
    keras.utils.set_random_seed(config.seed)
    precision = set_precision(config.precision)

    # 2. Pictures, cut out and decoded once. A batch is read from disk and augmented.
    data = prepare(config, run)
    check_agreement(
        strategy,
        int(data.dataset.sha256[:12], 16),
        f"--dataset {config.dataset}: the workers read different rows",
    )
    batch_size = min(config.batch_size, len(data.train))
    check_batch_size(batch_size, strategy, config.accumulate)
    train_batches = train_stream(config, data.train, batch_size)
    dev_batches = evaluation_stream(data.dev)

    # 3. The model, its loss and its optimizer.
    # The schedule must know where it ends.
    total_steps = config.num_epochs * train_batches.steps_per_epoch
    total_steps = min(total_steps, config.max_steps or total_steps)
    schedule = build_schedule(
        config.schedule,
        config.learning_rate,
        warmup_steps=round(config.warmup * total_steps),
        total_steps=total_steps,
    )
    with strategy.scope():
        model = build_model(config)
        # A checkpoint holds more than that; the other workers take their weights from the chief.
        if config.init_from is not None and run.chief and checkpoints.restore()[0] is None:
            run.say(begin_from(config, model))
        if config.freeze_trunk:
            trunk_of(model).trainable = False
        if config.trunk_learning_rate < 1:
            optimizer = build_fine_tuning_optimizer(
                schedule,
                model,
                trunk_of(model),
                slow_factor=config.trunk_learning_rate,
                weight_decay=config.weight_decay,
            )
        else:
            optimizer = build_optimizer(
                "row_sparse_adam", schedule, model, weight_decay=config.weight_decay
            )

    # 4. The loop goes on where the newest checkpoint stands.
    stopping = EarlyStopping(patience=config.patience, smaller_is_better=config.stop_on == "loss")
    trainer = Trainer(
        model,
        optimizer,
        build_loss(config),
        checkpoints=checkpoints,
        strategy=strategy,
        options=StepOptions(
            clip_norm=config.clip_norm,
            accumulate=config.accumulate,
            jit_compile=config.jit_compile,
        ),
        average_decay=config.average_decay,
        steps_per_call=config.steps_per_call,
        save_seconds=config.save_seconds,
        stateful={"stopping": stopping, "run": run},
    )
    for line in trainer.restore():  # names each damaged checkpoint that was passed over
        run.say(line)
    if trainer.step:
        run.say(f"resumed at step {trainer.step:,}")
    run.reopen()  # until step 6 it counts as unfinished
    history = History(run.folder / "history.jsonl")
    history.rewind(trainer.step)  # what came after the checkpoint will be measured again
    board = TensorBoard(run.folder / "tensorboard")
    stopped = f"no better dev {config.stop_on} for {config.patience} epochs: stopped"
    if stopping.should_stop:
        run.say(f"{stopped} before; a larger --patience goes on")
    num_epochs = (
        0 if stopping.should_stop else min(config.num_epochs, trial_epochs or config.num_epochs)
    )
    with (
        contextlib.closing(ProgressBar(shown=run.chief)) as bar,
        contextlib.closing(
            trainer.epochs(train_batches, num_epochs, max_steps=config.max_steps, observers=[bar])
        ) as epochs_of_training,
    ):
        # The steps are taken inside epochs(); this body runs once after each epoch.
        for progress in epochs_of_training:
            with trainer.averaged_weights():  # the weights as they are, without --average-decay
                scores = score(config, data.dev.labels, trainer.predict(dev_batches))
                if stopping.update(scores[config.stop_on]):
                    trainer.save_best(wait=False)
            record = {
                "step": progress.step,
                "epoch": progress.epoch,
                "train_loss": progress.loss,
                "learning_rate": progress.learning_rate,
                "examples_per_second": progress.examples_per_second,
                "data_wait": progress.data_wait,
                **{f"dev_{name}": value for name, value in scores.items()},
            }
            history.append(record)
            board.append(record)
            run.say(
                f"epoch {progress.epoch}: training loss {progress.loss:.4f}, dev loss "
                f"{scores['loss']:.4f}, dev accuracy {scores['accuracy']:.4f}"
            )
            if slow := slow_input(progress):
                run.say(slow)
            trainer.save(wait=False)
            if stopping.should_stop:
                run.say(stopped)
                break

    # 5. The best model is exported, and measured as it will be served: files in, numbers out.
    if not run.chief or trial_epochs is not None:
        return stopping.best
    final_weights = weights_sha256(model)
    best_step = trainer.restore_best()
    saved_model = config.export_dir or run.folder / "saved_model"
    # Beam search finds a little more than the greedy path, and is fast enough to serve.
    decode = decode_by_beam_search if config.model == "ctc" else decoder(config)
    set_precision("float32")  # which every machine that serves it computes in
    serving = build_model(config)
    serving.set_weights(model.get_weights())
    export_image_model(saved_model, serving, decode)
    served = load_image_model(saved_model)
    splits = {"dev": data.dataset.dev, "test": data.dataset.test}
    evaluations = {
        name: evaluate(served, rows) for name, rows in splits.items() if rows is not None
    }

    # 6. Figures, the report, and metrics.json, which marks the run as finished.
    facts = {
        "asked": {
            "epochs": config.num_epochs,
            "max_steps": config.max_steps,
            "patience": config.patience,
        },
        "best_step": best_step,
        "precision": precision,
        "parameters": model.count_params(),
        "flops": count_flops(model),
        "weights_sha256": final_weights,
        "exported_weights_sha256": weights_sha256(model),
        "saved_model": str(config.export_dir or run.home / "saved_model"),
    }
    write_results(run, config, data, served, history.records, evaluations, facts)
    return stopping.best


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy, accumulate: int) -> None:
    """Makes sure that no row only fills up a batch: batch normalisation would count it.

    Raises:
      UserError: the parts of a batch would not be equal.
    """
    parts = strategy.num_replicas_in_sync * accumulate
    if batch_size % parts:
        raise UserError(
            f"--batch-size {batch_size}: expected a multiple of {parts}, replicas times "
            "--accumulate, and not more than there are training rows"
        )


if __name__ == "__main__":
    run_project(main, StreetConfig)
