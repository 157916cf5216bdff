"""Every mistake of the user's is one line on stderr and exit status 2, and loses nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from projects.street_view import train
from projects.street_view.config import StreetConfig
from tests.projects.street import as_arguments, few_drawings, tiny_config, write_competition


@pytest.fixture
def refused(command, tmp_path) -> Callable[..., str]:
    """Runs train.py, which must refuse; returns its one line without "error: "."""

    def run(*arguments: object, run_dir: Path = tmp_path / "run") -> str:
        options = as_arguments(tiny_config(run_dir))
        with few_drawings():
            answer = command(train.main, StreetConfig, *options, *arguments)
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
            ("--batch-size", 0, "at least 1"),
            ("--learning-rate", -1, "above 0"),
            ("--dropout", 1, "[0, 1)"),
            ("--seed", 2**32, "below 2**32"),
            ("--rotation", 90, "between 0 and 45"),
            ("--image-width", 8, "at least 16"),
            ("--mixup", 0.2, "the labels of whole numbers do not mix"),
            ("--margin", -1, "at least 0"),
            ("--margin-cut", 2, "between 0 and 1"),
            ("--trunk-learning-rate", 0, "--freeze-trunk"),
        ],
    )
    def test_a_value_that_cannot_work(self, refused, tmp_path, option, value, expected) -> None:
        line = refused(option, value)
        assert line.startswith(option) and expected in line
        assert not (tmp_path / "run").exists()

    def test_options_that_do_not_go_together(self, refused) -> None:
        assert "0 with --model ctc" in refused("--model", "ctc", "--label-smoothing", 0.1)
        assert "--init-from" in refused("--freeze-trunk")
        line = refused("--model", "mlp", "--trunk-learning-rate", 0.1)
        assert "mlp, which has no trunk" in line
        line = refused("--trunk", "mobilenet_v2", "--width-multiplier", 1)
        assert line.endswith("1.0: expected 0.5 with --trunk mobilenet_v2, which has its own")
        for options in ((), ("--model", "vgg", "--trunk", "mobilenet_v2")):
            line = refused("--init-from", "imagenet", *options)
            assert "mobilenet_v2, resnet50_v2 or efficientnet_v2_b0 beside it" in line

    def test_an_image_that_is_too_narrow_for_ctc(self, refused) -> None:
        line = refused("--model", "ctc", "--image-width", 32)
        assert line.startswith("--model ctc, 24x32 pixels: CTC needs 13 columns")

    def test_a_run_that_is_none(self, refused, tmp_path) -> None:
        line = refused("--init-from", tmp_path)
        assert line == f"--init-from {tmp_path}: has no best.npz; expected a run folder"

    def test_whole_numbers_for_a_model_of_one_digit(self, refused) -> None:
        line = refused("--model", "lenet5", "--add-drawings", 8)
        assert line.startswith("--add-drawings 8: expected 0 with a model of one digit")

    def test_a_folder_that_the_export_would_delete(self, refused, tmp_path) -> None:
        (tmp_path / "thesis.tex").write_text("")
        assert "holds something else than a SavedModel" in refused("--export-dir", tmp_path)

    def test_an_export_into_a_bucket(self, refused) -> None:
        line = refused("--export-dir", "gs://bucket/model")
        assert line.startswith("--export-dir gs://bucket/model: expected a folder on a disk")


class TestRows:
    def test_a_misspelt_data_set(self, refused) -> None:
        assert "did you mean 'svhn_full'?" in refused("--dataset", "svhn_ful")

    def test_a_broken_image_is_named(self, refused, tmp_path) -> None:
        folder = write_competition(tmp_path / "houses")
        broken = next((folder / "train").iterdir())
        broken.write_bytes(broken.read_bytes()[:60])
        line = refused("--dataset", folder)
        assert broken.name in line and "damaged or cut off" in line

    def test_digits_of_pictures_without_boxes(self, refused, tmp_path) -> None:
        folder = write_competition(tmp_path / "houses", boxes=False)
        line = refused("--dataset", folder, "--model", "lenet5")
        assert "has no boxes to cut out by" in line

    def test_files_that_changed_since_the_run_began(self, refused, street_run, tmp_path) -> None:
        folder = tmp_path / "run"
        shutil.copytree(street_run.folder, folder)
        (folder / "metrics.json").unlink()
        (folder / "dataset.sha256").write_text("0" * 64)
        assert "holds a run on other rows: sample has changed" in refused()
