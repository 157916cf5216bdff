"""What people do with a finished run: measure it, ask it, and compare it with a linear model."""

import functools
import io
import json
import sys
from pathlib import Path

import pytest

from projects.news import baseline, evaluate, predict, train
from projects.news.baseline import BaselineConfig
from projects.news.evaluate import EvaluateConfig
from projects.news.predict import PredictConfig
from tests.projects.conftest import Answer, FinishedRun
from tfcamp.export.saved_model import load_text_classifier

HEADLINES = ["央行下调存款准备金率", "主队客场逆转夺冠", "", "🏀 总决赛"]


@pytest.fixture(scope="module")
def model(bilstm_run: FinishedRun) -> Path:
    return bilstm_run.folder / "saved_model"


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    """The commands are run many times here; a model is loaded once."""
    load = functools.cache(load_text_classifier)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "load_text_classifier", load)
        patch.setattr(predict, "load_text_classifier", load)
        yield


class Pipe(io.TextIOWrapper):
    """Standard input that holds bytes and is no terminal."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), "utf-8")


def answers(answer: Answer) -> list[dict]:
    assert (answer.status, answer.err) == (0, "")
    return [json.loads(line) for line in answer.out.splitlines()]


class TestEvaluate:
    def test_a_table_and_one_line_of_json_last(self, command, model, bilstm_run) -> None:
        answer = command(evaluate.main, EvaluateConfig, "--saved-model", model)
        assert (answer.status, answer.err) == (0, "")
        *table, last = answer.out.splitlines()
        assert len(table) >= 11 and any("财经" in line for line in table)
        figures = json.loads(last)
        metrics = json.loads((bilstm_run.folder / "metrics.json").read_text("utf-8"))
        assert figures.pop("saved_model") == [str(model)]
        assert figures.pop("dataset") == "sample" and figures.pop("split") == "test"
        assert figures.pop("sha256") == metrics["dataset"]["sha256"]
        assert figures == pytest.approx(metrics["test"])

    def test_another_split(self, command, model, bilstm_run) -> None:
        answer = command(evaluate.main, EvaluateConfig, "--saved-model", model, "--split", "dev")
        metrics = json.loads((bilstm_run.folder / "metrics.json").read_text("utf-8"))
        assert json.loads(answer.out.splitlines()[-1])["loss"] == pytest.approx(
            metrics["dev"]["loss"]
        )

    def test_a_model_twice_says_what_it_says_once(self, command, model, bilstm_run) -> None:
        answer = command(evaluate.main, EvaluateConfig, "--saved-model", model, model)
        figures = json.loads(answer.out.splitlines()[-1])
        metrics = json.loads((bilstm_run.folder / "metrics.json").read_text("utf-8"))
        assert figures.pop("saved_model") == [str(model), str(model)]
        assert {name: figures[name] for name in metrics["test"]} == pytest.approx(metrics["test"])

    def test_no_model_is_one_line(self, command) -> None:
        answer = command(evaluate.main, EvaluateConfig, "--saved-model")
        assert (answer.status, answer.err.count("\n")) == (2, 1)
        assert answer.err.startswith("error: --saved-model: expected the folder")

    def test_classes_in_another_order(self, command, model, tmp_path) -> None:
        """Names decide, not numbers: labelled as the model answers, every row must be right."""
        arguments = (*HEADLINES, "--saved-model", model, "--json")
        rows = answers(command(predict.main, PredictConfig, *arguments))
        names = list(reversed(rows[0]["probabilities"]))
        (tmp_path / "class.txt").write_text("\n".join(names), "utf-8")
        train_rows = "".join(f"题\t{name}\n" for name in names)
        (tmp_path / "train.tsv").write_text(train_rows, "utf-8")
        dev_rows = "".join(f"{row['text']}\t{row['label']}\n" for row in rows)
        (tmp_path / "dev.tsv").write_text(dev_rows, "utf-8")
        arguments = ("--saved-model", model, "--dataset", tmp_path, "--split", "dev")
        answer = command(evaluate.main, EvaluateConfig, *arguments)
        figures = json.loads(answer.out.splitlines()[-1])
        assert (figures["rows"], figures["accuracy"]) == (len(HEADLINES), 1)

    def test_the_whole_of_a_file_that_training_cuts(self, command, model, tmp_path) -> None:
        path = tmp_path / "mine.tsv"
        path.write_text(
            "".join(f"第{n}条\t{'体育' if n % 2 else '财经'}\n" for n in range(40)), "utf-8"
        )
        cut = f"note: {path}: cut 80/10/10 into train, dev and test, by class and text, seed 0\n"
        for split, num_rows in (("all", 40), ("test", 4)):
            arguments = ("--saved-model", model, "--dataset", path, "--split", split)
            answer = command(evaluate.main, EvaluateConfig, *arguments)
            assert (answer.status, answer.err) == (0, cut)
            figures = json.loads(answer.out.splitlines()[-1])
            assert (figures["split"], figures["rows"]) == (split, num_rows)

    @pytest.mark.parametrize(
        ("rows", "split", "expected"),
        [
            ({"train": "一\t财经\n二\t彩票\n", "dev": "三\t彩票\n"}, "dev", "the class 彩票"),
            ({"train": "一\t财经\n二\t体育\n", "dev": "三\t体育\n"}, "test", "has no test split"),
            (
                {"train": "一\t财经\n二\t体育\n", "dev": "三\t体育\n", "test": "text\n四\n"},
                "test",
                "has no labels",
            ),
            (
                {"train": "一\t财经\n二\t体育\n", "dev": "三\t体育\n", "test": "text\n四\n"},
                "all",
                "test.tsv has no labels",
            ),
        ],
    )
    def test_rows_that_cannot_be_measured(
        self, command, model, tmp_path, rows, split, expected
    ) -> None:
        for name, content in rows.items():
            (tmp_path / f"{name}.tsv").write_text(content, "utf-8")
        arguments = ("--saved-model", model, "--dataset", tmp_path, "--split", split)
        answer = command(evaluate.main, EvaluateConfig, *arguments)
        assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert answer.err.startswith("error: ") and expected in answer.err


class TestPredict:
    def test_arguments(self, command, model) -> None:
        answer = command(predict.main, PredictConfig, *HEADLINES[:2], "--saved-model", model)
        assert (answer.status, answer.err) == (0, "")
        lines = answer.out.splitlines()
        assert [line.split("  ")[-1] for line in lines] == HEADLINES[:2]
        assert all("%" in line for line in lines)

    def test_json(self, command, model, bilstm_run) -> None:
        arguments = (*HEADLINES, "--saved-model", model, "--json")
        rows = answers(command(predict.main, PredictConfig, *arguments))
        assert [row["text"] for row in rows] == HEADLINES
        for row in rows:
            probabilities = row["probabilities"]
            assert len(probabilities) == 10
            assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
            assert row["label"] == max(probabilities, key=probabilities.get)
            assert row["probability"] == probabilities[row["label"]]

    def test_a_file(self, command, model, tmp_path) -> None:
        path = tmp_path / "headlines.txt"
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(HEADLINES).encode())
        arguments = ("--file", path, "--saved-model", model, "--json")
        rows = answers(command(predict.main, PredictConfig, *arguments))
        assert [row["text"] for row in rows] == HEADLINES

    def test_standard_input(self, command, model, monkeypatch) -> None:
        monkeypatch.setattr(sys, "stdin", Pipe("\n".join(HEADLINES).encode()))
        rows = answers(command(predict.main, PredictConfig, "--saved-model", model, "--json"))
        assert [row["text"] for row in rows] == HEADLINES

    def test_nothing_has_no_answer(self, command, model, monkeypatch) -> None:
        monkeypatch.setattr(sys, "stdin", Pipe(b""))
        answer = command(predict.main, PredictConfig, "--saved-model", model)
        assert (answer.status, answer.out, answer.err) == (0, "", "")

    def test_a_file_that_is_not_utf_8_is_named(self, command, model, tmp_path) -> None:
        (tmp_path / "lines.txt").write_bytes(
            "股市今日收盘下跌\n球队主场逆转取胜\n".encode("gb18030")
        )
        arguments = ("--file", tmp_path / "lines.txt", "--saved-model", model)
        answer = command(predict.main, PredictConfig, *arguments)
        assert answer.status == 2 and "lines.txt:1: not UTF-8 at byte 0" in answer.err
        assert answer.out == ""

    def test_the_run_folder_instead_of_the_model_s(self, command, bilstm_run) -> None:
        arguments = ("一", "--saved-model", bilstm_run.folder)
        answer = command(predict.main, PredictConfig, *arguments)
        assert answer.err.endswith(f"; is it {bilstm_run.folder / 'saved_model'}?\n")

    def test_bytes_that_are_not_utf_8_are_answered_beside_the_others(
        self, command, model, monkeypatch
    ) -> None:
        broken = "股市".encode("gb18030")
        monkeypatch.setattr(sys, "stdin", Pipe(HEADLINES[0].encode() + b"\n" + broken + b"\n"))
        mixed = answers(command(predict.main, PredictConfig, "--saved-model", model, "--json"))
        arguments = (HEADLINES[0], "--saved-model", model, "--json")
        (alone,) = answers(command(predict.main, PredictConfig, *arguments))
        assert mixed[0]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
        assert mixed[1]["text"] == broken.decode("utf-8", "replace")
        # The shell hands over what it cannot decode as surrogates.
        arguments = (broken.decode("utf-8", "surrogateescape"), "--saved-model", model, "--json")
        (again,) = answers(command(predict.main, PredictConfig, *arguments))
        assert again["probabilities"] == pytest.approx(mixed[1]["probabilities"], abs=1e-5)

    def test_more_lines_than_a_batch(self, command, model, monkeypatch) -> None:
        monkeypatch.setattr(predict, "ROWS_PER_BATCH", 3)
        texts = [f"第{number}场" for number in range(8)]
        arguments = (*texts, "--saved-model", model, "--json")
        rows = answers(command(predict.main, PredictConfig, *arguments))
        assert [row["text"] for row in rows] == texts

    def test_headlines_and_a_file_of_them(self, command, model, tmp_path) -> None:
        arguments = ("题", "--file", tmp_path / "headlines.txt", "--saved-model", model)
        answer = command(predict.main, PredictConfig, *arguments)
        expected = "error: --file: expected headlines or a file of them, not both\n"
        assert (answer.status, answer.out, answer.err) == (2, "", expected)

    @pytest.mark.parametrize("option", ["--saved-model", "--file"])
    def test_a_path_that_is_none(self, command, model, tmp_path, option) -> None:
        arguments = ["--saved-model", model, option, tmp_path / "missing"]
        answer = command(
            predict.main, PredictConfig, *([] if option == "--file" else ["题"]), *arguments
        )
        assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert answer.err.startswith("error: ") and str(tmp_path / "missing") in answer.err


class TestBaseline:
    def test_it_is_measured_on_the_sample(self, command, bilstm_run) -> None:
        answer = command(baseline.main, BaselineConfig)
        assert (answer.status, answer.err) == (0, "")
        header, dev, test, last = answer.out.splitlines()
        result = json.loads(last)
        metrics = json.loads((bilstm_run.folder / "metrics.json").read_text("utf-8"))
        assert result["sha256"] == metrics["dataset"]["sha256"] and result["dataset"] == "sample"
        assert header.split() == ["split", "rows", "accuracy", "macro", "F1"]
        for name, line in (("dev", dev), ("test", test)):
            scores = result[name]
            shown = [name, "200", f"{scores['accuracy']:.4f}", f"{scores['macro_f1']:.4f}"]
            assert line.split() == shown
            # Far better than chance, and not so easy that every model is right.
            assert 0.4 < scores["accuracy"] < 0.97

    def test_it_says_the_same_each_time(self, command) -> None:
        first, second = (
            json.loads(command(baseline.main, BaselineConfig).out.splitlines()[-1])
            for _ in range(2)
        )
        assert first.pop("seconds") >= 0 and second.pop("seconds") >= 0
        assert first == second


def test_the_newest_version_is_the_largest_number(tmp_path) -> None:
    assert predict.newest_version(tmp_path) == tmp_path / "1"
    for name in ("2", "9", "10", "11.partial"):
        (tmp_path / name).mkdir()
    assert predict.newest_version(tmp_path) == tmp_path / "10"


@pytest.mark.parametrize(
    ("option", "value"),
    [("max-ngram", 0), ("regularisation", 0), ("regularisation", "nan"), ("seed", -1)],
)
def test_the_baseline_refuses_what_cannot_work(command, option, value) -> None:
    answer = command(baseline.main, BaselineConfig, f"--{option}", value)
    assert answer.status == 2 and answer.out == ""
    assert answer.err.startswith(f"error: --{option} ") and answer.err.count("\n") == 1


def test_the_scripts_share_the_default_model() -> None:
    assert PredictConfig().saved_model == predict.DEFAULT_MODEL
    assert EvaluateConfig().saved_model == (predict.DEFAULT_MODEL,)
    assert predict.DEFAULT_MODEL.parent.parts[-2:] == ("saved_models", "news")
    assert train.main.__doc__ and evaluate.main.__doc__ and predict.main.__doc__
