"""svhn_full: archives written here, the builder, the splits, and what is not as expected."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from tests.data.local_host import NO_HOST, serve
from tests.data.svhn_archives import digit_struct, png, put_archive
from tfcamp.data.datasets import fetching
from tfcamp.data.datasets.svhn_full import upstream
from tfcamp.data.datasets.svhn_full.archives import read_archive
from tfcamp.data.image_sources import load_image_dataset
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError

TRAIN = [str(3 * position) for position in range(1, 21)]


def put_archives(root: Path) -> None:
    folder = root / "svhn_full"
    folder.mkdir()
    put_archive(folder / "train.tar.gz", TRAIN)
    put_archive(folder / "test.tar.gz", ["10", "123456", "7"])


def test_an_archive_by_hand(tmp_path: Path) -> None:
    put_archive(tmp_path / "test.tar.gz", ["10", "123456", "7"])
    rows = list(read_archive(tmp_path / "test.tar.gz"))
    assert [(row.name, row.number) for row in rows] == [
        ("1.png", "10"),
        ("2.png", "123456"),
        ("3.png", "7"),
    ]
    assert rows[0].image == png(1)
    assert rows[0].boxes.dtype == np.int32
    assert rows[0].boxes.tolist() == [[-1, 2, 8, 15], [7, 2, 8, 15]]
    assert rows[2].boxes.tolist() == [[-1, 2, 8, 15]]


BOX = (0, 0, 5, 5)


@pytest.mark.parametrize(
    ("digits", "told"),
    [
        (digit_struct([("1.png", [11], [BOX])]), "1.png: expected labels 1 to 10, got [11.0]"),
        (digit_struct([("1.png", [0], [BOX])]), "1.png: expected labels 1 to 10, got [0.0]"),
        (digit_struct([("1.png", [1] * 7, [BOX] * 7)]), "1.png: number '1111111' has 7 digits"),
        (digit_struct([("1.png", [1, 2], [BOX])]), "1.png: has 2 labels and other boxes"),
        (digit_struct([("9.png", [1], [BOX])]), "digitStruct.mat names 9.png, which is not there"),
        (b"MATLAB 5.0", "digitStruct.mat: expected SVHN's HDF5 layout"),
    ],
)
def test_spoilt_digits(tmp_path: Path, digits: bytes, told: str) -> None:
    path = tmp_path / "test.tar.gz"
    put_archive(path, ["1"], digits=digits)
    with pytest.raises(UserError) as caught:
        list(read_archive(path))
    assert str(caught.value).startswith(f"{path}: ") and told in str(caught.value)


def test_spoilt_archives(tmp_path: Path) -> None:
    path = tmp_path / "test.tar.gz"
    put_archive(path, ["1", "2"], missing=2)
    with pytest.raises(UserError, match=r"names 2\.png, which is not there"):
        list(read_archive(path))
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"<html>"):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"test\.tar\.gz: cannot be read as a tar archive"):
            list(read_archive(path))


def test_the_data_set(tmp_path: Path) -> None:
    put_archives(tmp_path)
    dataset = load_image_dataset("svhn_full", data_dir=tmp_path, seed=0)
    assert dataset.test is not None and not dataset.single_digit
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [18, 2, 3]
    rows = [*dataset.train, *dataset.dev]
    assert sorted(row.number or "" for row in rows) == sorted(TRAIN)
    assert dataset.test.length_counts == (1, 1, 0, 0, 0, 1)
    (row,) = (row for row in dataset.test if row.number == "10")
    assert row.name == "1.png" and row.image == png(1)
    assert row.boxes is not None and row.boxes.tolist() == [[-1, 2, 8, 15], [7, 2, 8, 15]]
    # Built once: the archives are not needed again, and the order stays.
    (tmp_path / "svhn_full/train.tar.gz").unlink()
    (tmp_path / "svhn_full/test.tar.gz").unlink()
    again = load_image_dataset("svhn_full", data_dir=tmp_path, seed=1)
    assert [row.name for row in again.train] == [row.name for row in dataset.train]
    assert again.sha256 == dataset.sha256


def test_the_easier_numbers(tmp_path: Path) -> None:
    put_archives(tmp_path)
    put_archive(tmp_path / "svhn_full/extra.tar.gz", ["55", "555"])
    dataset = load_image_dataset("svhn_full/extra", data_dir=tmp_path, seed=0)
    assert len(dataset.train) == 20 and len(dataset.dev) == 2
    assert sum(row.number == "555" for row in dataset.train) == 1


def test_a_part_of_the_archives(tmp_path: Path) -> None:
    put_archives(tmp_path)
    (tmp_path / "svhn_full/test.tar.gz").unlink()
    with pytest.raises(UserError, match=r"svhn_full: lacks test\.tar\.gz; put it beside"):
        load_image_dataset("svhn_full", data_dir=tmp_path, seed=0)


@pytest.mark.parametrize("name", ["svhn_full", "svhn_full/extra"])
def test_the_archives_are_downloaded(
    tmp_path: Path, tmp_path_factory, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    host = tmp_path_factory.mktemp("host")
    archives = {"train": TRAIN, "test": ["10", "7"], "extra": ["55"]}
    for split, numbers in archives.items():
        put_archive(host / f"{split}.tar.gz", numbers)
    sums = {file: sha256_of([host / file]) for file in upstream.FILES}
    monkeypatch.setattr(upstream, "FILES", sums)
    with serve(host, monkeypatch) as address:
        monkeypatch.setattr(upstream, "HOMEPAGE", address)
        (host / "test.tar.gz.cut").touch()
        with pytest.raises(UserError, match=r"test\.tar\.gz \(the connection broke at"):
            load_image_dataset(name, data_dir=tmp_path, seed=0)
        (host / "test.tar.gz.cut").unlink()
        dataset = load_image_dataset(name, data_dir=tmp_path, seed=0)
    has_extra = name.endswith("extra")
    assert len(dataset.train) == 18 + has_extra
    found = {path.name for path in (tmp_path / "svhn_full").glob("*.tar.gz")}
    assert found == set(upstream.urls("extra" if has_extra else "default"))


def test_no_network_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "HOMEPAGE", NO_HOST)
    with pytest.raises(UserError) as caught:
        load_image_dataset("svhn_full", data_dir=tmp_path, seed=0)
    message = str(caught.value)
    assert message.startswith(f"svhn_full: cannot download {NO_HOST}train.tar.gz")
    assert str(tmp_path / "svhn_full/test.tar.gz") in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_no_network_for_tfds_own_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", NO_HOST)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(UserError) as caught:
        load_image_dataset("svhn_cropped", data_dir=tmp_path, seed=0)
    message = str(caught.value)
    assert message.startswith("svhn_cropped: cannot be downloaded (<urlopen error")
    assert f"copy its folder to {tmp_path / 'svhn_cropped'}" in message and "\n" not in message


def test_the_builder_has_registered_these_checksums() -> None:
    listing = Path(upstream.__file__).with_name("checksums.tsv").read_text().splitlines()
    registered = [line.split("\t") for line in listing]
    assert {name: sha256 for _, _, sha256, name in registered} == upstream.FILES
    assert {name: url for url, _, _, name in registered} == upstream.urls("extra")


def test_an_archive_that_leads_out_of_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "test.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("test/../../1.png"), io.BytesIO())
    with pytest.raises(UserError, match=r"test\.tar\.gz: test/\.\./\.\./1\.png: leads out of it"):
        list(read_archive(path))


def test_svhn_cropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS's builder on made-up matrices: labels are digits, images are those of the matrix."""
    crops = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    labels = np.arange(1, 21)[:, np.newaxis] % 10 + 1
    paths = {}
    for split in ("train", "test", "extra"):
        paths[split] = tmp_path / f"{split}_32x32.mat"
        scipy.io.savemat(paths[split], {"X": crops, "y": labels})

    def download(manager: object, urls: dict[str, str]) -> list[Path] | dict[str, Path]:
        found = {key: tmp_path / url.rpartition("/")[2] for key, url in urls.items()}
        assert set(found.values()) <= set(paths.values())
        return found

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    monkeypatch.setattr(fetching, "_check_host", lambda _: None)
    dataset = load_image_dataset("svhn_cropped", data_dir=tmp_path, seed=0)
    assert dataset.single_digit and dataset.test is not None
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [18, 2, 20]
    rows = [*dataset.train, *dataset.dev]
    known = {crops[..., place].tobytes(): str(labels[place, 0] % 10) for place in range(20)}
    assert {
        np.asarray(Image.open(io.BytesIO(row.image))).tobytes(): row.number for row in rows
    } == known
    assert any("one house" in note for note in dataset.notes)
