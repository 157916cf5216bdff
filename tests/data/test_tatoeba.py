"""tatoeba: the archive and its text, splits that stay when it grows, and downloads."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.local_host import NO_HOST, serve
from tfcamp.data.datasets.tatoeba import upstream
from tfcamp.data.parallel_sources import ParallelDataset, load_parallel_dataset
from tfcamp.errors import UserError

ARCHIVE = Path(upstream.__file__).with_name("dummy_data") / upstream.ARCHIVE
SPLITS = ("train", "validation", "test")


def load(data_dir: Path, source: str | None = None) -> ParallelDataset:
    return load_parallel_dataset("tatoeba", source_language=source, data_dir=data_dir, seed=0)


def error_of(data_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


def put(folder: Path, *, as_text: bool) -> Path:
    """Puts the made-up archive, or the text in it, where the data set's files are."""
    folder.mkdir()
    if as_text:
        with zipfile.ZipFile(ARCHIVE) as archive:
            return Path(archive.extract(upstream.TEXT, folder))
    return Path(shutil.copy(ARCHIVE, folder))


@pytest.fixture
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "HOMEPAGE", NO_HOST)


@pytest.mark.usefixtures("no_host")
@pytest.mark.parametrize("as_text", [False, True])
def test_files_that_are_there_are_taken(tmp_path: Path, as_text: bool) -> None:
    put(tmp_path / "tatoeba", as_text=as_text)
    dataset = load(tmp_path)
    assert (dataset.source_language, dataset.target_language) == ("en", "zh")
    assert list(dataset.train)[2:4] == [
        ("Put the spoons in the drawer.", "把勺子放进抽屉里。"),
        ("Put the spoons in the drawer.", "勺子放抽屉里。"),
    ]
    assert dataset.test is not None
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [5, 2, 4]
    (note,) = dataset.notes
    assert "no checksum" in note and dataset.sha256 in note
    assert list(load(tmp_path, source="zh").dev) == [row[::-1] for row in dataset.dev]


def test_the_attribution_is_kept() -> None:
    first = next(upstream.read_split(ARCHIVE, "train"))
    assert first == (
        "The kettle is on.",
        "水壶烧着呢。",
        "made up for a test #1 (nobody) & #2 (nobody)",
    )


def test_a_sentence_of_either_language_stands_in_one_split() -> None:
    """Three English sentences have one Chinese translation, but for a full stop: test keeps it."""
    rows = {split: list(upstream.read_split(ARCHIVE, split)) for split in SPLITS}
    ferry = [split for split, pairs in rows.items() for pair in pairs if "ferry" in pair.english]
    assert ferry == ["test"]
    translations = {
        upstream.split_of(pair.english)
        for pair in upstream.read_pairs(ARCHIVE)
        if "ferry" in pair.english
    }
    assert translations == set(SPLITS)


@given(st.sets(st.text("abcdefghij ", min_size=3, max_size=8), min_size=1, max_size=40))
def test_a_sentence_stays_in_its_split_when_the_archive_grows(tmp_path_factory, sentences) -> None:
    path = tmp_path_factory.mktemp("tatoeba") / "cmn.txt"
    lines = [f"{text}\t译{number}\tA\n" for number, text in enumerate(sorted(sentences))]

    def splits(num_lines: int) -> dict[str, str]:
        path.write_text("".join(lines[:num_lines]), "utf-8")
        return {
            pair.chinese: split for split in SPLITS for pair in upstream.read_split(path, split)
        }

    before, after = splits(len(lines) // 2), splits(len(lines))
    assert len(after) == len(lines)
    assert before.items() <= after.items()


def test_case_width_and_punctuation_do_not_move_a_sentence() -> None:
    forms = ["Who left the gate open?", "who left the gate open", "Ｗｈｏ left the gate… open!"]
    assert {upstream.split_of(form) for form in forms} == {"test"}


def test_a_tenth_is_held_out() -> None:
    splits = [upstream.split_of(f"Sentence number {number}.") for number in range(4000)]
    # 200 expected of each; 5 standard deviations are 69.
    assert all(131 < splits.count(split) < 269 for split in ("test", "validation"))


@pytest.mark.usefixtures("no_host")
class TestErrors:
    def test_no_network_says_what_to_put_where(self, tmp_path: Path) -> None:
        message = error_of(tmp_path)
        assert message.startswith(f"tatoeba: cannot download {NO_HOST}cmn-eng.zip")
        assert str(tmp_path / "tatoeba/cmn-eng.zip") in message
        assert list(tmp_path.iterdir()) == []

    def test_a_line_of_two_columns(self, tmp_path: Path) -> None:
        path = put(tmp_path / "tatoeba", as_text=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("Hi.\t嗨。\n")
        assert f"{path}:14: expected English, Chinese and attribution" in error_of(tmp_path)

    def test_another_archive(self, tmp_path: Path) -> None:
        (tmp_path / "tatoeba").mkdir()
        path = tmp_path / "tatoeba" / upstream.ARCHIVE
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fra.txt", "Hi.\tSalut.\tA\n")
        assert error_of(tmp_path).startswith(f"{path}: has no cmn.txt")

    def test_a_spoilt_archive(self, tmp_path: Path) -> None:
        path = put(tmp_path / "tatoeba", as_text=False)
        content = bytearray(path.read_bytes())
        place = content.index(b"cmn.txt") + 50
        content[place : place + 20] = bytes(20)
        path.write_bytes(content)
        assert error_of(tmp_path).startswith(f"{path}/cmn.txt: cannot be read: ")


class TestDownload:
    @pytest.fixture
    def host(self, tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        folder = tmp_path_factory.mktemp("host")
        shutil.copy(ARCHIVE, folder)
        with serve(folder, monkeypatch) as address:
            monkeypatch.setattr(upstream, "HOMEPAGE", address)
            yield folder

    def test_lands_in_the_data_dir(self, tmp_path: Path, host: Path) -> None:
        downloaded = load(tmp_path)
        assert [path.name for path in (tmp_path / "tatoeba").iterdir()] == [upstream.ARCHIVE]
        shutil.rmtree(host)
        assert list(load(tmp_path).train) == list(downloaded.train)

    def test_of_something_else_leaves_nothing(self, tmp_path: Path, host: Path) -> None:
        (host / upstream.ARCHIVE).write_text("<html>Not Acceptable</html>")
        assert "cmn-eng.zip: " in error_of(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_that_breaks_off_is_taken_up(self, tmp_path: Path, host: Path) -> None:
        (host / f"{upstream.ARCHIVE}.cut").touch()
        assert "cannot download" in error_of(tmp_path)
        part = tmp_path / "tatoeba/.download" / f"{upstream.ARCHIVE}.part"
        assert part.read_bytes() == ARCHIVE.read_bytes()[: part.stat().st_size]
        (host / f"{upstream.ARCHIVE}.cut").unlink()
        assert len(load(tmp_path).train) == 5

    def test_pieces_of_two_archives(self, tmp_path: Path, host: Path) -> None:
        """What stands in the middle is told by the checksum of the text alone."""
        for name, word in (("yesterday.zip", "早"), (upstream.ARCHIVE, "晚")):
            lines = (f"Sentence {number:04d}.\t{word}{number:04d}\tA\n" for number in range(5000))
            with zipfile.ZipFile(host / name, "w") as archive:
                archive.writestr(upstream.TEXT, "".join(lines))
        holding = tmp_path / "tatoeba/.download"
        holding.mkdir(parents=True)
        piece = (host / "yesterday.zip").read_bytes()[:80_000]
        (holding / f"{upstream.ARCHIVE}.part").write_bytes(piece)
        load(tmp_path)
        whole = (tmp_path / "tatoeba" / upstream.ARCHIVE).read_bytes()
        assert whole == (host / upstream.ARCHIVE).read_bytes()

    def test_of_an_archive_that_leads_out_of_its_folder(self, tmp_path: Path, host: Path) -> None:
        with zipfile.ZipFile(host / upstream.ARCHIVE, "a") as archive:
            archive.writestr("../../.profile", "evil")
        assert "../../.profile: leads out of it" in error_of(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_builder_and_door_give_the_same_pairs(tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    from tfcamp.data.datasets.tatoeba.tatoeba_dataset_builder import Builder

    put(tmp_path / "tatoeba", as_text=True)
    builder = Builder(data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    dataset = load(tmp_path)
    for split, ours in (("train", dataset.train), ("validation", dataset.dev)):
        examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        rows = [(example["en"].decode(), example["zh"].decode()) for example in examples]
        assert rows == list(ours)
        assert all(example["attribution"].startswith(b"made up") for example in examples)


def test_tfds_own_set_of_this_name_stays_within_reach() -> None:
    import tensorflow_datasets as tfds

    from tfcamp.data.datasets.tatoeba.tatoeba_dataset_builder import Builder

    assert Builder.name == "tatoeba"
    assert "tatoeba_zh" in tfds.builder_cls("tatoeba").builder_configs
