"""What people do with a finished run: measure it, and let it read pictures."""

import functools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from projects.street_view import evaluate, predict
from projects.street_view.evaluate import Ensemble, EvaluateConfig
from projects.street_view.predict import PredictConfig
from tests.projects.conftest import Answer, FinishedRun
from tests.projects.street import NUM_ROWS, few_drawings, write_competition
from tfcamp.data.image_sources import rendered_split
from tfcamp.data.image_splits import turn_upright
from tfcamp.decoding.single_digits import decode_single_digits
from tfcamp.export.image_model import Reading, export_image_model, load_image_model


@pytest.fixture(scope="module")
def model(street_run: FinishedRun) -> Path:
    return street_run.folder / "saved_model"


@pytest.fixture(scope="module")
def one_digit(tmp_path_factory) -> Path:
    """A model that has learnt nothing."""
    folder = tmp_path_factory.mktemp("one_digit") / "saved_model"
    pixels = keras.Input([8, 8, 3])
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(pixels))
    export_image_model(folder, keras.Model(pixels, logits), decode_single_digits)
    return folder


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    """The commands are run many times here; a model is loaded once."""
    load = functools.cache(load_image_model)
    with pytest.MonkeyPatch.context() as patch, few_drawings():
        patch.setattr(evaluate, "load_image_model", load)
        patch.setattr(predict, "load_image_model", load)
        yield


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Three pictures, one of them broken, and a file that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, row in zip(("b.png", "sub/a.png"), rendered_split("test", 2), strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(row.image)
    Image.new("RGB", (90, 40), (9, 200, 30)).save(folder / "c.JPG", "JPEG")
    (folder / "d.png").write_bytes((folder / "b.png").read_bytes()[:50])
    (folder / "notes.txt").write_text("no picture")
    return folder


def figures_of(answer: Answer) -> dict:
    assert (answer.status, answer.err) == (0, "")
    return json.loads(answer.out.splitlines()[-1])


class TestEvaluate:
    def test_it_says_what_training_said(self, command, model, street_run) -> None:
        answer = command(evaluate.main, EvaluateConfig, "--saved-model", model)
        metrics = json.loads((street_run.folder / "metrics.json").read_text("utf-8"))
        figures = figures_of(answer)
        assert {name: figures[name] for name in metrics["test"]} == pytest.approx(metrics["test"])
        assert figures["split"] == "test" and figures["dataset"] == "sample"
        assert answer.out.splitlines()[0].split()[0] == "digits"

    def test_other_views_of_the_rows(self, command, model) -> None:
        for option in ("--test-time-augmentation", "--use-boxes"):
            arguments = ("--saved-model", model, "--split", "dev", option)
            figures = figures_of(command(evaluate.main, EvaluateConfig, *arguments))
            assert figures["rows"] == NUM_ROWS["dev"]

    def test_a_model_of_one_digit_reads_digits(self, command, one_digit) -> None:
        arguments = ("--saved-model", one_digit, "--split", "dev")
        figures = figures_of(command(evaluate.main, EvaluateConfig, *arguments))
        numbers = [row.number or "" for row in rendered_split("dev", NUM_ROWS["dev"])]
        assert figures["rows"] == len("".join(numbers)) > NUM_ROWS["dev"]

    def test_models_of_different_kinds_are_one_line(self, command, model, one_digit) -> None:
        for models in ((model, one_digit), (one_digit, model)):
            answer = command(evaluate.main, EvaluateConfig, "--saved-model", *models)
            assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
            assert f"{one_digit}: reads one digit, others read whole numbers" in answer.err

    def test_the_whole_of_pictures_that_training_cuts(self, command, model, tmp_path) -> None:
        rows = [(row.name, row.number) for row in rendered_split("dev", 20)]
        for row in rendered_split("dev", 20):
            (tmp_path / row.name).write_bytes(row.image)
        lines = ["file,number", *(f"{name},{number}" for name, number in rows)]
        (tmp_path / "labels.csv").write_text("\n".join(lines))
        arguments = ("--saved-model", model, "--dataset", tmp_path, "--split", "all")
        answer = command(evaluate.main, EvaluateConfig, *arguments)
        assert answer.status == 0 and answer.err.count("\n") == 1
        assert answer.err.startswith("note: ") and "cut 80/10/10" in answer.err
        figures = json.loads(answer.out.splitlines()[-1])
        assert (figures["split"], figures["rows"]) == ("all", 20)

    def test_a_test_split_without_numbers(self, command, model, tmp_path) -> None:
        folder = write_competition(tmp_path / "houses", labelled_test=False)
        arguments = ("--saved-model", model, "--dataset", folder)
        answer = command(evaluate.main, EvaluateConfig, *arguments)
        assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert "has no numbers to measure by" in answer.err

    def test_boxes_that_are_not_there(self, command, model, tmp_path) -> None:
        folder = write_competition(tmp_path / "houses", boxes=False)
        arguments = ("--saved-model", model, "--dataset", folder, "--use-boxes")
        answer = command(evaluate.main, EvaluateConfig, *arguments)
        assert (answer.status, answer.err.count("\n")) == (2, 1)
        assert "has no boxes to cut out by" in answer.err

    def test_no_model_is_one_line(self, command) -> None:
        answer = command(evaluate.main, EvaluateConfig, "--saved-model")
        assert (answer.status, answer.err.count("\n")) == (2, 1)


def test_an_ensemble_adds_up_what_its_models_give_a_number(monkeypatch) -> None:
    answers = {
        "a": Reading(["12", "7"], np.array([0.6, 0.9])),
        "b": Reading(["13", "7"], np.array([0.5, 0.3])),
        "c": Reading(["13", "1"], np.array([0.4, 0.8])),
    }

    class Model:
        reads_numbers = True

        def __init__(self, path: str) -> None:
            self.path = path

        def __call__(self, *_, **__) -> Reading:
            return answers[self.path]

    monkeypatch.setattr(evaluate, "load_image_model", Model)
    numbers, probabilities = Ensemble(["a", "b", "c"])([b"", b""])  # pyright: ignore
    assert numbers == ["13", "7"]
    np.testing.assert_allclose(probabilities, [0.3, 0.4], rtol=1e-6)


class TestPredict:
    def run(self, command, model, *arguments: object) -> list[dict]:
        answer = command(predict.main, PredictConfig, *arguments, "--saved-model", model, "--json")
        assert (answer.status, answer.err) == (0, "")
        return [json.loads(line) for line in answer.out.splitlines()]

    def test_a_folder_and_what_is_in_it(self, command, model, photographs) -> None:
        rows = self.run(command, model, photographs)
        names = [str(Path(row["file"]).relative_to(photographs)) for row in rows]
        assert names == ["b.png", "c.JPG", "d.png", "sub/a.png"]
        assert [bool(row["number"]) for row in rows] == [True, True, False, True]
        assert [row["probability"] > 0 for row in rows] == [True, True, False, True]

    def test_what_is_found_in_a_folder(self, tmp_path) -> None:
        elsewhere, folder = tmp_path / "elsewhere", tmp_path / "photos"
        for path in ("photos/__MACOSX/b.jpg", "photos/._a.png", "photos/a.png", "elsewhere/c.png"):
            (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / path).touch()
        (folder / "link").symlink_to(elsewhere)
        (elsewhere / "back").symlink_to(folder)
        (folder / "nowhere.png").symlink_to(tmp_path / "nowhere")
        assert list(predict.find_images((str(folder),))) == [
            folder / "a.png",
            folder / "link/c.png",
        ]

    def test_files_and_patterns(self, command, model, photographs) -> None:
        places = (photographs / "notes.txt", photographs / "[bd].png", photographs / "**/a*")
        rows = self.run(command, model, *places)
        assert [Path(row["file"]).name for row in rows] == ["notes.txt", "b.png", "d.png", "a.png"]
        assert rows[0]["number"] == "" and rows[0]["probability"] == 0

    def test_a_photograph_is_turned_upright(self, command, model, tmp_path) -> None:
        exif, path = Image.Exif(), tmp_path / "phone.jpg"
        exif[0x0112] = 6
        Image.fromarray(np.arange(90 * 40 * 3, dtype=np.uint8).reshape(90, 40, 3)).save(
            path, exif=exif
        )
        (row,) = self.run(command, model, path)
        stored, upright = path.read_bytes(), turn_upright(path.read_bytes())
        reading = load_image_model(model)([stored, upright])
        assert reading.probabilities[0] != pytest.approx(reading.probabilities[1], rel=1e-4)
        assert row["number"] == reading.numbers[1]
        assert row["probability"] == pytest.approx(reading.probabilities[1], rel=1e-5)

    def test_a_table(self, command, model, photographs) -> None:
        arguments = (photographs, "--saved-model", model, "--test-time-augmentation")
        answer = command(predict.main, PredictConfig, *arguments)
        lines = answer.out.splitlines()
        assert len(lines) == 4 and all("%" in line for line in lines)
        assert lines[2].split()[:2] == ["-", "0.0%"]

    def test_a_submission_into_no_folder_is_refused_first(
        self, command, model, photographs, tmp_path
    ) -> None:
        path = tmp_path / "nowhere" / "submission.csv"
        arguments = (photographs, "--saved-model", model, "--submission", path)
        answer = command(predict.main, PredictConfig, *arguments)
        assert answer.status == 2 and answer.out == ""
        assert answer.err == f"error: --submission {path}: there is no such folder\n"

    def test_a_submission(self, command, model, photographs, tmp_path) -> None:
        path = tmp_path / "submission.csv"
        rows = self.run(command, model, photographs, "--submission", path)
        header, *lines = path.read_text("utf-8").splitlines()
        assert header == "file_name,file_code"
        expected = {Path(row["file"]).name: row["number"] for row in rows}
        assert [line.split(",") for line in lines] == [
            list(item) for item in sorted(expected.items())
        ]

    @pytest.mark.parametrize("place", ["missing.png", "no/*.png", "empty"])
    def test_nothing_to_read_is_one_line(self, command, model, tmp_path, monkeypatch, place):
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path)
        answer = command(predict.main, PredictConfig, place, "--saved-model", model)
        assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert answer.err.startswith(f"error: {place}: no such file")


def test_the_scripts_share_the_default_model() -> None:
    assert PredictConfig(("a",)).saved_model == predict.DEFAULT_MODEL
    assert EvaluateConfig().saved_model == (predict.DEFAULT_MODEL,)
    assert predict.DEFAULT_MODEL.parent.parts[-2:] == ("saved_models", "street_view")
