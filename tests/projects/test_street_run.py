"""What a run of the street-view project leaves behind, and that it goes on bit for bit."""

import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from projects.street_view import model as street_model
from projects.street_view import train
from projects.street_view.config import StreetConfig
from projects.street_view.data import load_rows, training_transform
from projects.street_view.model import begin_from, build_model
from tests.projects.conftest import FinishedRun
from tests.projects.street import (
    NUM_ROWS,
    as_arguments,
    few_drawings,
    tiny_config,
    write_competition,
)
from tfcamp.data.packed_images import PackedImages
from tfcamp.models.trunks import PRETRAINED, trunk_of
from tfcamp.training.callbacks import ProgressBar
from tfcamp.training.checkpoints import CheckpointFolder, read_checkpoint
from tfcamp.training.progress import Progress

FROM_IMAGENET = {
    "trunk": "mobilenet_v2",
    "width_multiplier": 0.5,
    "init_from": Path("imagenet"),
}
SCORES = {"accuracy", "digit_accuracy", "edit_distance", "length_accuracy"}


@pytest.fixture(autouse=True)
def small_sample():
    with few_drawings():
        yield


class Crash(BaseException):
    """Ends a run without any clean-up."""


def crash(*_) -> None:
    raise Crash


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def newest_checkpoint(folder: Path) -> dict[str, np.ndarray]:
    return dict(read_checkpoint(max((folder / "checkpoints").glob("step-*.npz"))).arrays)


class TestFolder:
    def test_metrics_hold_every_figure(self, street_run: FinishedRun) -> None:
        metrics = metrics_of(street_run.folder)
        for split in ("dev", "test"):
            assert metrics[split].keys() == {"rows", *SCORES}
            assert metrics[split]["rows"] == NUM_ROWS[split]
        assert metrics["units"].keys() == {*SCORES, "flops"}
        assert metrics["best_step"] in (5, 10) and metrics["flops"] > metrics["parameters"] > 1000
        assert re.fullmatch(r"[0-9a-f]{64}", metrics["weights_sha256"])

    def test_history_has_a_record_for_each_epoch(self, street_run: FinishedRun) -> None:
        lines = (street_run.folder / "history.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert [(record["step"], record["epoch"]) for record in records] == [(5, 1), (10, 2)]
        assert {f"dev_{score}" for score in (*SCORES, "loss")} <= records[0].keys()

    def test_the_other_files(self, street_run: FinishedRun) -> None:
        files = {
            str(path.relative_to(street_run.folder))
            for path in street_run.folder.rglob("*")
            if path.is_file()
        }
        figures = {"learning_curves", "accuracy_by_length", "confusion_matrix", "worst_mistakes"}
        figures |= {"heat_maps"}
        assert {f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png")} <= files
        assert {"report.html", "data/train/images.bin", "saved_model/saved_model.pb"} <= files
        assert [name for name in files if ".partial" in name] == []

    def test_the_report_shows_the_pictures_and_makes_no_request(self, street_run) -> None:
        page = (street_run.folder / "report.html").read_text("utf-8")
        assert page.count('href="data:image/png') >= 10
        assert set(re.findall(r"(?:src|href)\s*=\s*[\"']?(#|data:image/png|.)", page)) <= {
            "#",
            "data:image/png",
        }

    def test_the_table_is_printed(self, street_run: FinishedRun) -> None:
        test = metrics_of(street_run.folder)["test"]
        expected = rf"^accuracy +[\d.]+ +{test['accuracy']:.4f}$"
        assert re.search(expected, street_run.printed, re.MULTILINE)
        last = street_run.printed.splitlines()[-2:]
        assert [line.split()[0] for line in last] == ["report", "SavedModel"]

    def test_training_pictures_have_margins_to_choose_from(self, street_run) -> None:
        packed = PackedImages(street_run.folder / "data/train")
        images = packed.read(np.arange(len(packed)))[0]["image"]
        assert images.shape[1:] == (32, 64, 3)
        assert (packed.boxes[:, 1] > 0).mean() > 0.9  # something is left of the number
        dev = PackedImages(street_run.folder / "data/dev")
        assert dev.read(np.arange(2))[0]["image"].shape[1:] == (24, 48, 3)
        assert dev.boxes.tolist() == [[0, 0, 1, 1]] * len(dev)

    def test_a_finished_run_is_left_alone(self, street_run, capsys) -> None:
        main_again = tiny_config(street_run.folder)
        before = (street_run.folder / "metrics.json").read_bytes()
        train.main(main_again)
        assert "holds a finished run" in capsys.readouterr().out
        assert (street_run.folder / "metrics.json").read_bytes() == before


def test_stopped_in_an_epoch_it_ends_with_the_same_bits(street_run, tmp_path, monkeypatch, command):
    """Augmentation, dropout, the order of the rows: all of it is a function of the position."""

    class StoppingBar(ProgressBar):
        def __call__(self, progress: Progress) -> None:
            super().__call__(progress)
            if progress.step == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    config = tiny_config(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(train, "ProgressBar", StoppingBar)
        stopped = command(train.main, StreetConfig, *as_arguments(config))
    assert stopped.status == 128 + signal.SIGTERM and "at step 4" in stopped.out
    packed = (tmp_path / "run/data/train/images.bin").stat().st_mtime_ns
    monkeypatch.setattr(train, "export_image_model", crash)  # all that counts is done by then
    with pytest.raises(Crash):
        train.main(config)
    ours, theirs = newest_checkpoint(tmp_path / "run"), newest_checkpoint(street_run.folder)
    assert len(ours) > 20
    for (name, array), expected in zip(ours.items(), theirs.values(), strict=True):
        np.testing.assert_array_equal(array, expected, err_msg=name)
    assert (tmp_path / "run/data/train/images.bin").stat().st_mtime_ns == packed


def test_augmentation_is_on_and_is_seeded(street_run) -> None:
    packed = PackedImages(street_run.folder / "data/train")
    batch = packed.read(np.arange(8))
    transform = training_transform(tiny_config(street_run.folder))
    first, again, other = (transform(*batch, tf.constant([0, seed]))[0] for seed in (1, 1, 2))
    assert first.shape == (8, 24, 48, 3) and first.dtype == tf.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"model": "ctc", "image_height": 32, "image_width": 64},
        {"model": "lenet5", "mixup": 0.2, "cutmix": 1.0, "focal_gamma": 2.0},
        {"model": "mlp", "max_steps": 3},
        {"trunk": "resnet", "accumulate": 2, "average_decay": 0.9, "width_multiplier": 0.25},
        {"use_boxes": True, "add_drawings": 16, "cutout": 0.3, "label_smoothing": 0.1},
        {"precision": "bfloat16", "jit_compile": True},
        {"trunk": "mobilenet_v2", "width_multiplier": 0.5, "max_steps": 3},
    ],
    ids=lambda options: next(iter(options)) + str(next(iter(options.values()))),
)
def test_other_ways_to_train(tmp_path, options) -> None:
    plain = {"image_height": None, "image_width": None} if "model" in options else {}
    train.main(tiny_config(tmp_path / "run", **{**plain, **options}))
    metrics = metrics_of(tmp_path / "run")
    assert 0 <= metrics["test"]["digit_accuracy"] <= 1


class TestInitFrom:
    @pytest.mark.slow
    def test_a_frozen_trunk_stays_as_it_was(self, street_run, tmp_path) -> None:
        train.main(tiny_config(tmp_path / "run", init_from=street_run.folder, freeze_trunk=True))
        before = read_checkpoint(street_run.folder / "checkpoints/best.npz").arrays
        after = read_checkpoint(tmp_path / "run/checkpoints/best.npz").arrays
        assert before.keys() == after.keys()
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        assert changed and not any("conv_" in name for name in changed)
        assert any("digits" in name for name in changed)

    def test_all_weights_are_taken(self, street_run) -> None:
        config = tiny_config(street_run.folder, init_from=street_run.folder)
        keras.utils.set_random_seed(7)
        model = build_model(config)
        line = begin_from(config, model)
        count = len(model.weights)
        assert line == f"{count} of {count} weights come from {street_run.folder}"
        best = read_checkpoint(street_run.folder / "checkpoints/best.npz").arrays
        for weight, expected in zip(model.weights, best.values(), strict=True):
            np.testing.assert_array_equal(weight.numpy(), expected)

    def test_a_run_that_goes_on_does_not_ask_again(self, street_run, tmp_path, monkeypatch) -> None:
        shutil.copytree(street_run.folder / "checkpoints", tmp_path / "origin/checkpoints")
        monkeypatch.setattr(train, "export_image_model", crash)
        config = tiny_config(tmp_path / "run", init_from=tmp_path / "origin", max_steps=2)
        with pytest.raises(Crash):
            train.main(config)
        shutil.rmtree(tmp_path / "origin")
        with pytest.raises(Crash):
            train.main(dataclasses.replace(config, max_steps=4))
        assert CheckpointFolder(tmp_path / "run/checkpoints").steps()[-1] == 4

    def test_another_trunk_is_one_line(self, street_run, tmp_path, command) -> None:
        config = tiny_config(tmp_path / "run", init_from=street_run.folder, trunk="vgg")
        answer = command(train.main, StreetConfig, *as_arguments(config))
        assert (answer.status, answer.err.count("\n")) == (2, 1)
        assert "--init-from" in answer.err and "of this shape" in answer.err

    def test_imagenet_gives_the_trunk_its_weights(self, tmp_path, monkeypatch) -> None:
        network = PRETRAINED["mobilenet_v2"].build(include_top=False, weights=None)
        monkeypatch.setattr(street_model, "load_pretrained", lambda name: network)
        config = tiny_config(tmp_path, **FROM_IMAGENET)
        model = build_model(config)
        trunk = trunk_of(model)
        line = begin_from(config, model)
        assert line == f"{len(trunk.weights)} of {len(model.weights)} weights come from imagenet"
        known = {weight.path: weight for weight in network.weights}
        for weight in trunk.weights:
            np.testing.assert_array_equal(weight, known[weight.path])

    def test_imagenet_without_a_network_is_one_line(self, tmp_path, monkeypatch) -> None:
        def fail(name: str) -> None:
            raise OSError("URL fetch failure")

        monkeypatch.setattr(street_model, "load_pretrained", fail)
        config = tiny_config(tmp_path, **FROM_IMAGENET)
        with pytest.raises(train.UserError, match="--init-from imagenet: URL fetch failure"):
            begin_from(config, build_model(config))


def test_a_batch_that_replicas_cannot_share_is_refused(two_replicas) -> None:
    train.check_batch_size(8, two_replicas, 2)
    with pytest.raises(train.UserError, match="--batch-size 6: expected a multiple of 4"):
        train.check_batch_size(6, two_replicas, 2)


@pytest.mark.slow
@pytest.mark.parametrize("needs_boxes", ["digits", "use_boxes"])
def test_a_test_split_without_the_boxes_that_are_needed_is_left_out(tmp_path, needs_boxes) -> None:
    folder = write_competition(tmp_path / "houses", labelled_test=False)
    options = {"digits": False, "use_boxes": False, needs_boxes: True}
    rows = load_rows(str(folder), data_dir=None, seed=0, margin=0.2, **options)
    assert rows.test is None and "has no labels, and so no boxes" in rows.notes[-1]
    assert next(iter(rows.dev)).number


def test_numbers_of_one_digit_without_boxes_are_digits(tmp_path) -> None:
    folder = write_competition(tmp_path / "houses", boxes=False)
    options = {"data_dir": None, "seed": 0, "use_boxes": False, "margin": 0.2}
    for path in folder.glob("*.json"):
        labels = json.loads(path.read_text())
        digits = {name: {"label": entry["label"][:1]} for name, entry in labels.items()}
        path.write_text(json.dumps(digits))
    rows = load_rows(str(folder), digits=True, **options)
    assert rows.single_digit and len(rows.train) == len(list(rows.train)) == NUM_ROWS["train"]
    assert not load_rows(str(folder), digits=False, **options).single_digit


def test_a_picture_whose_box_is_not_in_view_is_shown_whole(
    street_run, tmp_path, monkeypatch, capsys
) -> None:
    folder = write_competition(tmp_path / "houses")
    labels = json.loads((folder / "train.json").read_text())
    name = next(iter(labels))
    labels[name]["left"] = [10_000] * len(labels[name]["label"])
    (folder / "train.json").write_text(json.dumps(labels))
    monkeypatch.setattr(train, "export_image_model", crash)
    with pytest.raises(Crash):
        train.main(tiny_config(tmp_path / "run", dataset=str(folder), max_steps=1))
    boxes = PackedImages(tmp_path / "run/data/train").boxes
    assert boxes[0].tolist() == [0, 0, 1, 1] and boxes[1].tolist() != [0, 0, 1, 1]
    told = f"1 of 40 pictures have a box that lies outside of them or has no area, such as {name}"
    assert told in capsys.readouterr().out


def test_fewer_rows_than_a_batch_are_one_batch(street_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(train, "export_image_model", crash)
    with pytest.raises(Crash):
        train.main(tiny_config(tmp_path / "run", train_rows=5, max_steps=2))
    record = (tmp_path / "run/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in record] == [1, 2]
