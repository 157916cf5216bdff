"""thucnews: upstream's files from a folder, from a server, and from a server that fails."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.local_host import NO_HOST, serve
from tfcamp.data.datasets.thucnews import upstream
from tfcamp.data.sources import load_text_dataset
from tfcamp.errors import UserError

DUMMY_DATA = Path(upstream.__file__).with_name("dummy_data")


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the made-up titles upstream's; of dev and test only the length is known, as there."""
    facts = {}
    for name in upstream.FILES:
        path = DUMMY_DATA / name
        blob_id = None if name in ("dev.txt", "test.txt") else upstream.git_blob_id(path)
        facts[name] = upstream.UpstreamFile(len(path.read_bytes().splitlines()), blob_id)
    monkeypatch.setattr(upstream, "FILES", facts)


@pytest.fixture
def host(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder that a local server serves in upstream's place."""
    folder = tmp_path_factory.mktemp("host")
    for name in upstream.FILES:
        (folder / name).write_bytes((DUMMY_DATA / name).read_bytes())

    with serve(folder, monkeypatch) as address:
        monkeypatch.setattr(upstream, "BASE_URL", address)
        yield folder


@pytest.fixture
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts upstream on a port of this machine that nothing listens on."""
    monkeypatch.setattr(upstream, "BASE_URL", NO_HOST)


def put_dummy_files(folder: Path) -> None:
    folder.mkdir()
    for name in upstream.FILES:
        (folder / name).write_bytes((DUMMY_DATA / name).read_bytes())


def error_of(data_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_text_dataset("thucnews", data_dir=data_dir, seed=0)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_git_blob_id_is_gits(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert upstream.git_blob_id(tmp_path / "a") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    (tmp_path / "a").write_bytes(b"what is up, doc?")
    assert upstream.git_blob_id(tmp_path / "a") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


@pytest.mark.usefixtures("made_up", "no_host")
class TestFolder:
    def test_files_that_are_there_are_taken(self, tmp_path: Path) -> None:
        put_dummy_files(tmp_path / "thucnews")
        dataset = load_text_dataset("thucnews", data_dir=tmp_path, seed=0)
        assert dataset.classes[0] == "finance" and len(dataset.classes) == 10
        assert dataset.test is not None
        assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [12, 3, 4]
        assert next(iter(dataset.train)) == ("央行下调存款准备金率 银行股早盘走强", 0)
        assert dataset.notes == ()

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("train.txt", "train.txt has git blob id "),
            ("test.txt", "test.txt has 5 lines, upstream's has 4"),
        ],
    )
    def test_other_files_are_accepted_and_said(self, tmp_path: Path, name: str, told: str) -> None:
        put_dummy_files(tmp_path / "thucnews")
        with (tmp_path / "thucnews" / name).open("a") as file:
            file.write("又一条\t1\n")
        dataset = load_text_dataset("thucnews", data_dir=tmp_path, seed=0)
        (note,) = dataset.notes
        assert "not upstream's files" in note and told in note and dataset.sha256 in note
        names = ("train.txt", "dev.txt", "test.txt", "class.txt")
        content = b"".join((tmp_path / "thucnews" / name).read_bytes() for name in names)
        assert dataset.sha256 == hashlib.sha256(content).hexdigest()

    def test_a_part_of_the_files_is_an_error(self, tmp_path: Path) -> None:
        put_dummy_files(tmp_path / "thucnews")
        (tmp_path / "thucnews/dev.txt").unlink()
        assert f"{tmp_path / 'thucnews'}: lacks dev.txt" in error_of(tmp_path)

    def test_no_network_says_what_to_put_where(self, tmp_path: Path) -> None:
        message = error_of(tmp_path)
        assert message.startswith(f"thucnews: cannot download {NO_HOST}")
        for name in upstream.FILES:
            assert str(tmp_path / "thucnews" / name) in message
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("made_up")
class TestDownload:
    def test_lands_in_the_data_dir(self, tmp_path: Path, host: Path) -> None:
        downloaded = load_text_dataset("thucnews", data_dir=tmp_path, seed=0)
        folder = tmp_path / "thucnews"
        assert {path.name for path in folder.iterdir()} == set(upstream.FILES)
        for name in upstream.FILES:
            assert (folder / name).read_bytes() == (DUMMY_DATA / name).read_bytes()
        assert downloaded.notes == ()
        (host / "class.txt").unlink()
        again = load_text_dataset("thucnews", data_dir=tmp_path, seed=0)
        assert list(again.train) == list(downloaded.train)

    @pytest.mark.parametrize("name", ["train.txt", "dev.txt"])
    def test_that_breaks_off_is_taken_up(self, tmp_path: Path, host: Path, name: str) -> None:
        (host / f"{name}.cut").touch()
        assert "cannot download" in error_of(tmp_path)
        assert [path.name for path in (tmp_path / "thucnews").iterdir()] == [".download"]
        (host / f"{name}.cut").unlink()
        assert load_text_dataset("thucnews", data_dir=tmp_path, seed=0).notes == ()
        assert {path.name for path in (tmp_path / "thucnews").iterdir()} == set(upstream.FILES)

    @pytest.mark.parametrize("name", ["train.txt", "test.txt", "class.txt"])
    def test_of_another_file_is_refused(self, tmp_path: Path, host: Path, name: str) -> None:
        (host / name).write_text("<html>Please sign in</html>")
        assert f"{name} has " in error_of(tmp_path)
        assert not (tmp_path / "thucnews" / name).exists()

    def test_that_the_host_lacks(self, tmp_path: Path, host: Path) -> None:
        (host / "dev.txt").unlink()
        message = error_of(tmp_path)
        assert "404" in message and str(tmp_path / "thucnews/dev.txt") in message


def test_builder_takes_the_files_of_its_data_dir(tmp_path: Path) -> None:
    # Imported here: TFDS brings TensorFlow with it, which the tests above that fetch nothing skip.
    import tensorflow_datasets as tfds

    from tfcamp.data.datasets.thucnews.thucnews_dataset_builder import CLASSES, Builder

    put_dummy_files(tmp_path / "thucnews")
    builder = Builder(data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    rows = [
        (example["title"].decode(), int(example["label"]))
        for example in tfds.as_numpy(builder.as_dataset(split="train"))
    ]
    dataset = load_text_dataset("thucnews", data_dir=tmp_path, seed=0)
    assert rows == list(dataset.train)
    assert dataset.classes == CLASSES


def test_the_real_files(shared_data: Path) -> None:
    dataset = load_text_dataset("thucnews", data_dir=shared_data, seed=0)
    assert dataset.test is not None
    sizes = [len(split) for split in (dataset.train, dataset.dev, dataset.test)]
    assert sizes == [97_873, 9_985, 9_990]
    assert upstream.difference("class.txt", shared_data / "thucnews/class.txt") is None
    (note,) = dataset.notes
    assert "class.txt" not in note and "train.txt has git blob id 56adfd6dc659" in note
