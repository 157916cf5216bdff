"""What people do with a finished run: measure it, and let it translate."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from projects.translation import evaluate, predict
from projects.translation.evaluate import EvaluateConfig
from projects.translation.predict import PredictConfig
from tests.projects.conftest import Answer, FinishedRun
from tests.projects.translation import NUM_ROWS
from tfcamp.data.parallel_splits import ParallelRow, ParallelSplit
from tfcamp.export.translation_model import ServedTranslator, load_translation_model

SENTENCES = ["Good morning.", "", "See you 🎉 tomorrow.", "How are you today?"]


@pytest.fixture(scope="module")
def model(translation_run: FinishedRun) -> Path:
    return translation_run.folder / "saved_model"


@pytest.fixture(autouse=True, scope="module")
def loaded_once(model: Path, translate: ServedTranslator):
    """The commands are run many times here; a model is loaded once."""

    def load(folder: Path) -> ServedTranslator:
        return translate if folder == model else load_translation_model(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "load_translation_model", load)
        patch.setattr(predict, "load_translation_model", load)
        yield


class Pipe(io.TextIOWrapper):
    """Standard input that holds bytes and is no terminal."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), "utf-8")


def figures_of(answer: Answer) -> dict:
    assert (answer.status, answer.err) == (0, "")
    return json.loads(answer.out.splitlines()[-1])


def refusal(answer: Answer) -> str:
    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.startswith("error: ")
    return answer.err.removeprefix("error: ").rstrip("\n")


class TestEvaluate:
    def test_it_says_what_training_said(self, command, model, pairs, translation_run) -> None:
        metrics = json.loads((translation_run.folder / "metrics.json").read_text("utf-8"))
        for split in ("dev", "test"):
            arguments = ("--saved-model", model, "--dataset", pairs, "--split", split)
            answer = command(evaluate.main, EvaluateConfig, *arguments)
            figures = figures_of(answer)
            expected = metrics[split]
            assert figures.pop("signatures") == expected.pop("signatures")
            assert {name: figures[name] for name in expected} == pytest.approx(expected)
            assert figures["sha256"] == metrics["dataset"]["sha256"]
            assert figures["languages"] == ["en", "zh"] and figures["split"] == split
            assert figures["rows"] == NUM_ROWS[split] and figures["beam"] == 4
            first, second, third = answer.out.splitlines()[:3]
            assert first.startswith(f"BLEU {figures['bleu']:.2f} [") and "|tok:zh|" in first
            assert second.startswith("chrF2 ") and "length ratio" in third

    def test_another_beam(self, command, model, pairs) -> None:
        arguments = ("--saved-model", model, "--dataset", pairs, "--beam", 1)
        assert figures_of(command(evaluate.main, EvaluateConfig, *arguments))["beam"] == 1

    def test_the_whole_of_a_file_that_training_cuts(self, command, model, pairs, tmp_path) -> None:
        path = tmp_path / "mine.tsv"
        path.write_text((pairs / "train.tsv").read_text("utf-8").partition("\n")[2], "utf-8")
        arguments = ("--saved-model", model, "--dataset", path, "--split", "all", "--beam", 1)
        answer = command(evaluate.main, EvaluateConfig, *arguments)
        assert answer.status == 0
        guessed, cut = answer.err.splitlines()
        assert guessed.startswith(f"note: {path}: nothing names its languages")
        assert cut.startswith(f"note: {path}: cut 80/10/10")
        figures = json.loads(answer.out.splitlines()[-1])
        assert (figures["split"], figures["rows"]) == ("all", NUM_ROWS["train"])

    def test_a_split_that_is_not_there(self, command, model, pairs, tmp_path) -> None:
        for split in ("train", "dev"):
            (tmp_path / f"{split}.tsv").write_bytes((pairs / f"{split}.tsv").read_bytes())
        arguments = ("--saved-model", model, "--dataset", tmp_path)
        line = refusal(command(evaluate.main, EvaluateConfig, *arguments))
        assert line == f"{tmp_path} has no test split: try --split dev"


class Echo:
    """A model that writes what it reads, and its beam size."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, texts, *, beam_size):
        self.batches.append([len(text) for text in texts])
        return [f"{text} {beam_size}" for text in texts], np.zeros(len(texts))

    def count_tokens(self, texts):
        return np.array([len(text.split()) + 1 for text in texts]), 99


def test_each_translation_is_measured_by_its_own_reference(monkeypatch) -> None:
    """Sentences are sorted by length and translated in batches meanwhile."""
    model = Echo()
    sources = ["a b c", "a", "a b c d e f g", "a b", "x", "a b c d"]
    rows = [ParallelRow(text, f"{text} 8") for text in sources]
    monkeypatch.setattr(evaluate, "SENTENCES_PER_BATCH", 2)
    split = ParallelSplit("here", len(rows), lambda: iter(rows))
    measured = evaluate.evaluate(model, split, "en", beam_size=8)  # pyright: ignore
    assert measured.sources == sources
    assert measured.hypotheses == [f"{text} 8" for text in sources]
    assert measured.references == [[text] for text in measured.hypotheses]
    assert measured.report.exact_match == 1
    assert model.batches == [[5], [1, 1], [3, 5], [7, 13]]  # the first is before the clock starts
    # Lengths are of the sentence alone, without its end.
    bands = {band.name: band.support for band in measured.report.by_length}
    assert bands == {"≤5": 5, "6–10": 1}


def test_a_sentence_in_several_pairs_has_several_references() -> None:
    rows = [ParallelRow("a", "b 4"), ParallelRow("c", "c 4"), ParallelRow("a", "a 4")]
    split = ParallelSplit("here", len(rows), lambda: iter(rows))
    measured = evaluate.evaluate(Echo(), split, "en", merge_references=True)  # pyright: ignore
    assert measured.sources == ["a", "c"] and measured.references == [["b 4", "a 4"], ["c 4"]]
    assert measured.report.num_sentences == 2 and measured.report.exact_match == 1
    apart = evaluate.evaluate(Echo(), split, "en")  # pyright: ignore
    assert apart.report.exact_match == pytest.approx(2 / 3)


class TestEvaluateFiles:
    @pytest.fixture
    def files(self, tmp_path) -> tuple[Path, Path]:
        mine, theirs = tmp_path / "mine.txt", tmp_path / "theirs.zh"
        mine.write_text("一只狗在跑。\n\n两个女人在笑。\n", "utf-8")
        theirs.write_text("一只狗在跑。\r\n他走了。\r\n两个女人在笑。\r\n", "utf-8")
        return mine, theirs

    def arguments(self, files) -> tuple:
        return "--hypotheses", files[0], "--references", files[1]

    def test_two_files(self, command, files) -> None:
        """As sacrebleu's command line scores them: an empty line counts as an empty sentence."""
        answer = command(evaluate.main, EvaluateConfig, *self.arguments(files), "--target", "zh")
        figures = figures_of(answer)
        assert figures["rows"] == 3 and "|tok:zh|" in figures["signatures"]["bleu"]
        # All words are right, and 13 of 17 are there: exp(1 - 17 / 13).
        assert figures["bleu"] == pytest.approx(73.51, abs=0.01)
        assert figures["exact_match"] == pytest.approx(2 / 3)
        assert figures["length_ratio"] == pytest.approx(13 / 17)

    def test_another_language_cuts_otherwise(self, command, files) -> None:
        files[1].write_text("Ein Hund rennt.\nEr ging.\nZwei Frauen lachen.\n", "utf-8")
        arguments = (*self.arguments(files), "--target", "de")
        figures = figures_of(command(evaluate.main, EvaluateConfig, *arguments))
        assert "|tok:13a|" in figures["signatures"]["bleu"] and figures["bleu"] < 1

    def test_a_language_that_cannot_be_is_said(self, command, files) -> None:
        arguments = (*self.arguments(files), "--target", "de")
        answer = command(evaluate.main, EvaluateConfig, *arguments)
        assert "|tok:zh|" in figures_of(answer)["signatures"]["bleu"]
        assert "note: the references are not written like 'de'" in answer.out

    @pytest.mark.parametrize(("longer", "shorter"), [(0, 1), (1, 0)])
    def test_different_numbers_of_lines(self, command, files, longer, shorter) -> None:
        with files[longer].open("a", encoding="utf-8") as file:
            file.write("多了一行。\n又一行。\n")
        arguments = (*self.arguments(files), "--target", "zh")
        line = refusal(command(evaluate.main, EvaluateConfig, *arguments))
        expected = f"{files[shorter]}: ends before line 4 of {files[longer]}: expected as many"
        assert line == expected

    def test_no_lines(self, command, files) -> None:
        for file in files:
            file.write_text("")
        arguments = (*self.arguments(files), "--target", "zh")
        line = refusal(command(evaluate.main, EvaluateConfig, *arguments))
        assert line == f"{files[1]}: has no lines to measure"

    def test_no_language(self, command, files) -> None:
        line = refusal(command(evaluate.main, EvaluateConfig, *self.arguments(files)))
        assert line == "--target: expected the language of the references, zh say"

    def test_one_file(self, command, files) -> None:
        arguments = ("--hypotheses", files[0], "--target", "zh")
        line = refusal(command(evaluate.main, EvaluateConfig, *arguments))
        assert line == "--hypotheses and --references: expected both files, or neither"

    def test_a_file_in_another_encoding(self, command, files) -> None:
        files[0].write_bytes("一只狗".encode("gb18030"))
        arguments = (*self.arguments(files), "--target", "zh")
        line = refusal(command(evaluate.main, EvaluateConfig, *arguments))
        assert line.startswith(f"{files[0]}:1: not UTF-8 at byte ") and "iconv" in line


class TestPredict:
    def run(self, command, model, *arguments: object) -> list[dict]:
        answer = command(predict.main, PredictConfig, *arguments, "--saved-model", model, "--json")
        assert (answer.status, answer.err) == (0, "")
        *lines, nothing = answer.out.split("\n")  # splitlines would end them at U+2028, too
        assert nothing == ""
        return [json.loads(line) for line in lines]

    def test_arguments(self, command, model, translate) -> None:
        answer = command(predict.main, PredictConfig, *SENTENCES, "--saved-model", model)
        assert (answer.status, answer.err) == (0, "")
        assert answer.out.split("\n") == [*translate(SENTENCES)[0], ""]

    def test_json(self, command, model, translate) -> None:
        rows = self.run(command, model, *SENTENCES)
        assert [row["text"] for row in rows] == SENTENCES
        texts, scores = translate(SENTENCES)
        found = [row["translations"] for row in rows]
        assert [answer["translation"] for (answer,) in found] == texts
        assert [answer["score"] for (answer,) in found] == pytest.approx(scores, abs=1e-4)
        assert found[1] == [{"translation": "", "score": 0.0}]

    def test_a_file(self, command, model, tmp_path) -> None:
        path = tmp_path / "sentences.txt"
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(SENTENCES).encode())
        rows = self.run(command, model, "--file", path)
        assert rows == self.run(command, model, *SENTENCES)

    def test_a_pipe(self, command, model, monkeypatch) -> None:
        monkeypatch.setattr(sys, "stdin", Pipe("\n".join(SENTENCES).encode()))
        rows = self.run(command, model)
        assert rows == self.run(command, model, *SENTENCES)

    def test_a_line_in_and_a_line_out(self, command, model, monkeypatch) -> None:
        """Windows' ends of lines, its mark at the beginning, and what only looks like an end."""
        content = "\ufeffGood morning.\r\nNo\x0bend\rhere\u2028.\n\n \nGood night."
        monkeypatch.setattr(sys, "stdin", Pipe(content.encode()))
        rows = self.run(command, model)
        expected = ["Good morning.", "No\x0bend\rhere\u2028.", "", " ", "Good night."]
        assert [row["text"] for row in rows] == expected
        monkeypatch.setattr(sys, "stdin", Pipe(content.encode()))
        answer = command(predict.main, PredictConfig, "--saved-model", model)
        assert answer.out.count("\n") == 5

    def test_a_translation_stays_on_its_line(self, command, model, translate, monkeypatch) -> None:
        """A model may spell a line feed in bytes."""
        monkeypatch.setattr(
            ServedTranslator, "__call__", lambda self, texts, **_: (["早\n上\r\n好"], [-1.0])
        )
        answer = command(predict.main, PredictConfig, "Good morning.", "--saved-model", model)
        assert answer.out == "早 上 好\n"
        (row,) = self.run(command, model, "Good morning.")
        assert row["translations"][0]["translation"] == "早\n上\r\n好"

    def test_bytes_that_are_not_utf_8_are_answered_beside_the_others(
        self, command, model, monkeypatch
    ) -> None:
        broken = "早上好".encode("gb18030")
        monkeypatch.setattr(sys, "stdin", Pipe(b"Good morning.\n" + broken + b"\n"))
        mixed = self.run(command, model)
        assert [row["text"] for row in mixed] == ["Good morning.", broken.decode(errors="replace")]
        assert mixed[0] == self.run(command, model, "Good morning.")[0]
        # The shell hands over what it cannot decode as surrogates.
        (again,) = self.run(command, model, broken.decode(errors="surrogateescape"))
        assert again == mixed[1]

    def test_nothing_has_no_answer(self, command, model, monkeypatch) -> None:
        monkeypatch.setattr(sys, "stdin", Pipe(b""))
        answer = command(predict.main, PredictConfig, "--saved-model", model)
        assert (answer.status, answer.out, answer.err) == (0, "", "")

    def test_a_terminal_is_not_waited_for(self, command, model, monkeypatch) -> None:
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        line = refusal(command(predict.main, PredictConfig, "--saved-model", model))
        assert line == "expected a sentence, --file FILE, or lines through a pipe"

    def test_more_lines_than_a_batch(self, command, model, monkeypatch) -> None:
        texts = [f"Good morning, {number}." for number in range(8)]
        expected = self.run(command, model, *texts)
        monkeypatch.setattr(predict, "SENTENCES_PER_BATCH", 3)
        rows = self.run(command, model, *texts)
        assert [row["text"] for row in rows] == texts
        for row, other in zip(rows, expected, strict=True):
            (ours,), (theirs,) = row["translations"], other["translations"]
            assert ours["translation"] == theirs["translation"]
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-3)

    @pytest.mark.parametrize("beam", [1, 4, 8])
    def test_beams(self, command, model, translate, beam) -> None:
        rows = self.run(command, model, "How are you?", "--beam", beam)
        (text,), _ = translate(["How are you?"], beam_size=beam)
        assert rows[0]["translations"][0]["translation"] == text

    def test_the_best_three(self, command, model, translate) -> None:
        arguments = ("How are you?", "Good morning.", "--nbest", 3)
        rows = self.run(command, model, *arguments)
        for row, found in zip(
            rows, translate.n_best(["How are you?", "Good morning."], 3), strict=True
        ):
            assert [answer["translation"] for answer in row["translations"]] == [
                text for text, _ in found
            ]
        answer = command(predict.main, PredictConfig, *arguments, "--saved-model", model)
        lines = answer.out.splitlines()
        assert len(lines) == 2 * (1 + 3) and lines[0] == "How are you?"
        scores = [float(line.split()[0]) for line in lines[1:4]]
        assert scores == sorted(scores, reverse=True)

    def test_what_is_too_long_is_said(self, command, model) -> None:
        long = "How are you today? " * 50
        arguments = ("Good morning.", long, "--saved-model", model)
        answer = command(predict.main, PredictConfig, *arguments)
        assert answer.status == 0 and answer.out.count("\n") == 2
        assert answer.err.count("\n") == 1 and answer.err.startswith("note: 'How are you today?")
        assert "the first 23 are translated" in answer.err and "--max-tokens" in answer.err

    def test_the_map_of_the_first_sentence(self, command, model, tmp_path) -> None:
        arguments = (*SENTENCES[:2], "--saved-model", model, "--attention", tmp_path / "map.png")
        answer = command(predict.main, PredictConfig, *arguments)
        assert answer.status == 0 and answer.out.count("\n") == 2
        assert (tmp_path / "map.svg").exists()
        if answer.err:  # the machine has no font for it
            assert answer.err.startswith("note: ") and answer.err.count("\n") == 1
        else:
            with Image.open(tmp_path / "map.png") as picture:
                assert min(picture.size) > 50

    def test_a_map_in_a_folder_that_is_not_there(self, command, model, tmp_path) -> None:
        path = tmp_path / "new" / "map.svg"
        arguments = ("Good morning.", "--saved-model", model, "--attention", path)
        assert command(predict.main, PredictConfig, *arguments).status == 0
        assert "<svg" in path.read_text("utf-8")

    def test_a_map_of_nothing(self, command, model, tmp_path) -> None:
        arguments = (" ", "--saved-model", model, "--attention", tmp_path / "map.png")
        assert command(predict.main, PredictConfig, *arguments).status == 0

    @pytest.mark.parametrize(
        ("option", "value", "expected"),
        [
            ("--nbest", 0, "--nbest 0: expected 1 to 8"),
            ("--nbest", 9, "--nbest 9: expected 1 to 8"),
            ("--file", "sentences.txt", "--file: expected sentences or a file of them, not both"),
            ("--attention", "map.jpg", "--attention map.jpg: expected a name that ends in "),
            ("--beam", "8 --attention map.png", "--attention: shows the best of a beam of 4"),
        ],
    )
    def test_what_cannot_be_answered(self, command, model, option, value, expected) -> None:
        arguments = ("Good morning.", "--saved-model", model, option, *str(value).split())
        line = refusal(command(predict.main, PredictConfig, *arguments))
        assert line.startswith(expected)

    @pytest.mark.parametrize("option", ["--saved-model", "--file"])
    def test_a_path_that_is_none(self, command, model, tmp_path, option) -> None:
        text = [] if option == "--file" else ["Good morning."]
        arguments = [*text, "--saved-model", model, option, tmp_path / "missing"]
        line = refusal(command(predict.main, PredictConfig, *arguments))
        assert line.startswith(str(tmp_path / "missing"))


def test_the_scripts_share_the_default_model() -> None:
    assert PredictConfig().saved_model == predict.DEFAULT_MODEL
    assert EvaluateConfig().saved_model == predict.DEFAULT_MODEL
    assert predict.DEFAULT_MODEL.parent.parts[-2:] == ("saved_models", "translation_en_zh")
