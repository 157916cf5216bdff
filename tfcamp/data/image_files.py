"""House numbers from the user's files: the competition's layout, crops, and a folder of images.

| a folder with | is |
|---|---|
| ``train.json`` and ``train.zip`` or ``train/``, and so on | the layout of Tianchi's competition |
| ``train.npz``, ``val.npz``, and so on | single digits, ``x`` uint8[N, H, W, 3] and ``y`` int[N] |
| ``labels.csv`` | images of the user's own, columns ``file,number`` and optionally ``split`` |

Of the columns, ``file`` may be called ``filename`` or ``image``, and ``number`` ``label``.

Everything is checked once when it is opened, so that what is wrong is named: every label, and every
image by decoding it. Afterwards images are read one by one, those in a zip without unpacking it. A
photograph is turned upright as its camera noted in EXIF, unless boxes mark digits in its pixels.
"""

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from tfcamp.data.fingerprints import fingerprint
from tfcamp.data.image_labels import Entry, read_competition_labels, read_labels_csv
from tfcamp.data.image_splits import (
    DEV_STEMS,
    ImageDataset,
    ImageRow,
    ImageSplit,
    check_image,
    count_lengths,
    turn_upright,
)
from tfcamp.data.image_stores import FolderImages, Images, ZipImages, is_shadow, only_one
from tfcamp.data.storage import inside
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError

# The names of a split, ours first; the last are those of the competition's own files.
TRAIN_STEMS = ("train", "mchar_train")
VAL_STEMS = (*DEV_STEMS, "mchar_val")
TEST_STEMS = ("test", "mchar_test_a")
LABELS_FILE = "labels.csv"
SUBMISSION_HEADER = ("file_name", "file_code")


def load_competition(folder: Path) -> ImageDataset:
    """Opens a folder in the competition's layout.

    Raises:
      UserError: a file is missing, or an entry of one is not as expected.
    """
    splits, paths, notes = [], [], []
    for stems in (TRAIN_STEMS, VAL_STEMS, TEST_STEMS):
        stem = _stem_of(folder, stems, (".json", ".zip", ""))
        if stem is None:
            if stems is not TEST_STEMS:
                raise UserError(
                    f"{folder}: has no {stems[0]}.json and {stems[0]}.zip (or folder {stems[0]}); "
                    f"{' or '.join(stems[1:])} may stand for {stems[0]}"
                )
            splits.append(None)
            continue
        label_file = folder / f"{stem}.json"
        images = _images_of(folder, stem)
        if label_file.is_file():
            entries = list(read_competition_labels(label_file))
        elif stems is TEST_STEMS:
            entries = [Entry(name, None, None) for name in images.names()]
            if not entries:
                raise UserError(f"{images.path}: has no PNG or JPEG image")
        else:
            raise UserError(f"{label_file}: no such file; expected the labels of {images.path}")
        names = [entry.name for entry in entries]
        splits.append(_checked_split(images, entries, label_file))
        notes += _left_out(images, names, label_file)
        paths += [label_file] if label_file.is_file() else []
        paths += images.files(names)
    train, dev, test = splits
    return ImageDataset(folder.name, train, dev, test, sha256_of(paths), tuple(notes))


def find_labels(folder: Path) -> Path | None:
    """Returns the ``labels.csv`` of a folder, in upper or lower case, if it has one.

    Raises:
      UserError: it has several.
    """
    names = sorted(path.name for path in folder.iterdir() if path.name.lower() == LABELS_FILE)
    name = only_one(folder, names)
    return None if name is None else folder / name


def load_labelled_images(path: Path, *, seed: int) -> ImageDataset:
    """Opens a ``labels.csv`` and the images beside it, cut 80/10/10 where it names no splits.

    Raises:
      UserError: a row is not as expected (file:line), or a split would be empty.
    """
    folder, images = path.parent, FolderImages(path.parent)
    parts: dict[str, list[Entry]] = {"train": [], "dev": [], "test": []}
    undivided = []
    seen: dict[str, int] = {}
    for line, name, number, split in read_labels_csv(path):
        if is_shadow(name):
            continue
        if name in seen:
            raise UserError(f"{path}:{line}: {name} stands on line {seen[name]} already")
        seen[name] = line
        entry = Entry(name, number, None)
        (undivided if split is None else parts[split]).append(entry)
    missing = [name for name in seen if not (folder / inside(name, path)).is_file()]
    if missing:
        raise UserError(
            f"{path}:{seen[missing[0]]}: there is no {missing[0]} in {folder}; {len(missing)} of "
            f"{len(seen)} images are missing{images.elsewhere(missing[0])}"
        )
    notes = _left_out(images, seen, path)
    if undivided:
        # Those of the same content are drawn together: a picture stands in one part only.
        files = images.read_all(entry.name for entry in undivided)
        contents = [fingerprint(content) for content in files]
        distinct = list(dict.fromkeys(contents))
        if len(distinct) < 10:
            raise UserError(
                f"{path}: {len(distinct)} different images are too few to cut 80/10/10: give at "
                "least 10, or name the split of each in a column split"
            )
        tenth = (len(distinct) + 5) // 10
        drawn = random.Random(seed).sample(distinct, len(distinct))
        part_of = dict.fromkeys(drawn, "train")
        part_of |= dict.fromkeys(drawn[: 2 * tenth], "dev") | dict.fromkeys(drawn[:tenth], "test")
        for entry, content in zip(undivided, contents, strict=True):
            parts[part_of[content]].append(entry)
        notes.append(f"{path}: cut 80/10/10 into train, dev and test, seed {seed}")
    for part in ("train", "dev"):
        if not parts[part]:
            raise UserError(f"{path}: has no image of split {part}; expected train and dev")
    train, dev, test = (
        _checked_split(images, entries, path) if entries else None for entries in parts.values()
    )
    assert train is not None and dev is not None
    paths = [path, *images.files(seen)]
    return ImageDataset(folder.name, train, dev, test, sha256_of(paths), tuple(notes))


def write_number_submission(path: Path, names: Sequence[str], numbers: Sequence[str]) -> None:
    """Writes numbers in the competition's format, the images in the order of their names.

    Raises:
      UserError: the file cannot be written.
      ValueError: there is not one number for each name.
    """
    rows = sorted(zip(names, numbers, strict=True))
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(SUBMISSION_HEADER)
            writer.writerows(rows)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def is_competition(folder: Path) -> bool:
    """Tells whether a folder has the labels or images of a training split."""
    return _stem_of(folder, TRAIN_STEMS, (".json", ".zip")) is not None


def _stem_of(folder: Path, stems: Sequence[str], suffixes: Sequence[str]) -> str | None:
    """Returns the stem under which a folder has a file with one of the suffixes."""
    found = [
        stem for stem in stems if any((folder / (stem + suffix)).exists() for suffix in suffixes)
    ]
    return only_one(folder, found)


def _images_of(folder: Path, stem: str) -> Images:
    archive, sub_folder = folder / f"{stem}.zip", folder / stem
    if archive.is_file():
        return ZipImages(archive)
    if sub_folder.is_dir():
        return FolderImages(sub_folder)
    raise UserError(f"{folder}: has neither {stem}.zip nor a folder {stem} with the images")


def _left_out(images: Images, names: Iterable[str], label_file: Path) -> list[str]:
    """Returns a note on the images that a label file does not name, where there are any."""
    present = images.names()
    unnamed = sorted(set(present) - {str(PurePosixPath(name)) for name in names})
    if not unnamed:
        return []
    return [
        f"{images.path}: {len(unnamed):,} of {len(present):,} images are left out, such as "
        f"{unnamed[0]}: {label_file.name} does not name them"
    ]


def _checked_split(images: Images, entries: Sequence[Entry], origin: Path) -> ImageSplit:
    """Decodes every image of a split once and returns the split."""
    names = [entry.name for entry in entries]
    if not names:
        raise UserError(f"{origin}: names no image")
    for name, data in zip(names, images.read_all(names), strict=True):
        check_image(data, f"{images.path}: {name}")

    def rows() -> Iterator[ImageRow]:
        for entry, data in zip(entries, images.read_all(names), strict=True):
            # Boxes are in the coordinates of the pixels as they are stored.
            image = turn_upright(data) if entry.boxes is None else data
            yield ImageRow(entry.name, image, entry.number, entry.boxes)

    counts = count_lengths(entry.number for entry in entries)
    return ImageSplit(str(images.path), len(entries), counts, rows)
