"""What a run of the news project leaves behind, and what the same command does a second time."""

import json
import re
import shutil
from pathlib import Path

import pytest

from projects.news.train import main
from tests.projects.conftest import FinishedRun
from tests.projects.tiny import tiny_config

SCORES = {"accuracy", "macro_f1", "weighted_f1", "loss", "expected_calibration_error"}


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def history_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class TestFolder:
    def test_metrics_hold_every_figure(self, bilstm_run: FinishedRun) -> None:
        metrics = metrics_of(bilstm_run.folder)
        for split in ("dev", "test"):
            assert metrics[split].keys() == {"rows", *SCORES}
            assert metrics[split]["rows"] == 200
            assert 0 <= metrics[split]["accuracy"] <= 1 and metrics[split]["loss"] > 0
        assert metrics["units"].keys() == SCORES and metrics["units"]["loss"] == "nats"
        assert metrics["dataset"]["name"] == "sample"
        assert re.fullmatch(r"[0-9a-f]{64}", metrics["dataset"]["sha256"])
        assert re.fullmatch(r"[0-9a-f]{64}", metrics["weights_sha256"])
        assert metrics["seed"] == 0 and metrics["best_step"] == 8 and metrics["parameters"] > 10_000
        assert metrics["wall_time"]["value"] > 0 and metrics["wall_time"]["unit"] == "s"

    def test_metrics_name_the_versions_and_the_device(self, bilstm_run: FinishedRun) -> None:
        environment = metrics_of(bilstm_run.folder)["environment"]
        versions = {"python", "tfcamp", "tensorflow", "keras", "numpy"}
        assert environment.keys() == versions | {"device", "threads"}
        assert environment["threads"] >= 1 and environment["device"]

    def test_history_has_a_record_for_each_evaluation(self, bilstm_run: FinishedRun) -> None:
        (record,) = history_of(bilstm_run.folder)
        named = {"step", "epoch", "train_loss", "learning_rate", "examples_per_second", "data_wait"}
        assert record.keys() == named | {f"dev_{score}" for score in SCORES}
        assert (record["step"], record["epoch"]) == (8, 1)

    def test_what_was_exported_scores_like_what_was_trained(self, bilstm_run: FinishedRun) -> None:
        """Half precision and raw text change next to nothing."""
        (record,) = history_of(bilstm_run.folder)
        dev = metrics_of(bilstm_run.folder)["dev"]
        assert dev["accuracy"] == pytest.approx(record["dev_accuracy"], abs=0.011)
        assert dev["loss"] == pytest.approx(record["dev_loss"], abs=1e-3)

    def test_the_other_files(self, bilstm_run: FinishedRun) -> None:
        files = set(contents(bilstm_run.folder))
        figures = {"learning_curves", "confusion_matrix", "calibration", "word_map"}
        assert {f"figures/{name}.svg" for name in figures} <= files
        assert {"config.json", "report.html", "log.txt", "checkpoints/best.npz"} <= files
        assert {"saved_model/saved_model.pb", "saved_model/variables/variables.index"} <= files
        assert {"checkpoints/step-00000008.npz", "data/vocabulary.word.txt"} <= files
        assert any(name.startswith("tensorboard/events.out.tfevents.") for name in files)
        assert [name for name in files if ".partial" in name] == []

    def test_the_vocabulary_is_of_the_training_split(self, bilstm_run: FinishedRun) -> None:
        tokens = (bilstm_run.folder / "data/tokens.txt").read_text("utf-8")
        assert tokens.count("\n") == 1100
        listed = (bilstm_run.folder / "data/vocabulary.word.txt").read_text("utf-8").split("\n")
        assert set(listed[2:-1]) <= set(tokens.split())

    def test_the_report_makes_no_request(self, bilstm_run: FinishedRun) -> None:
        page = (bilstm_run.folder / "report.html").read_text("utf-8")
        assert set(re.findall(r"(?:src|href)\s*=\s*[\"']?(.)", page)) <= {"#"}
        assert re.findall(r"url\((?![\"']?#)|@import|<script|<link|<iframe", page) == []
        headings = ("Learning curves", "Confusion matrix", "Calibration", "Map of words")
        assert all(heading in page for heading in (*headings, "The most confident mistakes"))
        assert page.count("<svg") >= 4 and "财经" in page

    def test_the_report_shows_thirty_mistakes(self, bilstm_run: FinishedRun) -> None:
        page = (bilstm_run.folder / "report.html").read_text("utf-8")
        table = page[page.index("The most confident mistakes") :].split("</table>")[0]
        assert table.count("<tr") == 31
        shares = [float(cell) for cell in re.findall(r">\s*([01]\.\d+)\s*<", table)]
        assert len(shares) == 30 and shares == sorted(shares, reverse=True)

    def test_the_table_is_printed_and_kept(self, bilstm_run: FinishedRun) -> None:
        log = (bilstm_run.folder / "log.txt").read_text("utf-8")
        test = metrics_of(bilstm_run.folder)["test"]
        for text in (bilstm_run.printed, log):
            assert re.search(r"\bdev +test$", text, re.MULTILINE)
            assert re.search(rf"accuracy +[\d.]+ +{test['accuracy']:.4f}$", text, re.MULTILINE)
            assert re.search(rf"macro F1 +[\d.]+ +{test['macro_f1']:.4f}$", text, re.MULTILINE)
        last = bilstm_run.printed.splitlines()[-2:]
        assert [line.split()[0] for line in last] == ["report", "SavedModel"]
        assert all(Path(line.split()[1]).exists() for line in last)


class TestAgain:
    def test_a_finished_run_is_left_alone(self, bilstm_run, tmp_path, capsys) -> None:
        folder = tmp_path / "run"
        shutil.copytree(bilstm_run.folder, folder)
        before = contents(folder)
        main(tiny_config(folder, model="bilstm", tokens="word+char", max_steps=8))
        assert "holds a finished run" in capsys.readouterr().out
        after = contents(folder)
        assert after.pop("log.txt").startswith(before.pop("log.txt"))
        # The options are the same but for the folder's name.
        assert after.pop("config.json") and before.pop("config.json")
        assert after == before

    def test_more_epochs_go_on(self, bow_run, longer_bow_run) -> None:
        folder = longer_bow_run.folder
        (first,) = history_of(bow_run.folder)
        assert f"resumed at step {first['step']}" in longer_bow_run.printed
        records = history_of(folder)
        assert records[0] == first and len(records) == 2
        assert (records[1]["epoch"], records[1]["step"]) == (2, 2 * first["step"])
        metrics = metrics_of(folder)
        assert metrics["asked"]["epochs"] == 2
        assert metrics["best_step"] in [record["step"] for record in records]
        assert (folder / f"checkpoints/step-{records[1]['step']:08d}.npz").exists()

    def test_fewer_epochs_are_no_reason_to_go_on(self, bow_run, tmp_path, capsys) -> None:
        folder = tmp_path / "run"
        shutil.copytree(bow_run.folder, folder)
        main(tiny_config(folder, epochs=None))
        assert "holds a finished run" in capsys.readouterr().out
