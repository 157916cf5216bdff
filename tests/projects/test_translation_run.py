"""What a run of the translation project leaves behind, and that it goes on bit for bit."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from projects.translation import train
from projects.translation.config import TranslationConfig
from projects.translation.model import build_measure, build_model, score
from tests.projects.translation import NUM_ROWS, as_arguments, tiny_config
from tfcamp.data import reversal
from tfcamp.data.packed_pairs import PackedPairs
from tfcamp.data.parallel_sources import load_parallel_dataset
from tfcamp.export.translation_model import load_translation_model
from tfcamp.text.subword import SubwordTokenizer, train_subwords
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID, UNKNOWN_ID
from tfcamp.training.callbacks import ProgressBar
from tfcamp.training.checkpoints import read_checkpoint
from tfcamp.training.progress import Progress

ROOT = Path(train.__file__).parents[2]
SCORES = {"bleu", "bleu_low", "bleu_high", "chrf", "chrf_low", "chrf_high"}
SCORES |= {"exact_match", "length_ratio"}

STEPS = 11  # of an epoch


class Crash(BaseException):
    """Ends a run without any clean-up."""


@pytest.mark.parametrize(
    ("dataset", "num_pairs", "epochs", "dropout", "learning_rate"),
    [
        ("sample", 9_999, 30, 0.15, 2e-3),
        ("mine.tsv", 10_000, 30, 0.2, 4e-3),
        ("mine.tsv", 100_001, 30, 0.1, 2e-3),
        ("reverse", 20_000, 10, 0.0, 2e-3),
    ],
)
def test_what_is_not_given_goes_by_the_data(dataset, num_pairs, epochs, dropout, learning_rate):
    sized = TranslationConfig(dataset).for_pairs(num_pairs)
    assert (sized.epochs, sized.dropout, sized.learning_rate) == (epochs, dropout, learning_rate)
    given = TranslationConfig(dataset, epochs=2, dropout=0.0, learning_rate=0.5)
    sized = given.for_pairs(num_pairs)
    assert (sized.epochs, sized.dropout, sized.learning_rate) == (2, 0.0, 0.5)


def crash(*_, **__) -> None:
    raise Crash


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def history_of(folder: Path) -> list[dict]:
    lines = (folder / "history.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def newest_checkpoint(folder: Path) -> dict[str, np.ndarray]:
    return dict(read_checkpoint(max((folder / "checkpoints").glob("step-*.npz"))).arrays)


def train_only(config: TranslationConfig, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Runs all but the export, which takes as long as the rest, and returns the history."""
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(train, "export_translation_model", crash)
        train.main(config)
    assert config.run_dir is not None
    return history_of(config.run_dir)


class TestFolder:
    def test_metrics_hold_every_figure_and_its_signature(self, translation_run) -> None:
        metrics = metrics_of(translation_run.folder)
        for split, num_rows in NUM_ROWS.items():
            scores = metrics[split]
            assert scores.keys() == {"rows", "signatures", *SCORES}
            assert scores["rows"] == num_rows
            assert 0 <= scores["bleu_low"] <= scores["bleu"] <= scores["bleu_high"] <= 100
            assert "|tok:zh|" in scores["signatures"]["bleu"]
            assert "|nc:6|" in scores["signatures"]["chrf"]
        assert metrics["best_step"] in (STEPS, 2 * STEPS) and metrics["parameters"] > 10_000
        assert metrics["vocabulary"] == {"source": 480, "target": 480}
        assert metrics["dataset"]["languages"] == ["en", "zh"]
        assert re.fullmatch(r"[0-9a-f]{64}", metrics["weights_sha256"])
        assert {"bleu", "chrf", "dev_perplexity"} <= metrics["units"].keys()

    def test_history_has_a_record_for_each_epoch(self, translation_run) -> None:
        records = history_of(translation_run.folder)
        assert [(record["step"], record["epoch"]) for record in records] == [
            (STEPS, 1),
            (2 * STEPS, 2),
        ]
        scores = {"loss", "perplexity", "token_accuracy", "bleu"}
        assert {f"dev_{score}" for score in scores} <= records[0].keys()
        assert records[1]["train_loss"] < records[0]["train_loss"]
        perplexity = np.exp(records[1]["dev_loss"])
        assert records[1]["dev_perplexity"] == pytest.approx(perplexity)

    def test_the_other_files(self, translation_run) -> None:
        folder = translation_run.folder
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        figures = {"learning_curves", "bleu_by_length"}
        assert {f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png")} <= files
        # Whether the machine has a font for their PNG is another matter.
        assert {f"figures/attention_{number}.svg" for number in (1, 2, 3)} <= files
        assert {"report.html", "data/joint.model", "saved_model/saved_model.pb"} <= files
        assert [name for name in files if ".partial" in name] == []

    def test_translations_stand_line_by_line(self, translation_run, translate, pairs) -> None:
        dataset = load_parallel_dataset(str(pairs), data_dir=None, seed=0)
        for name, split in (("dev", dataset.dev), ("train", dataset.train)):
            path = translation_run.folder / f"translations.{name}.zh"
            lines = path.read_text("utf-8").split("\n")
            assert lines.pop() == "" and len(lines) == len(split)
            assert lines == translate([pair.source for pair in split])[0]

    def test_the_weights_that_were_measured_are_the_best_ones_rounded(
        self, translation_run
    ) -> None:
        best = read_checkpoint(translation_run.folder / "checkpoints/best.npz").arrays
        digest = hashlib.sha256()
        for array in best.values():
            digest.update(array.astype(np.float16).astype(np.float32).tobytes())
        metrics = metrics_of(translation_run.folder)
        assert digest.hexdigest() == metrics["exported_weights_sha256"]

    def test_the_report_shows_the_figures_and_makes_no_request(self, translation_run) -> None:
        page = (translation_run.folder / "report.html").read_text("utf-8")
        assert page.count("<svg") == 5 and "|tok:zh|" in page
        assert "BLEU by length" in page and "Where the model looks" in page
        links = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'>\s]*)", page)
        assert [link for link in links if not link.startswith(("#", "data:"))] == []
        assert "url(http" not in page and "@import" not in page

    def test_the_table_is_printed(self, translation_run) -> None:
        test = metrics_of(translation_run.folder)["test"]
        interval = rf"{test['bleu']:.2f} \[{test['bleu_low']:.2f}, {test['bleu_high']:.2f}\]"
        signature = re.escape(test["signatures"]["bleu"])
        expected = rf"^test \(8 sentences, .*\n +BLEU {interval} {signature}$"
        assert re.search(expected, translation_run.printed, re.MULTILINE)
        assert "what a small sample can teach" in translation_run.printed
        left_out = r"^(\d+) of 60 pairs left out: \1 longer than 24 tokens$"
        assert re.search(left_out, translation_run.printed, re.MULTILINE)
        last = translation_run.printed.splitlines()[-2:]
        assert [line.split()[0] for line in last] == ["report", "SavedModel"]

    def test_a_finished_run_is_left_alone(self, translation_run, pairs, capsys) -> None:
        before = (translation_run.folder / "metrics.json").read_bytes()
        train.main(tiny_config(translation_run.folder, pairs))
        assert "holds a finished run" in capsys.readouterr().out
        assert (translation_run.folder / "metrics.json").read_bytes() == before


class TestData:
    def test_subwords_are_learnt_from_the_training_split_only(self, translation_run, pairs):
        sample = load_parallel_dataset(str(pairs), data_dir=None, seed=0)
        texts = [text for pair in sample.train for text in pair]
        expected = train_subwords(texts, vocabulary_size=480, character_coverage=0.98)
        assert (translation_run.folder / "data/joint.model").read_bytes() == expected

    def test_dev_is_measured_whole(self, translation_run) -> None:
        """What is too long is left out of training only."""
        train_pairs, dev = (
            PackedPairs(translation_run.folder / f"data/{split}") for split in ("train", "dev")
        )
        assert len(dev) == NUM_ROWS["dev"]
        assert len(train_pairs) < NUM_ROWS["train"] and train_pairs.lengths.max() <= 24

    def test_what_is_packed_are_the_sentences(self, translation_run, pairs) -> None:
        subwords = SubwordTokenizer((translation_run.folder / "data/joint.model").read_bytes())
        packed = PackedPairs(translation_run.folder / "data/dev")
        inputs, labels, _ = packed.read(np.arange(len(packed)), (24, 24))
        texts = [
            [text.decode() for text in subwords.decode(ids).numpy()]
            for ids in (inputs["source"], labels)
        ]
        dev = load_parallel_dataset(str(pairs), data_dir=None, seed=0).dev
        assert texts == [[pair.source for pair in dev], [pair.target for pair in dev]]


class TestMeasure:
    """What each epoch says of the dev split."""

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> keras.Model:
        keras.utils.set_random_seed(0)
        config = tiny_config(Path("unused"), "unused")
        return build_model(config, 40, 40, dropout=0.5, num_layers=1)

    @pytest.fixture(scope="class")
    @classmethod
    def batch(cls) -> tuple:
        """Two pairs of 3 and 5 target tokens, and one that only fills up the batch."""
        target = np.array([[2, 9, 8, 0, 0], [2, 7, 9, 9, 30], [2, 5, 5, 5, 5]], np.int32)
        labels = np.array([[9, 8, 3, 0, 0], [7, 9, 9, 30, 3], [5, 5, 5, 5, 3]], np.int32)
        weights = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], np.float32)
        source = np.array([[11, 12, 3, 0], [13, 14, 15, 3], [5, 3, 0, 0]], np.int32)
        inputs = {"source": tf.constant(source), "target": tf.constant(target)}
        return inputs, tf.constant(labels), tf.constant(weights)

    def test_tokens_count_and_padding_does_not(self, model, batch) -> None:
        inputs, labels, weights = (tf.nest.map_structure(np.asarray, part) for part in batch)
        measured = build_measure(model, 6)(batch)
        log_probabilities = log_softmax(model(inputs, training=False), axis=-1)
        of_labels = np.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]
        np.testing.assert_allclose(measured["loss"], -(of_labels * weights).sum(1), rtol=1e-4)
        is_right = log_probabilities.argmax(-1) == labels
        np.testing.assert_allclose(measured["right"], (is_right * weights).sum(1))
        np.testing.assert_array_equal(measured["tokens"], [3, 5, 0])

    def test_it_writes_by_itself(self, model, batch) -> None:
        """Its own tokens, whatever the reference says, one after another."""
        ids = build_measure(model, 6)(batch)["ids"].numpy()
        assert ids.shape == (3, 6)
        source = batch[0]["source"].numpy()
        written = np.full([3, 1], BEGIN_ID)
        for _ in range(5):  # the last one must be the end
            logits = model({"source": source, "target": written}, training=False).numpy()
            logits[..., [PADDING_ID, UNKNOWN_ID, BEGIN_ID]] = -np.inf
            written = np.concatenate([written, logits[:, -1:].argmax(-1)], axis=1)
        for row, expected in zip(ids, written[:, 1:], strict=True):
            length = int((row != PADDING_ID).sum()) - 1
            assert row[length] == END_ID
            assert row[:length].tolist() == expected[:length].tolist()

    def test_a_score_is_that_of_the_corpus(self) -> None:
        """Not the mean over its sentences."""

        class Subwords:
            def decode(self, ids):
                return tf.constant(["一只狗在跑", "两个女人在笑"])

        measured = {
            "loss": np.array([2.0, 10.0]),
            "tokens": np.array([2.0, 4.0]),
            "right": np.array([2.0, 1.0]),
            "ids": np.zeros([2, 3], np.int32),
        }
        data: Any = SimpleNamespace(
            target_subwords=Subwords(), dataset=SimpleNamespace(target_language="zh")
        )
        scores = score(["一只狗在跑", "两个女人在笑"], data, measured)
        expected = {"loss": 2.0, "perplexity": np.exp(2.0), "token_accuracy": 0.5, "bleu": 100.0}
        assert scores == pytest.approx(expected)


@pytest.mark.slow
def test_stopped_in_an_epoch_it_ends_with_the_same_bits(
    translation_run, pairs, tmp_path, monkeypatch, command
):
    """Dropout, the order of the batches, the mean of the weights: all goes on from where it was."""

    class StoppingBar(ProgressBar):
        def __call__(self, progress: Progress) -> None:
            super().__call__(progress)
            if progress.step == STEPS + 4:
                os.kill(os.getpid(), signal.SIGTERM)

    config = tiny_config(tmp_path / "run", pairs)
    with monkeypatch.context() as patch:
        patch.setattr(train, "ProgressBar", StoppingBar)
        stopped = command(train.main, TranslationConfig, *as_arguments(config))
    assert stopped.status == 128 + signal.SIGTERM and f"at step {STEPS + 4}" in stopped.out
    subwords = (tmp_path / "run/data/joint.model").stat().st_mtime_ns
    records = train_only(config, monkeypatch)
    assert (tmp_path / "run/data/joint.model").stat().st_mtime_ns == subwords
    expected = history_of(translation_run.folder)
    for name in ("train_loss", "dev_loss", "dev_bleu", "learning_rate"):
        assert [row[name] for row in records] == [row[name] for row in expected]
    ours, theirs = newest_checkpoint(tmp_path / "run"), newest_checkpoint(translation_run.folder)
    assert len(ours) > 100
    for (name, array), other in zip(ours.items(), theirs.values(), strict=True):
        np.testing.assert_array_equal(array, other, err_msg=name)


@pytest.mark.slow
def test_reversal_is_learnt_a_little_in_a_few_steps(tmp_path, monkeypatch) -> None:
    """The task needs no data and no options: its subwords are as many as it has."""
    monkeypatch.setattr(reversal, "NUM_ROWS", {"train": 400, "dev": 20, "test": 20})
    changes = {"vocabulary_size": None, "character_coverage": 0.9999, "batch_tokens": 512}
    config = tiny_config(tmp_path / "run", "reverse", dropout=0.0, max_tokens=32, **changes)
    first, second = train_only(config, monkeypatch)
    assert second["train_loss"] < first["train_loss"] - 0.5
    assert second["dev_loss"] < first["dev_loss"]


class TestReplicas:
    @pytest.mark.slow
    def test_two_replicas_take_the_same_steps_as_one(
        self, pairs, tmp_path, monkeypatch, two_replicas
    ) -> None:
        """Each takes half of the pairs of a batch, in which tokens count, not pairs."""
        config = tiny_config(tmp_path / "one", pairs, dropout=0.0)
        one = train_only(config, monkeypatch)
        monkeypatch.setattr(train, "choose_strategy", lambda *_, **__: two_replicas)
        two = train_only(tiny_config(tmp_path / "two", pairs, dropout=0.0), monkeypatch)
        for name in ("train_loss", "dev_loss", "dev_token_accuracy", "dev_bleu"):
            ours, theirs = ([record[name] for record in records] for records in (two, one))
            assert ours == pytest.approx(theirs, rel=1e-5), name

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("launcher", "options"),
        [
            ([], {"strategy": "mirrored", "virtual_devices": 2}),
            (["launch", "--workers", "2", "--"], {"strategy": "multi_worker"}),
        ],
        ids=["virtual devices", "workers"],
    )
    def test_from_the_first_line_to_the_report(self, pairs, tmp_path, launcher, options) -> None:
        config = tiny_config(tmp_path / "run", pairs, max_steps=2, **options)
        script = [sys.executable, "projects/translation/train.py", *as_arguments(config)]
        if launcher:
            script = [
                sys.executable,
                "-c",
                "from tfcamp.cli import main; main()",
                *launcher,
                *script,
            ]
        ended = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-2000:]
        metrics = metrics_of(tmp_path / "run")
        assert metrics["test"]["rows"] == NUM_ROWS["test"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"model": "seq2seq", "attention": "additive", "source": "zh"},
        {"model": "seq2seq", "attention": "none", "cell": "lstm", "num_layers": 2},
        # Of as many subwords as the sentences yield, which is not the same in both languages.
        {"joint_vocabulary": False, "target": "en", "vocabulary_size": None},
        {"norm": "post", "positions": "learned", "accumulate": 2, "average_decay": 0.0},
        {"precision": "bfloat16", "jit_compile": True, "stop_on": "loss", "max_steps": 3},
    ],
    ids=["seq2seq, zh-en", "no attention", "two vocabularies, zh-en", "post", "compiled"],
)
def test_other_ways_to_train(pairs, tmp_path, options) -> None:
    train.main(tiny_config(tmp_path / "run", pairs, **options))
    metrics = metrics_of(tmp_path / "run")
    turned = "source" in options or "target" in options
    assert metrics["dataset"]["languages"] == (["zh", "en"] if turned else ["en", "zh"])
    tokenizer = "|tok:13a|" if turned else "|tok:zh|"
    assert tokenizer in metrics["test"]["signatures"]["bleu"]
    served = load_translation_model(tmp_path / "run/saved_model")
    sentence = "早上好。" if turned else "Good morning."
    for beam_size in (1, 4, 8):
        (text,), (score,) = served([sentence], beam_size=beam_size)
        assert isinstance(text, str) and score < 0
    seen = served.attention([sentence])
    maps = list((tmp_path / "run/figures").glob("attention_*.svg"))
    if options.get("attention") == "none":
        assert seen is None and maps == []
    else:
        assert seen is not None and seen[0].source[-1] == "</s>" and len(maps) == 3
        np.testing.assert_allclose(seen[0].shares.sum(axis=1), 1, atol=1e-5)
    if not options.get("joint_vocabulary", True):
        folder = tmp_path / "run/data"
        sizes = metrics["vocabulary"]
        assert sizes["source"] > sizes["target"] > 300  # Chinese has more characters
        assert (folder / "source.model").exists() and (folder / "target.model").exists()
