"""What people do with an exported reader on small devices: convert it, measure it, run it there."""

import io
import json
import re
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from projects.street_view import lite
from projects.street_view.evaluate import evaluate
from projects.street_view.lite import LiteConfig
from projects.street_view.predict import DEFAULT_MODEL
from tests.projects.conftest import FinishedRun
from tests.projects.street import NUM_ROWS, few_drawings
from tfcamp.data.image_sources import load_image_dataset, rendered_split
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.export.image_model import load_image_model
from tfcamp.export.lite import LiteImageModel, load_image_network
from tfcamp.vision.digits import labels_to_number

README = Path(lite.__file__).with_name("README.md")


@pytest.fixture(autouse=True, scope="module")
def small_sample():
    with few_drawings():
        yield


@pytest.mark.slow
def test_both_files_and_what_they_are_worth(command, street_run: FinishedRun, tmp_path) -> None:
    model, folder = street_run.folder / "saved_model", tmp_path / "new/lite"
    options = ("--saved-model", model, "--export-dir", folder)
    few = ("--calibration-rows", 10, "--rounds", 1)
    answer = command(lite.main, LiteConfig, *options, *few)
    assert answer.status == 0
    *table, files, last = answer.out.splitlines()
    assert table[0].split() == ["float32", "int8"] and len(table) == 7
    assert files == f"files  {folder}/float32.tflite  {folder}/int8.tflite"
    figures = json.loads(last)
    assert figures["rows"] == NUM_ROWS["dev"] and figures["calibration_rows"] == 10
    sizes = {name: (folder / f"{name}.tflite").stat().st_size for name in ("float32", "int8")}
    assert {name: figures[name]["bytes"] for name in sizes} == sizes
    assert figures["int8"]["size"] == sizes["int8"] / sizes["float32"]
    assert figures["float32"]["speed"] == 1.0 and figures["int8"]["speed"] > 0
    dev = load_image_dataset("sample", data_dir=None, seed=0).dev
    report = evaluate(load_image_model(model), dev).report
    assert report is not None
    scores = report.scalars()
    for name in ("accuracy", "digit_accuracy"):
        assert figures["float32"][name] == pytest.approx(scores[name])


class TestRefusals:
    def refused(self, command, *arguments: object) -> str:
        answer = command(lite.main, LiteConfig, *arguments)
        assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
        return answer.err

    @pytest.mark.parametrize("option", ["--calibration-rows", "--num-threads", "--rounds"])
    def test_options(self, command, option) -> None:
        assert f"{option} 0: expected at least 1" in self.refused(command, option, 0)

    def test_no_model(self, command, tmp_path) -> None:
        line = self.refused(command, "--saved-model", tmp_path)
        assert "expected a SavedModel" in line


@pytest.fixture(scope="module")
def int8() -> bytes:
    """The model that comes with the project, its scales chosen by drawings."""
    drawings = [row.image for row in rendered_split("train", 50)]
    return load_image_network(DEFAULT_MODEL).to_int8(drawings)


@pytest.mark.slow
def test_the_program_for_the_device(int8: bytes, tmp_path, monkeypatch, capsys) -> None:
    """As printed, with TensorFlow's interpreter in the place of ai-edge-litert's, its copy."""
    section = README.read_text("utf-8").partition("\n## On a phone or a small board\n")[2]
    (program,) = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    package, module = types.ModuleType("ai_edge_litert"), types.ModuleType("interpreter")
    vars(module)["Interpreter"] = tf.lite.Interpreter
    monkeypatch.setitem(sys.modules, "ai_edge_litert", package)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    monkeypatch.chdir(tmp_path)
    Path("int8.tflite").write_bytes(int8)
    drawings = [row.image for row in rendered_split("test", 12)]
    read = LiteImageModel(int8)(drawings).numbers
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 50, 3), np.uint8)
    pictures = [Image.open(io.BytesIO(image)) for image in drawings]
    answers = []
    for picture in [*pictures, *map(Image.fromarray, noise)]:
        picture.save("house.jpg", "PNG")  # Pillow looks at the content
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the interpreter is deprecated
            exec(program, {})
        small = picture.convert("RGB").resize((96, 48), Image.Resampling.BILINEAR)
        logits = LiteImageModel(int8).logits(np.asarray(small, np.float32)[np.newaxis] / 255)
        digits, log_probability = decode_numbers(logits)
        answers.append(capsys.readouterr().out.split())
        assert answers[-1] == [
            labels_to_number(digits[0]),
            f"{float(tf.exp(log_probability[0])):.1%}",
        ]
    same = [answer[0] == number for answer, number in zip(answers, read, strict=False)]
    assert sum(same) >= 11  # Pillow rounds the pixels


@pytest.mark.slow
def test_the_model_that_comes_with_the_project(shared_data: Path) -> None:
    """A quarter of the size, and no point of accuracy lost, on photographs."""
    dataset = load_image_dataset("street_view", data_dir=shared_data, seed=0)
    network = load_image_network(DEFAULT_MODEL)
    seen = [row.image for _, row in zip(range(200), dataset.train, strict=False)]
    contents = {"float32": network.to_float32(), "int8": network.to_int8(seen)}
    assert len(contents["int8"]) <= 0.30 * len(contents["float32"])
    reports = {
        name: evaluate(LiteImageModel(file), dataset.dev).report for name, file in contents.items()
    }
    accuracy = {name: report.scalars()["accuracy"] for name, report in reports.items() if report}
    assert accuracy["float32"] > 0.9
    assert np.abs(accuracy["int8"] - accuracy["float32"]) <= 0.01
