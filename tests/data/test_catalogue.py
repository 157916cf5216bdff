"""The known data sets: none is forgotten, each is found where it lies and fetched where it can."""

import importlib.resources
from collections.abc import Iterator
from pathlib import Path

import pytest

from projects.street_view.data import SAMPLE_ROWS as NUM_DRAWINGS
from tests.data.local_host import NO_HOST, serve
from tfcamp.data import image_sources, parallel_sources, sources
from tfcamp.data.catalogue import CATALOGUE, KnownDataset, fetch_dataset, find_dataset
from tfcamp.data.datasets.multi30k import upstream as multi30k
from tfcamp.data.datasets.svhn_full import upstream as svhn_full
from tfcamp.data.datasets.tatoeba import upstream as tatoeba
from tfcamp.data.datasets.thucnews import upstream as thucnews
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError

FETCHED = [dataset.name for dataset in CATALOGUE if dataset.urls is not None]


def put(dataset: KnownDataset, data_dir: Path, place: int = 0) -> None:
    """Writes empty files where a data set's are looked for."""
    for pattern in dataset.places[place]:
        path = dataset.folder_in(data_dir) / pattern.replace("*", "1.0.0")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("project", "names"),
    [
        ("news", sources.KNOWN_DATASETS),
        ("street_view", image_sources.KNOWN_DATASETS),
        ("translation", parallel_sources.KNOWN_DATASETS),
    ],
)
def test_it_has_what_the_doors_know(project: str, names: tuple[str, ...]) -> None:
    listed = [dataset.name for dataset in CATALOGUE if dataset.project == project]
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize(
    "dataset",
    [dataset for dataset in CATALOGUE if dataset.places],
    ids=lambda dataset: dataset.name,
)
def test_each_is_found_where_it_lies(tmp_path: Path, dataset: KnownDataset) -> None:
    for place in range(len(dataset.places)):
        data_dir = tmp_path / str(place)
        assert not dataset.is_in(data_dir)
        put(dataset, data_dir, place)
        assert dataset.is_in(data_dir)
    if len(dataset.places[0]) > 1:
        first = dataset.places[0][0].replace("*", "1.0.0")
        (dataset.folder_in(tmp_path / "0") / first).unlink()
        assert not dataset.is_in(tmp_path / "0")


def test_the_real_data_are_found(shared_data: Path) -> None:
    found = {dataset.name for dataset in CATALOGUE if dataset.is_in(shared_data)}
    assert found == {"thucnews", "multi30k", "street_view", "street_view_digits"}


def test_the_samples_have_the_rows_that_it_says() -> None:
    sizes = {
        dataset.project: dataset.content.partition(" ")[0]
        for dataset in CATALOGUE
        if dataset.name == "sample"
    }
    samples = importlib.resources.files("tfcamp.data.samples")
    with importlib.resources.as_file(samples / "news/train.tsv") as path:
        assert f"{len(path.read_text('utf-8').splitlines()):,}" == sizes["news"]
    pairs = parallel_sources.load_parallel_dataset("sample", data_dir=None, seed=0)
    assert f"{len(pairs.train):,}" == sizes["translation"]
    assert f"{NUM_DRAWINGS:,}" == sizes["street_view"]


@pytest.fixture
def host(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Serves made-up files in the place of every upstream."""
    folder = tmp_path_factory.mktemp("host")
    for upstream in (multi30k, tatoeba, thucnews):
        for path in Path(str(upstream.__file__)).with_name("dummy_data").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    for name in svhn_full.FILES:
        (folder / name).write_bytes(name.encode())
    sums = {name: sha256_of([folder / name]) for name in (*multi30k.FILES, *svhn_full.FILES)}
    monkeypatch.setattr(multi30k, "FILES", {name: sums[name] for name in multi30k.FILES})
    monkeypatch.setattr(svhn_full, "FILES", {name: sums[name] for name in svhn_full.FILES})
    facts = {
        name: thucnews.UpstreamFile(0, thucnews.git_blob_id(folder / name))
        for name in thucnews.FILES
    }
    monkeypatch.setattr(thucnews, "FILES", facts)
    with serve(folder, monkeypatch) as address:
        monkeypatch.setattr(multi30k, "BASE_URL", address)
        monkeypatch.setattr(svhn_full, "HOMEPAGE", address)
        monkeypatch.setattr(tatoeba, "HOMEPAGE", address)
        monkeypatch.setattr(thucnews, "BASE_URL", address)
        yield folder


class TestFetch:
    @pytest.mark.parametrize("name", FETCHED)
    def test_files_land_where_they_are_looked_for(
        self, tmp_path: Path, host: Path, name: str
    ) -> None:
        dataset = fetch_dataset(name, tmp_path)
        assert dataset.name == name and dataset.is_in(tmp_path)
        assert dataset.differences_in(tmp_path) == []
        names = {path.name for path in dataset.folder_in(tmp_path).iterdir()}
        assert dataset.urls is not None and names == set(dataset.urls())

    def test_what_is_there_stays(self, tmp_path: Path, host: Path) -> None:
        put(find_dataset("multi30k"), tmp_path)
        (host / "train.de.gz").unlink()
        dataset = fetch_dataset("multi30k", tmp_path)
        assert (tmp_path / "multi30k/train.de.gz").read_bytes() == b""
        differences = dataset.differences_in(tmp_path)
        assert len(differences) == 6 and differences[0].startswith("train.de.gz has sha256 ")

    def test_the_text_of_an_archive_will_do(self, tmp_path: Path, host: Path) -> None:
        put(find_dataset("tatoeba"), tmp_path)
        fetch_dataset("tatoeba", tmp_path)
        assert [path.name for path in (tmp_path / "tatoeba").iterdir()] == ["cmn.txt"]

    def test_what_lacks_is_added(self, tmp_path: Path, host: Path) -> None:
        fetch_dataset("svhn_full", tmp_path)
        for name in ("train.tar.gz", "test.tar.gz"):
            (host / name).unlink()
        fetch_dataset("svhn_full/extra", tmp_path)
        assert (tmp_path / "svhn_full/extra.tar.gz").read_bytes() == b"extra.tar.gz"

    @pytest.mark.parametrize("name", FETCHED)
    def test_no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        for upstream in (multi30k, thucnews):
            monkeypatch.setattr(upstream, "BASE_URL", NO_HOST)
        for upstream in (svhn_full, tatoeba):
            monkeypatch.setattr(upstream, "HOMEPAGE", NO_HOST)
        with pytest.raises(UserError, match=rf"^{name}: cannot download {NO_HOST}"):
            fetch_dataset(name, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_what_comes_with_tfcamp(self, tmp_path: Path) -> None:
        for name in ("sample", "drawings", "reverse"):
            assert fetch_dataset(name, tmp_path).embedded
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["tianchi_news", "street_view", "street_view_digits"])
    def test_what_must_be_put_there_by_hand(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UserError) as caught:
            fetch_dataset(name, tmp_path)
        message = str(caught.value)
        assert message.startswith(f"{name}: ") and message.endswith(str(tmp_path / name))

    def test_a_misspelt_name(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="unknown data set 'multi30': did you mean 'multi30k'"):
            fetch_dataset("multi30", tmp_path)
