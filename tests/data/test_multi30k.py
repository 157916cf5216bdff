"""multi30k: upstream's files from a folder, from a server, and from a server that fails."""

import gzip
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.local_host import NO_HOST, serve
from tfcamp.data.datasets.multi30k import upstream
from tfcamp.data.parallel_sources import ParallelDataset, load_parallel_dataset
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError

DUMMY_DATA = Path(upstream.__file__).with_name("dummy_data")


def load(data_dir: Path, target: str | None = None) -> ParallelDataset:
    return load_parallel_dataset("multi30k", target_language=target, data_dir=data_dir, seed=0)


def error_of(data_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the made-up captions upstream's."""
    dummies = {name: sha256_of([DUMMY_DATA / name]) for name in upstream.FILES}
    monkeypatch.setattr(upstream, "FILES", dummies)


@pytest.fixture
def host(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder that a local server serves in upstream's place."""
    folder = tmp_path_factory.mktemp("host")
    shutil.copytree(DUMMY_DATA, folder, dirs_exist_ok=True)
    with serve(folder, monkeypatch) as address:
        monkeypatch.setattr(upstream, "BASE_URL", address)
        yield folder


@pytest.fixture
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "BASE_URL", NO_HOST)


@pytest.mark.usefixtures("made_up", "no_host")
class TestFolder:
    def test_files_that_are_there_are_taken(self, tmp_path: Path) -> None:
        shutil.copytree(DUMMY_DATA, tmp_path / "multi30k")
        dataset = load(tmp_path)
        assert (dataset.source_language, dataset.target_language) == ("de", "en")
        assert dataset.test is not None
        assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [4, 2, 3]
        assert list(dataset.train)[1] == (
            "Eine Frau repariert ein rotes Fahrrad. ",
            "A woman repairs a red bicycle.",
        )
        assert dataset.notes == ()
        other = load(tmp_path, target="de")
        assert list(other.test or ()) == [row[::-1] for row in dataset.test]
        assert other.sha256 == dataset.sha256

    def test_other_files_are_accepted_and_said(self, tmp_path: Path) -> None:
        folder = tmp_path / "multi30k"
        shutil.copytree(DUMMY_DATA, folder)
        (folder / "val.en.gz").write_bytes(gzip.compress(b"A dog.\nA cat.\n"))
        dataset = load(tmp_path)
        (note,) = dataset.notes
        assert "not upstream's files: val.en.gz has sha256 " in note and dataset.sha256 in note
        order = [
            f"{stem}.{language}.gz"
            for stem in upstream.SPLITS.values()
            for language in ("de", "en")
        ]
        content = b"".join((folder / name).read_bytes() for name in order)
        assert dataset.sha256 == hashlib.sha256(content).hexdigest()

    def test_a_part_of_the_files_is_an_error(self, tmp_path: Path) -> None:
        shutil.copytree(DUMMY_DATA, tmp_path / "multi30k")
        (tmp_path / "multi30k/val.de.gz").unlink()
        assert f"{tmp_path / 'multi30k'}: lacks val.de.gz; put it beside" in error_of(tmp_path)

    def test_no_network_says_what_to_put_where(self, tmp_path: Path) -> None:
        message = error_of(tmp_path)
        assert message.startswith(f"multi30k: cannot download {NO_HOST}")
        for name in upstream.FILES:
            assert str(tmp_path / "multi30k" / name) in message
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("made_up")
class TestDownload:
    def test_lands_in_the_data_dir(self, tmp_path: Path, host: Path) -> None:
        downloaded = load(tmp_path)
        folder = tmp_path / "multi30k"
        assert {path.name for path in folder.iterdir()} == set(upstream.FILES)
        assert downloaded.notes == ()
        shutil.rmtree(host)
        assert list(load(tmp_path).train) == list(downloaded.train)

    def test_that_breaks_off_is_taken_up(self, tmp_path: Path, host: Path) -> None:
        (host / "val.en.gz.cut").touch()
        assert "cannot download" in error_of(tmp_path)
        assert [path.name for path in (tmp_path / "multi30k").iterdir()] == [".download"]
        (host / "val.en.gz.cut").unlink()
        assert load(tmp_path).notes == ()

    def test_of_another_file_is_refused(self, tmp_path: Path, host: Path) -> None:
        (host / "val.de.gz").write_text("<html>Please sign in</html>")
        assert "val.de.gz has sha256 " in error_of(tmp_path)
        assert not (tmp_path / "multi30k/val.de.gz").exists()

    @pytest.mark.parametrize("name", ["train.de.gz", "val.en.gz"])
    def test_that_the_host_lacks(self, tmp_path: Path, host: Path, name: str) -> None:
        (host / name).unlink()
        message = error_of(tmp_path)
        assert "404" in message and str(tmp_path / "multi30k" / name) in message


@pytest.mark.usefixtures("made_up")
def test_builder_takes_the_files_of_its_data_dir(tmp_path: Path) -> None:
    # Imported here: TFDS brings TensorFlow with it, which the tests above that fetch nothing skip.
    import tensorflow_datasets as tfds

    from tfcamp.data.datasets.multi30k.multi30k_dataset_builder import Builder

    shutil.copytree(DUMMY_DATA, tmp_path / "multi30k")
    builder = Builder(data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    examples = tfds.as_numpy(builder.as_dataset(split="train"))
    rows = [(example["de"].decode(), example["en"].decode()) for example in examples]
    assert rows == list(load(tmp_path).train)


def test_the_real_files_are_upstreams(shared_data: Path) -> None:
    dataset = load(shared_data)
    assert dataset.test is not None and dataset.notes == ()
    sizes = [len(split) for split in (dataset.train, dataset.dev, dataset.test)]
    assert sizes == [29_000, 1_014, 1_000]
    # The same folder, given as anybody's.
    folder = load_parallel_dataset(str(shared_data / "multi30k"), data_dir=None, seed=0)
    assert folder.sha256 == dataset.sha256 and list(folder.dev) == list(dataset.dev)


def test_the_builder_has_registered_these_checksums() -> None:
    listing = Path(upstream.__file__).with_name("checksums.tsv").read_text().splitlines()
    registered = [line.split("\t") for line in listing]
    assert {name: sha256 for _, _, sha256, name in registered} == upstream.FILES
    assert {name: url for url, _, _, name in registered} == upstream.urls()
