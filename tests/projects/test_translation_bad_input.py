"""Every mistake of the user's is one line on stderr and exit status 2, and loses nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from projects.translation import evaluate, predict, train
from projects.translation.config import TranslationConfig
from projects.translation.evaluate import EvaluateConfig
from projects.translation.predict import PredictConfig
from tests.projects.translation import as_arguments, tiny_config


@pytest.fixture
def refused(command, pairs, tmp_path) -> Callable[..., str]:
    """Runs train.py, which must refuse; returns its one line without "error: "."""

    def run(*arguments: object, run_dir: Path = tmp_path / "run", data: object = pairs) -> str:
        options = as_arguments(tiny_config(run_dir, str(data)))
        answer = command(train.main, TranslationConfig, *options, *arguments)
        assert answer.status == 2
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1, answer.err
        assert not (run_dir / "metrics.json").exists()
        return answer.err.removeprefix("error: ").rstrip("\n")

    return run


class TestOptions:
    @pytest.mark.parametrize(
        ("option", "value", "expected"),
        [
            ("--epochs", 0, "at least 1"),
            ("--max-tokens", 1, "at least 2, one token and the end"),
            ("--batch-tokens", 16, "at least --max-tokens 24"),
            ("--max-ratio", 0.5, "at least 1"),
            ("--max-ratio", "nan", "at least 1"),
            ("--vocabulary-size", 256, "at least 300, for all bytes"),
            ("--character-coverage", 0.9, "[0.98, 1]"),
            ("--learning-rate", 0, "above 0"),
            ("--warmup", 1, "[0, 1)"),
            ("--dropout", 1, "[0, 1)"),
            ("--label-smoothing", -0.1, "[0, 1)"),
            ("--average-decay", 1, "[0, 1)"),
            ("--clip-norm", 0, "above 0"),
            ("--length-penalty", -1, "at least 0"),
            ("--seed", 2**32, "below 2**32"),
            ("--num-layers", 0, "at least 1"),
            ("--virtual-devices", 0, "at least 1"),
        ],
    )
    def test_a_value_that_cannot_work(self, refused, tmp_path, option, value, expected) -> None:
        line = refused(option, value)
        assert line.startswith(f"{option} {value}") and expected in line
        assert not (tmp_path / "run").exists()

    def test_tables_of_two_vocabularies_are_not_one(self, refused) -> None:
        line = refused("--no-joint-vocabulary", "--tie-embeddings", "all")
        assert line == "--tie-embeddings all: expected none or target without --joint-vocabulary"

    def test_heads_that_do_not_share_the_width(self, refused) -> None:
        line = refused("--num-heads", 3)
        assert line.startswith("--model transformer: width must be a multiple of num_heads")

    def test_an_odd_width(self, refused) -> None:
        line = refused("--model", "seq2seq", "--width", 15)
        assert line == "--model seq2seq: two directions need an even width, got 15"

    def test_a_folder_that_the_export_would_delete(self, refused, tmp_path) -> None:
        (tmp_path / "thesis.tex").write_text("")
        assert "holds something else than a SavedModel" in refused("--export-dir", tmp_path)

    def test_other_options_than_the_run_began_with(
        self, refused, translation_run, tmp_path
    ) -> None:
        folder = tmp_path / "run"
        shutil.copytree(translation_run.folder, folder)
        (folder / "metrics.json").unlink()
        line = refused("--width", 32)
        assert line.startswith(f"--run-dir {folder} holds a run with --width 16, not 32")

    def test_rows_that_changed_since_the_run_began(
        self, refused, translation_run, tmp_path
    ) -> None:
        folder = tmp_path / "run"
        shutil.copytree(translation_run.folder, folder)
        (folder / "metrics.json").unlink()
        (folder / "dataset.sha256").write_text("0" * 64)
        assert "holds a run on other rows: pairs has changed" in refused()


class TestSubwords:
    def test_more_than_the_sentences_support(self, refused) -> None:
        line = refused("--vocabulary-size", 8_000)
        assert line.startswith("--vocabulary-size 8000: these texts yield ")
        assert line.endswith(" ids at most; give that, or more text")

    def test_fewer_than_their_characters(self, refused) -> None:
        line = refused("--vocabulary-size", 300, "--character-coverage", 1)
        assert line.startswith("--vocabulary-size 300: the characters of these texts")

    def test_a_size_that_fails_leaves_the_folder_to_the_next(self, refused) -> None:
        refused("--vocabulary-size", 8_000)
        # Not "holds a run with --vocabulary-size 8000".
        assert refused("--max-tokens", 2).startswith("no pair is left to train on")


class TestPairs:
    def test_sentences_that_are_all_too_long(self, refused) -> None:
        line = refused("--max-tokens", 3)
        assert line == (
            "no pair is left to train on: are they longer than --max-tokens 3, or more unequal "
            "than --max-ratio 4?"
        )

    def test_languages_that_are_not_there(self, refused, pairs) -> None:
        line = refused("--source", "de")
        assert line == "pairs: has en, zh, not 'de': give --source one of these"
        line = refused("--target", "Klingon")
        assert line == "pairs: has en, zh, not 'Klingon': give --target one of these"
        assert "--source and --target are both 'en'" in refused("--source", "en", "--target", "en")

    def test_a_misspelt_data_set(self, refused) -> None:
        assert "did you mean 'multi30k'?" in refused(data="multi30")
        assert "no such file, folder or translation set" in refused(data="nowhere/pairs.tsv")

    def test_files_of_different_length(self, refused, tmp_path) -> None:
        (tmp_path / "train.en").write_text("One.\nTwo.\nThree.\n", "utf-8")
        (tmp_path / "train.zh").write_text("一。\n二。\n", "utf-8")
        for split in ("dev.en", "dev.zh"):
            (tmp_path / split).write_text("一\n", "utf-8")
        line = refused(data=tmp_path)
        assert line.startswith(f"{tmp_path / 'train.en'}:3: has no counterpart: ")
        assert "train.zh has 2 lines, train.en 3" in line

    def test_a_line_of_one_column(self, refused, pairs, tmp_path) -> None:
        folder = tmp_path / "pairs"
        shutil.copytree(pairs, folder)
        with (folder / "train.tsv").open("a", encoding="utf-8") as file:
            file.write("A sentence without a translation.\n")
        assert "train.tsv:62: " in refused(data=folder)

    def test_an_encoding_that_is_not_utf_8(self, refused, pairs, tmp_path) -> None:
        folder = tmp_path / "pairs"
        shutil.copytree(pairs, folder)
        (folder / "dev.tsv").write_bytes("Good morning.\t早上好。\n".encode("gb18030"))
        line = refused(data=folder)
        assert f"{folder / 'dev.tsv'}:1: not UTF-8 at byte 14" in line and "iconv" in line

    def test_the_wrong_way_round(self, refused, tmp_path) -> None:
        for split in ("train", "dev"):
            (tmp_path / f"{split}.tsv").write_text("早上好。\tGood morning.\n" * 3, "utf-8")
        line = refused("--source", "en", "--target", "zh", data=tmp_path)
        assert "name the languages the other way round" in line


@pytest.mark.parametrize(
    ("main", "config"),
    [
        (train.main, TranslationConfig),
        (evaluate.main, EvaluateConfig),
        (predict.main, PredictConfig),
    ],
    ids=["train", "evaluate", "predict"],
)
def test_help_fits_a_narrow_terminal(command, monkeypatch, main, config) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = command(main, config, "--help")
    assert answer.status == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in config.__dataclass_fields__:
        if name != "sentences":
            assert f"--{name.replace('_', '-')}" in answer.out


def test_a_misspelt_option(command) -> None:
    answer = command(train.main, TranslationConfig, "--max-token", 3)
    assert answer.status == 2 and "--max-tokens" in answer.err + answer.out
