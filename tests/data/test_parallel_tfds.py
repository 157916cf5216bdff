"""Translation sets of TFDS by name, with a tiny builder in the place of a large one."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from tests.data.local_host import NO_HOST
from tfcamp.data.parallel_sources import ParallelDataset, load_parallel_dataset
from tfcamp.errors import UserError

SIZES = {
    "whole": {"train": 40, "validation": 3, "test": 4},
    "no_test": {"train": 40, "validation": 3},
    "no_validation": {"train": 40, "test": 4},
    "train_only": {"train": 40},
}


class TinyTranslate(tfds.core.GeneratorBasedBuilder):
    """Numbers and their translation, as ted_hrlr_translate holds sentences."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        tfds.core.BuilderConfig(name=name, description=name) for name in SIZES
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.Translation(languages=("pt", "en"))
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=("pt", "en"), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {
            split: self._generate_examples(split, size)
            for split, size in SIZES[self.builder_config.name].items()
        }

    def _generate_examples(self, split: str, size: int) -> Iterator[tuple[int, dict[str, str]]]:
        for number in range(size):
            yield number, {"pt": f"número {split} {number}", "en": f"number {split} {number}"}


class TinyLabels(tfds.core.GeneratorBasedBuilder):
    """A data set that holds no pairs."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)}
        )
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=("text", "label")
        )

    def _split_generators(self, dl_manager):
        raise AssertionError("nobody should want to build this")

    def _generate_examples(self):
        raise AssertionError("nobody should want to build this")


def load(name: str, root: Path, target: str | None = None) -> ParallelDataset:
    return load_parallel_dataset(name, target_language=target, data_dir=root, seed=0)


def error_of(name: str, root: Path, target: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(name, root, target)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_splits_are_tfds_own_and_are_built_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load("tiny_translate/whole", tmp_path)
    assert dataset.name == "tiny_translate/whole" and dataset.notes == ()
    assert (dataset.source_language, dataset.target_language) == ("pt", "en")
    assert dataset.test is not None
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [40, 3, 4]
    dev = [(f"número validation {number}", f"number validation {number}") for number in range(3)]
    assert list(dataset.dev) == dev
    files = sorted((tmp_path / "tiny_translate/whole/1.0.0").glob("*.tfrecord*"))
    content = b"".join(path.read_bytes() for path in files)
    assert dataset.sha256 == hashlib.sha256(content).hexdigest()

    # DATA_DIR now holds a folder of this name, which is not the user's own.
    monkeypatch.setattr(TinyTranslate, "download_and_prepare", None)
    other = load("tiny_translate/whole", tmp_path, target="pt")
    assert list(other.dev) == [row[::-1] for row in dev]
    assert other.sha256 == dataset.sha256
    assert load("tiny_translate/whole:1.0.0", tmp_path).sha256 == dataset.sha256


@pytest.mark.parametrize(
    ("config", "sizes", "told"),
    [
        ("no_test", [40, 3, 0], ""),
        ("no_validation", [36, 4, 4], "the last tenth of the training split is the validation"),
        ("train_only", [32, 4, 4], "the last two tenths of its only split"),
    ],
)
def test_missing_splits_are_taken_from_train(tmp_path: Path, config, sizes, told: str) -> None:
    dataset = load(f"tiny_translate/{config}", tmp_path)
    splits = (dataset.train, dataset.dev, dataset.test or ())
    assert [len(split) for split in splits] == sizes
    rows = [row for split in splits for row in split]
    assert len(set(rows)) == len(rows) == sum(SIZES[config].values())
    assert [told in note for note in dataset.notes] == [True] * bool(told)


def test_a_configuration_that_it_lacks(tmp_path: Path) -> None:
    message = error_of("tiny_translate/part", tmp_path)
    assert (
        "TFDS's tiny_translate has no configuration 'part'; expected one of whole, no_test"
        in message
    )


def test_a_language_that_it_lacks(tmp_path: Path) -> None:
    assert "has pt, en, not 'zh'" in error_of("tiny_translate/whole", tmp_path, target="zh")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tiny_labels", "ted_multi_translate"])
def test_a_set_without_pairs(tmp_path: Path, name: str) -> None:
    assert f"{name}: TFDS's data set of this name does not hold pairs" in error_of(name, tmp_path)


def test_no_network_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS would go on asking for minutes."""
    infos = {f"{NO_HOST}pairs.tar.gz": tfds.download.checksums.UrlInfo(1, "0", "pairs.tar.gz")}
    monkeypatch.setattr(TinyTranslate, "url_infos", infos)
    message = error_of("tiny_translate/whole", tmp_path)
    assert message.startswith("tiny_translate/whole: cannot be downloaded (<urlopen error")
    assert (
        f"tfds build tiny_translate/whole) and copy its folder to {tmp_path}/tiny_translate"
        in message
    )


def test_files_that_must_be_downloaded_by_hand(tmp_path: Path, monkeypatch) -> None:
    def ask(*_) -> None:
        raise AssertionError("For CWMT, you must manually download casia2015.zip\nand so on")

    monkeypatch.setattr(TinyTranslate, "_split_generators", ask)
    assert "you must manually download casia2015.zip" in error_of("tiny_translate/whole", tmp_path)


@pytest.mark.parametrize(
    ("name", "languages"),
    [("ted_hrlr_translate/pt_to_en", "pt, en"), ("wmt19_translate/zh-en", "zh, en")],
)
def test_sets_of_tfds_are_known(tmp_path: Path, name: str, languages: str) -> None:
    """Their languages are found without building them, so a wrong one costs no download."""
    assert f"{name}: has {languages}, not 'sw'" in error_of(name, tmp_path, target="sw")
