"""Trains a translator: raw sentences in, a measured and exported model out.

python projects/translation/train.py                                       the embedded sample
python projects/translation/train.py --dataset multi30k --data-dir DIR     German to English
python projects/translation/train.py --dataset my.tsv --source en --target zh    your own pairs
python projects/translation/train.py --help                                every option
"""

import contextlib
import functools

from projects.translation.config import MAY_DIFFER, SMALL_DATA, TranslationConfig
from projects.translation.data import evaluation_stream, prepare, train_stream
from projects.translation.evaluate import evaluate
from projects.translation.model import build_measure, build_model, score
from projects.translation.results import write_results
from tfcamp.cli import run_project
from tfcamp.export.half_precision import round_weights
from tfcamp.export.translation_model import export_translation_model, load_translation_model
from tfcamp.losses import cross_entropy
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


def main(config: TranslationConfig) -> None:
    """Train a translator, measure it and export it."""
    # 1. The devices, before anything uses one; and the run folder: a new one, or one that an
    # earlier process left unfinished. Of several workers, only the chief writes into it.
    strategy = choose_strategy(config.strategy, virtual_devices=config.virtual_devices)
    with open_training_run(config, "translation", strategy, may_differ=MAY_DIFFER) as (
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
    config: TranslationConfig,
    strategy: tf.distribute.Strategy,
    run: Run,
    checkpoints: CheckpointFolder,
    *,
    trial_epochs: int | None = None,
) -> float | None:
    """Does the whole job, from pairs to report; steps 2 to 6.

    Returns the best score on the dev split. A trial of tune.py ends before step 5, after
    `trial_epochs` of the epochs, 0 for all; called again with more, it goes on as if it had not
    paused.
    """
    keras.utils.set_random_seed(config.seed)
    precision = set_precision(config.precision)

    # 2. Pairs, subwords, packed ids: fitted on the training split only.
    data = prepare(config, run)
    check_agreement(
        strategy,
        int(data.dataset.sha256[:12], 16),
        f"--dataset {config.dataset}: the workers read different rows",
    )
    sized = data.sized
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    static_shapes = on_tpu or config.jit_compile  # XLA compiles each shape anew
    train_batches = train_stream(config, data, static_shapes=static_shapes)
    dev_batches = evaluation_stream(config, data, static_shapes=static_shapes)
    padding = train_batches.padding()
    run.say(
        f"{train_batches.steps_per_epoch:,} batches an epoch, {padding.token_share:.1%} of their "
        "positions are tokens, the rest padding"
    )

    # 3. The model, its loss and its optimizer.
    # The schedule must know where it ends.
    total_steps = sized.epochs * train_batches.steps_per_epoch
    total_steps = min(total_steps, config.max_steps or total_steps)
    schedule = build_schedule(
        config.schedule,
        sized.learning_rate,
        warmup_steps=round(config.warmup * total_steps),
        total_steps=total_steps,
    )
    build = functools.partial(
        build_model,
        source_vocabulary=len(data.source_subwords),
        target_vocabulary=len(data.target_subwords),
        dropout=sized.dropout,
        num_layers=sized.num_layers,
    )
    with strategy.scope():
        model = build(config)
        optimizer = build_optimizer(
            "row_sparse_adam", schedule, model, weight_decay=config.weight_decay
        )

    # 4. The loop goes on where the newest checkpoint stands.
    stopping = EarlyStopping(patience=config.patience, smaller_is_better=config.stop_on == "loss")
    trainer = Trainer(
        model,
        optimizer,
        functools.partial(cross_entropy, label_smoothing=config.label_smoothing),
        checkpoints=checkpoints,
        strategy=strategy,
        options=StepOptions(
            clip_norm=config.clip_norm,
            accumulate=config.accumulate,
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
    num_epochs = 0 if stopping.should_stop else min(sized.epochs, trial_epochs or sized.epochs)
    measure = build_measure(model, config.max_tokens)
    references = [row.target for row in data.dataset.dev]
    with (
        contextlib.closing(ProgressBar(shown=run.chief)) as bar,
        contextlib.closing(
            trainer.epochs(train_batches, num_epochs, max_steps=config.max_steps, observers=[bar])
        ) as epochs_of_training,
    ):
        # The steps are taken inside epochs(); this body runs once after each epoch.
        for progress in epochs_of_training:
            with trainer.averaged_weights():  # the weights as they are, without --average-decay
                scores = score(references, data, trainer.predict(dev_batches, measure))
                if stopping.update(scores[config.stop_on]):
                    trainer.save_best(wait=False)
            record = {
                "step": progress.step,
                "epoch": progress.epoch,
                "train_loss": progress.loss,
                "learning_rate": progress.learning_rate,
                "target_tokens_per_second": progress.examples_per_second
                * data.target_tokens_per_pair,
                "data_wait": progress.data_wait,
                **{f"dev_{name}": value for name, value in scores.items()},
            }
            history.append(record)
            board.append(record)
            run.say(
                f"epoch {progress.epoch}: training loss {progress.loss:.4f}, dev perplexity "
                f"{scores['perplexity']:.2f}, dev token accuracy {scores['token_accuracy']:.4f}, "
                f"dev BLEU {scores['bleu']:.2f} (greedy)"
            )
            if slow := slow_input(progress):
                run.say(slow)
            trainer.save(wait=False)
            if stopping.should_stop:
                run.say(stopped)
                break

    # 5. The best model is exported, and measured as it will be served: raw sentences in.
    if not run.chief or trial_epochs is not None:
        return stopping.best
    final_weights = weights_sha256(model)
    best_step = trainer.restore_best()
    # What no signature can give: what the model thinks of the references.
    teacher_forced = next(it for it in history.records if it["step"] == best_step)
    # The export stores weights in half precision: rounded now, this model is what is shipped.
    round_weights(model)
    set_precision("float32")  # which every machine that serves it computes in
    serving = build(config)
    serving.set_weights(model.get_weights())
    saved_model = config.export_dir or run.folder / "saved_model"
    export_translation_model(
        saved_model,
        data.source_subwords,
        data.target_subwords,
        serving,
        max_tokens=config.max_tokens,
        length_penalty=config.length_penalty,
    )
    served = load_translation_model(saved_model)
    splits = {"dev": data.dataset.dev, "test": data.dataset.test}
    if len(data.dataset.train) < SMALL_DATA:
        # What it has seen beside what it has not: all that a small sample can teach.
        splits["train"] = data.dataset.train
    evaluations = {
        name: evaluate(served, pairs, data.dataset.target_language)
        for name, pairs in splits.items()
        if pairs is not None
    }

    # 6. Figures, the report, and metrics.json, which marks the run as finished.
    facts = {
        "asked": {
            "epochs": sized.epochs,
            "max_steps": config.max_steps,
            "patience": config.patience,
        },
        "best_step": best_step,
        "precision": precision,
        "parameters": model.count_params(),
        "vocabulary": {"source": len(data.source_subwords), "target": len(data.target_subwords)},
        "dev_perplexity": teacher_forced["dev_perplexity"],
        "dev_token_accuracy": teacher_forced["dev_token_accuracy"],
        "weights_sha256": final_weights,
        "exported_weights_sha256": weights_sha256(model),
        "saved_model": str(config.export_dir or run.home / "saved_model"),
    }
    write_results(run, config, data, served, history.records, evaluations, facts)
    return stopping.best


if __name__ == "__main__":
    run_project(main, TranslationConfig)
