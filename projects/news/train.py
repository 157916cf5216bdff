"""Trains a news classifier: raw Chinese text in, a measured and exported model out.

python projects/news/train.py                                    the embedded sample, a minute
python projects/news/train.py --dataset thucnews --data-dir DIR  98,000 titles or more
python projects/news/train.py --dataset my.tsv                   your own rows
python projects/news/train.py --help                             every option
"""

import contextlib

from projects.news.config import MAY_DIFFER, NewsConfig
from projects.news.data import evaluation_stream, prepare, train_stream
from projects.news.evaluate import evaluate
from projects.news.model import build_loss, build_model
from projects.news.results import write_results
from tfcamp.cli import run_project
from tfcamp.errors import UserError
from tfcamp.export.saved_model import (
    export_text_classifier,
    load_text_classifier,
    round_embeddings,
)
from tfcamp.metrics.classification import ClassificationMetrics
from tfcamp.runs import Run
from tfcamp.training.callbacks import (
    EarlyStopping,
    History,
    ProgressBar,
    TensorBoard,
    slow_input,
)
from tfcamp.training.checkpoints import CheckpointFolder
from tfcamp.training.optimizers import build_optimizer, build_schedule
from tfcamp.training.precision import set_precision
from tfcamp.training.step import StepOptions
from tfcamp.training.strategy import check_agreement, choose_strategy
from tfcamp.training.trainer import Trainer
from tfcamp.training.variables import weights_sha256
from tfcamp.training_run import open_training_run

import keras
import tensorflow as tf
from scipy.special import softmax


def main(config: NewsConfig) -> None:
    """Train a Chinese news classifier, measure it and export it."""
    # 1. The devices, before anything uses one; and the run folder: a new one, or one that an
    # earlier process left unfinished. Of several workers, only the chief writes into it.
    strategy = choose_strategy(config.strategy, virtual_devices=config.virtual_devices)
    if config.adversarial_norm and strategy.num_replicas_in_sync > 1:
        raise UserError("--adversarial-norm works on one replica only: give --strategy one")
    with open_training_run(config, "news", strategy, may_differ=MAY_DIFFER) as (run, checkpoints):
        if run.is_finished(config):
            run.say(
                f"{run.home} holds a finished run; more --epochs, --max-steps or --patience goes on"
            )
        else:
            train(config, strategy, run, checkpoints)


def train(
    config: NewsConfig,
    strategy: tf.distribute.Strategy,
    run: Run,
    checkpoints: CheckpointFolder,
    *,
    trial_epochs: int | None = None,
) -> float | None:
    """Does the whole job, from rows to report; steps 2 to 6.

    Returns the best score on the dev split. A trial of tune.py ends before step 5, after
    `trial_epochs` of the epochs, 0 for all; called again with more, it goes on as if it had not
    paused.
    """
    keras.utils.set_random_seed(config.seed)
    set_precision(config.precision)

    # 2. Rows, tokens, vocabulary, word vectors, packed ids: fitted on the training split only.
    data = prepare(config, run)
    check_agreement(
        strategy,
        int(data.dataset.sha256[:12], 16),
        f"--dataset {config.dataset}: the workers read different rows",
    )
    epochs, batch_size = config.epochs_and_batch_size(len(data.train))
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    static_shapes = on_tpu or config.jit_compile  # XLA compiles each shape anew
    train_batches = train_stream(config, data.train, batch_size, static_shapes=static_shapes)
    dev_batches = evaluation_stream(config, data.dev, static_shapes=static_shapes)

    # 3. The model, its loss and its optimizer.
    # The schedule must know where it ends.
    total_steps = epochs * train_batches.steps_per_epoch
    total_steps = min(total_steps, config.max_steps or total_steps)
    schedule = build_schedule(
        config.schedule,
        config.learning_rate,
        warmup_steps=round(config.warmup * total_steps),
        total_steps=total_steps,
    )
    with strategy.scope():
        model = build_model(config, data)
        optimizer = build_optimizer(
            config.optimizer, schedule, model, weight_decay=config.weight_decay
        )

    # 4. The loop goes on where the newest checkpoint stands.
    stopping = EarlyStopping(patience=config.patience, smaller_is_better=config.stop_on == "loss")
    trainer = Trainer(
        model,
        optimizer,
        build_loss(config, data),
        checkpoints=checkpoints,
        strategy=strategy,
        options=StepOptions(
            clip_norm=config.clip_norm,
            accumulate=config.accumulate,
            adversarial_norm=config.adversarial_norm,
            dense_gradients=on_tpu,
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
    num_epochs = 0 if stopping.should_stop else min(epochs, trial_epochs or epochs)
    with (
        contextlib.closing(ProgressBar(shown=run.chief)) as bar,
        contextlib.closing(
            trainer.epochs(train_batches, num_epochs, max_steps=config.max_steps, observers=[bar])
        ) as epochs_of_training,
    ):
        # The steps are taken inside epochs(); this body runs once after each epoch.
        for progress in epochs_of_training:
            dev = ClassificationMetrics(data.dataset.classes)
            with trainer.averaged_weights():  # the weights as they are, without --average-decay
                # The model returns logits.
                dev.update(data.dev.labels, softmax(trainer.predict(dev_batches), axis=-1))
                scores = dev.result().scalars()
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

    # 5. The best model is exported, and measured as it will be served: raw text in.
    if not run.chief or trial_epochs is not None:
        return stopping.best
    final_weights = weights_sha256(model)
    best_step = trainer.restore_best()
    # The export stores embeddings in half precision: rounded now, this model is what is shipped.
    round_embeddings(model)
    classes = data.dataset.classes
    saved_model = config.export_dir or run.folder / "saved_model"
    set_precision("float32")  # which every machine that serves it computes in
    serving = build_model(config, data)
    serving.set_weights(model.get_weights())
    export_text_classifier(saved_model, data.encoder, serving, classes)
    served = load_text_classifier(saved_model)
    splits = {"dev": data.dataset.dev, "test": data.dataset.test}
    evaluations = {
        name: evaluate(served, rows, classes) for name, rows in splits.items() if rows is not None
    }

    # 6. Figures, the report, and metrics.json, which marks the run as finished.
    facts = {
        "asked": {
            "epochs": epochs,
            "max_steps": config.max_steps,
            "patience": config.patience,
        },
        "best_step": best_step,
        "parameters": model.count_params(),
        "weights_sha256": final_weights,
        "exported_weights_sha256": weights_sha256(model),
        "saved_model": str(config.export_dir or run.home / "saved_model"),
    }
    write_results(run, config, data, model, history.records, evaluations, facts)
    return stopping.best


if __name__ == "__main__":
    run_project(main, NewsConfig)
