"""The data sets that projects know by name: what they are, where they are, how they are had."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tfcamp.data.datasets.multi30k import upstream as multi30k
from tfcamp.data.datasets.svhn_full import upstream as svhn_full
from tfcamp.data.datasets.tatoeba import upstream as tatoeba
from tfcamp.data.datasets.thucnews import upstream as thucnews
from tfcamp.data.downloads import Difference, fetch_files
from tfcamp.data.text_tianchi import HOMEPAGE as TIANCHI
from tfcamp.errors import UserError

# What TFDS leaves where it has built a data set, below the folder of its configuration.
_BUILT = "*/dataset_info.json"


@dataclass(frozen=True)
class KnownDataset:
    """A data set that ``--dataset`` knows by name.

    Attributes:
      name: as ``--dataset`` takes it.
      project: the folder in ``projects/`` that reads it.
      content: its rows, of train, dev and test.
      size: of its files.
      licence: in a few words.
      places: file patterns in ``DATA_DIR/NAME``, one set of which stands for the whole; none of
        what comes with tfcamp.
      urls: returns the address of each of upstream's files; None where they are not fetched so.
      difference: tells how a file differs from upstream's.
      build: brings it to a folder of data sets in another way.
      by_hand: what to do where nothing can be fetched; `{folder}` is where it belongs.
    """

    name: str
    project: str
    content: str
    size: str
    licence: str
    places: tuple[tuple[str, ...], ...] = ()
    urls: Callable[[], Mapping[str, str]] | None = None
    difference: Difference = lambda name, path: None
    build: Callable[[Path], object] | None = None
    by_hand: str = ""

    @property
    def embedded(self) -> bool:
        """Whether it comes with tfcamp."""
        return not self.places

    def folder_in(self, data_dir: Path) -> Path:
        """Returns the folder in which it is looked for."""
        return data_dir / self.name.partition("/")[0]

    def is_in(self, data_dir: Path) -> bool:
        """Tells whether a folder of data sets has it."""
        folder = self.folder_in(data_dir)
        return folder.is_dir() and any(
            all(any(True for _ in folder.glob(pattern)) for pattern in place)
            for place in self.places
        )

    def differences_in(self, data_dir: Path) -> list[str]:
        """Returns how the files that are there differ from upstream's."""
        paths = [self.folder_in(data_dir) / name for name in (self.urls or dict)()]
        found = (self.difference(path.name, path) for path in paths if path.is_file())
        return [told for told in found if told is not None]


def fetch_dataset(name: str, data_dir: Path) -> KnownDataset:
    """Brings a data set to ``data_dir/NAME``, unless it is there.

    Raises:
      UserError: there is none of this name, it cannot be fetched, or the download fails.
    """
    dataset = find_dataset(name)
    folder = dataset.folder_in(data_dir)
    if dataset.embedded or dataset.is_in(data_dir):
        return dataset
    if dataset.urls is not None:
        fetch_files(name, folder, dataset.urls(), dataset.difference)
    elif dataset.build is not None:
        dataset.build(data_dir)
    else:
        raise UserError(f"{name}: {dataset.by_hand.format(folder=folder)}")
    return dataset


def find_dataset(name: str) -> KnownDataset:
    """Returns the data set of a name.

    Raises:
      UserError: there is none.
    """
    found = next((dataset for dataset in CATALOGUE if dataset.name == name), None)
    if found is None:
        names = dict.fromkeys(dataset.name for dataset in CATALOGUE if not dataset.embedded)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(f"unknown data set {name!r}: {hint}expected {', '.join(names)}")
    return found


def _build_svhn_cropped(data_dir: Path) -> None:
    # TFDS brings TensorFlow with it, which takes seconds that only this need cost.
    from tfcamp.data.image_tfds import build_svhn

    build_svhn("svhn_cropped", data_dir)


def _whole(names: Iterable[str]) -> tuple[tuple[str, ...]]:
    """Returns the files of a data set as the only place of it."""
    return (tuple(names),)


_OURS = "MIT, as tfcamp"
_SVHN = "for non-commercial use only"

CATALOGUE = (
    KnownDataset(
        "sample",
        "news",
        "1,100 / 200 / 200 Chinese headlines, 10 classes",
        "0.1 MB",
        _OURS,
    ),
    KnownDataset(
        "thucnews",
        "news",
        "180,000 / 10,000 / 10,000 Chinese headlines, 10 classes",
        "about 11 MB",
        "titles for research use",
        places=_whole(thucnews.FILES),
        urls=thucnews.urls,
        difference=thucnews.difference,
    ),
    KnownDataset(
        "tianchi_news",
        "news",
        "180,000 / 20,000 / 50,000 articles as ids, 14 classes",
        "",
        "the competition's terms",
        places=_whole(["train_set.csv"]),
        by_hand=f"sign in at {TIANCHI} and unpack train_set.csv (and test_a.csv) in {{folder}}",
    ),
    KnownDataset(
        "sample",
        "street_view",
        "10,000 / 1,000 / 1,000 house numbers, clearly drawn",
        "drawn as they are read",
        _OURS,
    ),
    KnownDataset(
        "drawings",
        "street_view",
        "10,000 / 1,000 / 1,000 house numbers, drawn hard to read",
        "drawn as they are read",
        _OURS,
    ),
    KnownDataset(
        "svhn_cropped",
        "street_view",
        "65,931 / 7,326 / 26,032 single digits from photographs",
        "1.6 GB to download",
        _SVHN,
        places=((_BUILT,),),
        build=_build_svhn_cropped,
    ),
    KnownDataset(
        "svhn_full",
        "street_view",
        "30,062 / 3,340 / 13,068 photographs of house numbers",
        "0.7 GB",
        _SVHN,
        places=(*_whole(svhn_full.urls("default")), (f"default/{_BUILT}",)),
        urls=partial(svhn_full.urls, "default"),
        difference=svhn_full.difference,
    ),
    KnownDataset(
        "svhn_full/extra",
        "street_view",
        "the same and 202,353 easier ones to train on",
        "2.6 GB",
        _SVHN,
        places=(*_whole(svhn_full.urls("extra")), (f"extra/{_BUILT}",)),
        urls=partial(svhn_full.urls, "extra"),
        difference=svhn_full.difference,
    ),
    KnownDataset(
        "street_view",
        "street_view",
        "house numbers in the layout of Tianchi's competition",
        "",
        "",
        places=(("*train.json", "*train.zip"), ("*train.json", "*train")),
        by_hand="put train, val and test (.json and .zip) into {folder}",
    ),
    KnownDataset(
        "street_view_digits",
        "street_view",
        "single digits in .npz files",
        "",
        "",
        places=(("train.npz",),),
        by_hand="put train.npz, val.npz and test.npz into {folder}",
    ),
    KnownDataset(
        "sample",
        "translation",
        "1,518 / 123 / 135 English-Chinese sentences",
        "0.1 MB",
        _OURS,
    ),
    KnownDataset(
        "multi30k",
        "translation",
        "29,000 / 1,014 / 1,000 German-English captions",
        "1.3 MB",
        "for research use",
        places=_whole(multi30k.FILES),
        urls=multi30k.urls,
        difference=multi30k.difference,
    ),
    KnownDataset(
        "tatoeba",
        "translation",
        "about 25,400 / 1,500 / 1,400 English-Chinese sentences",
        "about 1 MB",
        "CC-BY 2.0 FR",
        places=((tatoeba.TEXT,), (tatoeba.ARCHIVE,)),
        urls=tatoeba.urls,
        difference=tatoeba.difference,
    ),
    KnownDataset(
        "reverse",
        "translation",
        "20,000 / 500 / 500 letters to be written backwards",
        "drawn as they are read",
        _OURS,
    ),
)
