"""Image sources: every layout, rows that stream, and mistakes that are named in one line."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfcamp.data.image_sources import (
    ImageDataset,
    load_image_dataset,
    rendered_split,
    take_rows,
    write_number_submission,
)
from tfcamp.data.image_splits import check_image
from tfcamp.errors import UserError

STEMS = {"train": 6, "val": 3, "test": 2}


def png(shade: int = 0, size: tuple[int, int] = (12, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (shade % 256, 100, 200)).save(file, "PNG")
    return file.getvalue()


def entry(number: str) -> dict:
    count = len(number)
    return {
        "label": [int(digit) for digit in number],
        "left": [5 * position for position in range(count)],
        "top": [1] * count,
        "width": [5] * count,
        "height": [6] * count,
    }


def put_zip(path: Path, images: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in images.items():
            archive.writestr(name, data)


def put_competition(folder: Path, *, prefix: str = "", as_zip: bool = True) -> None:
    """Writes six, three and two images whose number is their position times 7."""
    folder.mkdir(exist_ok=True)
    for stem, count in STEMS.items():
        names = [f"{position:06d}.png" for position in range(count)]
        images = {name: png(position) for position, name in enumerate(names)}
        if as_zip:
            put_zip(
                folder / f"{prefix}{stem}.zip",
                {f"{prefix}{stem}/{name}": data for name, data in images.items()},
            )
        else:
            (folder / f"{prefix}{stem}").mkdir()
            for name, data in images.items():
                (folder / f"{prefix}{stem}" / name).write_bytes(data)
        labels = {name: entry(str(7 * position)) for position, name in enumerate(names)}
        (folder / f"{prefix}{stem}.json").write_text(json.dumps(labels))


def put_own(folder: Path, rows: list[tuple[str, ...]], header: str = "file,number") -> None:
    """Writes a labels.csv and the images that it names."""
    folder.mkdir(exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(rows)
    for position, row in enumerate(rows):
        path = folder / row[0]
        if not path.exists() and ".." not in row[0]:
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(png(position))


def put_crops(folder: Path, **arrays: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for stem, count in STEMS.items():
        content = {
            "x": rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
            "y": (np.arange(count) % 10).astype(np.uint8),
            "house": np.arange(count, dtype=np.int32),
        }
        np.savez_compressed(folder / f"{stem}.npz", allow_pickle=True, **(content | arrays))


def load(folder: Path, seed: int = 0) -> ImageDataset:
    return load_image_dataset(str(folder), data_dir=folder.parent, seed=seed)


def sizes(dataset: ImageDataset) -> list[int]:
    return [len(split) for split in (dataset.train, dataset.dev, dataset.test) if split is not None]


def error_of(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestCompetition:
    @pytest.mark.parametrize("as_zip", [True, False])
    def test_rows(self, tmp_path: Path, as_zip: bool) -> None:
        put_competition(tmp_path / "numbers", as_zip=as_zip)
        dataset = load(tmp_path / "numbers")
        assert dataset.name == "numbers" and not dataset.single_digit
        assert sizes(dataset) == [6, 3, 2]
        assert dataset.train.length_counts == (2, 4, 0, 0, 0, 0)
        rows = list(dataset.train)
        assert [row.number for row in rows] == ["0", "7", "14", "21", "28", "35"]
        assert [row.name for row in rows] == [f"{position:06d}.png" for position in range(6)]
        assert rows[3].image == png(3)
        assert rows[3].boxes is not None and rows[3].boxes.dtype == np.int32
        assert rows[3].boxes.tolist() == [[0, 1, 5, 6], [5, 1, 5, 6]]
        assert [row.name for row in dataset.train] == [row.name for row in rows]

    def test_the_names_that_tianchi_ships(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "mchar", prefix="mchar_")
        folder = tmp_path / "mchar"
        (folder / "mchar_test.zip").rename(folder / "mchar_test_a.zip")
        (folder / "mchar_test.json").unlink()
        dataset = load(folder)
        assert sizes(dataset) == [6, 3, 2]
        assert dataset.test is not None and not dataset.test.labelled and dataset.dev.labelled
        assert [(row.name, row.number, row.boxes) for row in dataset.test] == [
            ("000000.png", None, None),
            ("000001.png", None, None),
        ]

    def test_without_a_test_split(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers")
        for suffix in ("json", "zip"):
            (tmp_path / f"numbers/test.{suffix}").unlink()
        assert load(tmp_path / "numbers").test is None

    def test_six_digits_stay_six(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers")
        labels = {"000000.png": entry("012345")}
        (tmp_path / "numbers/train.json").write_text(json.dumps(labels))
        (row,) = load(tmp_path / "numbers").train
        assert row.number == "012345"

    def test_the_hash_is_of_the_files(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers")
        names = [f"{stem}.{suffix}" for stem in STEMS for suffix in ("json", "zip")]
        content = b"".join((tmp_path / "numbers" / name).read_bytes() for name in names)
        assert load(tmp_path / "numbers").sha256 == hashlib.sha256(content).hexdigest()

    def test_a_shadow_of_finder_is_passed_over(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers")
        with zipfile.ZipFile(tmp_path / "numbers/train.zip", "a") as archive:
            archive.writestr("__MACOSX/train/._000000.png", b"shadow")
            archive.writestr("__MACOSX/train/000000.png", b"shadow")
            archive.writestr("train/._000000.png", b"shadow")
        dataset = load(tmp_path / "numbers")
        assert next(iter(dataset.train)).image == png(0) and dataset.notes == ()

    def test_a_shadow_in_a_folder_is_passed_over(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers", as_zip=False)
        (tmp_path / "numbers/test.json").unlink()
        (tmp_path / "numbers/test/._000000.png").write_bytes(b"shadow")
        dataset = load(tmp_path / "numbers")
        assert sizes(dataset) == [6, 3, 2] and dataset.notes == ()

    def test_images_that_the_labels_do_not_name_are_counted(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers")
        add_member("train/extra.png")(tmp_path / "numbers")
        put_competition(tmp_path / "folders", as_zip=False)
        (tmp_path / "folders/val/sub").mkdir()
        for name in ("a", "b"):
            (tmp_path / f"folders/val/sub/{name}.png").write_bytes(png())
        for folder, told in (
            ("numbers", "train.zip: 1 of 7 images are left out, such as extra.png: train.json"),
            ("folders", "val: 2 of 5 images are left out, such as sub/a.png: val.json does"),
        ):
            (note,) = load(tmp_path / folder).notes
            assert note.startswith(f"{tmp_path / folder}/{told}")

    def test_a_nested_folder_of_images_without_labels(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers", as_zip=False)
        (tmp_path / "numbers/test.json").unlink()
        nest(tmp_path / "numbers/test")
        assert sizes(load(tmp_path / "numbers")) == [6, 3, 2]

    def test_an_archive_with_backslashes(self, tmp_path: Path) -> None:
        put_competition(tmp_path / "numbers")
        images = {f"train\\{position:06d}.png": png(position) for position in range(6)}
        put_zip(tmp_path / "numbers/train.zip", images)
        assert [row.image for row in load(tmp_path / "numbers").train] == list(images.values())


def nest(folder: Path) -> None:
    """Moves what is in a folder into a sub-folder of the same name, as unpacking may do."""
    files = list(folder.iterdir())
    (folder / folder.name).mkdir()
    for file in files:
        file.rename(folder / folder.name / file.name)


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Changes the entry of 000002.png in train.json, whose number is 14."""

    def apply(folder: Path) -> None:
        labels = json.loads((folder / "train.json").read_text())
        change(labels["000002.png"])
        (folder / "train.json").write_text(json.dumps(labels))

    return apply


def replace(data: bytes) -> Callable[[Path], None]:
    """Puts other content in the place of the image 000002.png."""

    def apply(folder: Path) -> None:
        images = {f"train/{position:06d}.png": png(position) for position in range(6)}
        put_zip(folder / "train.zip", images | {"train/000002.png": data})

    return apply


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def add_member(name: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        with zipfile.ZipFile(folder / "train.zip", "a") as archive:
            archive.writestr(name, png())

    return apply


def rename_in_json(folder: Path) -> None:
    text = (folder / "train.json").read_text()
    (folder / "train.json").write_text(text.replace("000002.png", "999999.png"))


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "train.zip").read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255
    (folder / "train.zip").write_bytes(data)


BOMB = png(size=(8000, 8000))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (edit(lambda row: row.update(entry("1234567"))), "train.json: 000002.png: number '1234567"),
        (
            edit(lambda row: row.update(label=[1, "x"])),
            "000002.png: expected a list of numbers und",
        ),
        (
            edit(lambda row: row.update(label=[1, 10])),
            "000002.png: label must be digits 0 to 9, go",
        ),
        (edit(lambda row: row.update(label=[1, 2.5])), "000002.png: label must be digits 0 to 9"),
        (edit(lambda row: row.update(label=[True, 1])), "000002.png: expected a list of numbers"),
        (edit(lambda row: row.update(label=[])), "000002.png: expected a number of 1 to 6 digits"),
        (
            edit(lambda row: row.pop("label")),
            '000002.png: expected a list of numbers under "label"',
        ),
        (
            edit(lambda row: row.pop("top")),
            "000002.png: has no top; expected left, top, width, hei",
        ),
        (edit(lambda row: row["left"].pop()), "000002.png: left has 1 entries, label has 2"),
        (edit(lambda row: row.update(width=[3, -1])), "000002.png: width must not be negative"),
        (edit(lambda row: row.update(top=[0, 1e12])), "000002.png: expected a list of numbers und"),
        (rename_in_json, "train.zip: has no image 999999.png"),
        (write("train.json", "{"), "train.json: expected JSON: "),
        (write("train.json", "[1]"), "train.json: expected an object"),
        (
            write("train.json", '{"000002.png": 3}'),
            "train.json: 000002.png: expected a list of num",
        ),
        (write("train.json", "{}"), "train.json: names no image"),
        (remove("train.json"), "train.json: no such file; expected the labels of "),
        (remove("val.json"), "val.json: no such file; expected the labels of "),
        (remove("train.zip"), "has neither train.zip nor a folder train with the images"),
        (write("train.zip", "PK"), "train.zip: cannot be read as a zip archive"),
        (add_member("../../evil.png"), "train.zip: ../../evil.png: leads out of it"),
        (add_member("/etc/evil.png"), "train.zip: /etc/evil.png: leads out of it"),
        (add_member("C:\\evil.png"), "evil.png: leads out of it"),
        (add_member("..\\evil.png"), "evil.png: leads out of it"),
        (
            add_member("other/000000.png"),
            "train/000000.png and other/000000.png have the same name",
        ),
        (replace(b""), "train.zip: 000002.png: is empty"),
        (replace(b"<html>Not found</html>"), "train.zip: 000002.png: begins with b'<html>"),
        (replace(png()[:-40]), "train.zip: 000002.png: the image is damaged or cut off"),
        (replace(BOMB), "train.zip: 000002.png: has more than 33,554,432 pixels"),
        (flip_a_byte, "train.zip: train/000000.png: cannot be read: "),
    ],
)
def test_a_spoilt_competition_folder(
    tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    put_competition(tmp_path / "numbers")
    load(tmp_path / "numbers")
    spoil(tmp_path / "numbers")
    assert told in error_of(tmp_path / "numbers")


def test_both_names_of_a_split(tmp_path: Path) -> None:
    put_competition(tmp_path / "numbers")
    put_competition(tmp_path / "numbers", prefix="mchar_")
    assert "has train and mchar_train, which mean the same" in error_of(tmp_path / "numbers")


def test_no_validation_split(tmp_path: Path) -> None:
    put_competition(tmp_path / "numbers")
    for suffix in ("json", "zip"):
        (tmp_path / f"numbers/val.{suffix}").unlink()
    assert "has no val.json and val.zip" in error_of(tmp_path / "numbers")


def test_a_nested_folder_is_named(tmp_path: Path) -> None:
    put_competition(tmp_path / "numbers", as_zip=False)
    train = tmp_path / "numbers/train"
    nest(train)
    assert error_of(tmp_path / "numbers") == (
        f"{train}/000000.png: no such file; is it {train}/train/000000.png? then move the images, "
        "or write train/000000.png"
    )


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_test_split_without_images_is_named(tmp_path: Path, as_zip: bool) -> None:
    put_competition(tmp_path / "numbers", as_zip=as_zip)
    (tmp_path / "numbers/test.json").unlink()
    path = tmp_path / "numbers" / ("test.zip" if as_zip else "test")
    if as_zip:
        put_zip(path, {"readme.txt": b""})
    else:
        for image in path.iterdir():
            image.unlink()
    assert error_of(tmp_path / "numbers") == f"{path}: has no PNG or JPEG image"


def test_the_encoding_of_labels_is_named(tmp_path: Path) -> None:
    put_competition(tmp_path / "numbers")
    labels = {f"照片{position}.png": entry("1") for position in range(9)}
    text = json.dumps(labels, ensure_ascii=False, indent=1)
    (tmp_path / "numbers/train.json").write_bytes(text.encode("gbk"))
    put_own(tmp_path / "own", [(f"照片{position}.png", "1") for position in range(9)])
    csv_file = tmp_path / "own/labels.csv"
    csv_file.write_bytes(csv_file.read_text("utf-8").encode("gbk"))
    for file in ("numbers/train.json", "own/labels.csv"):
        told = error_of((tmp_path / file).parent)
        assert told.startswith(f"{tmp_path / file}:2: not UTF-8 at byte ")
        assert "it looks like gb18030, convert it: iconv -f gb18030" in told


def test_a_json_cannot_read_other_folders(tmp_path: Path) -> None:
    put_competition(tmp_path / "numbers", as_zip=False)
    (tmp_path / "numbers/secret.png").write_bytes(png())
    labels = {"../secret.png": entry("1")}
    (tmp_path / "numbers/train.json").write_text(json.dumps(labels))
    assert "../secret.png: leads out of it" in error_of(tmp_path / "numbers")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(mode, "PNG") for mode in ("RGB", "L", "RGBA", "I;16", "1", "P")]
    + [(mode, "JPEG") for mode in ("RGB", "L", "CMYK")],
)
def test_images_of_every_mode_pass_the_check(mode: str, kind: str) -> None:
    for size in ((1, 1), (20, 20_000), (50, 40)):
        file = io.BytesIO()
        Image.new(mode, size).save(file, kind)
        check_image(file.getvalue(), "here")


def test_a_truncated_jpeg_fails_the_check() -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    check_image(file.getvalue(), "here")
    with pytest.raises(UserError, match="here: the image is damaged or cut off"):
        check_image(file.getvalue()[:-3000], "here")


class TestOwnImages:
    def test_a_random_cut(self, tmp_path: Path) -> None:
        rows = [(f"photos/{number}.png", f"{number:03d}") for number in range(20)]
        put_own(tmp_path / "own", rows)
        dataset = load(tmp_path / "own")
        assert sizes(dataset) == [16, 2, 2] and dataset.test is not None
        parts = [
            {row.name for row in split} for split in (dataset.train, dataset.dev, dataset.test)
        ]
        assert set.union(*parts) == {name for name, _ in rows} and sum(map(len, parts)) == 20
        assert next(iter(dataset.train)).boxes is None
        assert all(len(row.number or "") == 3 for row in dataset.train)
        (note,) = dataset.notes
        assert "cut 80/10/10" in note and "seed 0" in note
        assert [row.name for row in load(tmp_path / "own").dev] == [row.name for row in dataset.dev]

    def test_equal_pictures_stand_in_one_part(self, tmp_path: Path) -> None:
        rows = [(f"photos/{number}.png", f"{number:03d}") for number in range(20)]
        put_own(tmp_path / "own", rows)
        for number in range(0, 20, 2):
            copy = tmp_path / f"own/photos/{number + 1}.png"
            copy.write_bytes((tmp_path / f"own/photos/{number}.png").read_bytes())
        dataset = load(tmp_path / "own")
        assert sizes(dataset) == [16, 2, 2] and dataset.test is not None
        parts = [{row.image for row in it} for it in (dataset.train, dataset.dev, dataset.test)]
        assert list(map(len, parts)) == [8, 1, 1] and len(set.union(*parts)) == 10
        other = load(tmp_path / "own", seed=1)
        assert {row.name for row in other.dev} | {row.name for row in other.test or ()} != (
            parts[1] | parts[2]
        )

    def test_splits_of_the_file(self, tmp_path: Path) -> None:
        rows = [("a.png", "1", "train"), ("b.png", "22", "val"), ("c.png", "3", "train")]
        put_own(tmp_path / "own", rows, "File,Number,Split")
        dataset = load(tmp_path / "own")
        assert sizes(dataset) == [2, 1] and dataset.test is None and dataset.notes == ()
        assert [row.number for row in dataset.train] == ["1", "3"]
        assert [(row.name, row.image) for row in dataset.dev] == [("b.png", png(1))]

    @pytest.mark.parametrize("header", ["filename,label,split", "Image,Number,split"])
    def test_other_names_of_the_columns(self, tmp_path: Path, header: str) -> None:
        put_own(tmp_path / "own", [("a.png", "1", "train"), ("b.png", "22", "val")], header)
        dataset = load(tmp_path / "own")
        assert [[row.number for row in split] for split in (dataset.train, dataset.dev)] == [
            *(["1"], ["22"])
        ]

    def test_names_that_windows_and_macos_write(self, tmp_path: Path) -> None:
        rows = [("sub/a.png", "1", "train"), ("b.png", "2", "dev"), ("sub/._a.png", "1", "train")]
        put_own(tmp_path / "own", rows, "file,number,split")
        (tmp_path / "own/sub/._a.png").write_bytes(b"shadow")
        labels = tmp_path / "own/labels.csv"
        labels.write_text(labels.read_text().replace("sub/", "sub\\"))
        labels.rename(tmp_path / "own/Labels.CSV")
        dataset = load(tmp_path / "own")
        assert [row.name for row in dataset.train] == ["sub/a.png"] and dataset.notes == ()
        labels.write_text("file,number\n")
        assert "has Labels.CSV and labels.csv, which mean the same" in error_of(tmp_path / "own")

    def test_images_that_are_not_named_are_counted(self, tmp_path: Path) -> None:
        put_own(
            tmp_path / "own", [("a.png", "1", "train"), ("b.png", "2", "dev")], "file,number,split"
        )
        (tmp_path / "own/c.png").write_bytes(png())
        assert load(tmp_path / "own").notes == (
            f"{tmp_path}/own: 1 of 3 images are left out, such as c.png: labels.csv does not name "
            "them",
        )

    @pytest.mark.parametrize(
        ("rows", "header", "told"),
        [
            ([("a.png;1",)], "file;number", "'file;number'; its columns are cut by semicolons: sa"),
            ([("", "1")], "file,number", "labels.csv:2: expected the name of an image, got an emp"),
            ([("a.png", "1234567")], "file,number", "labels.csv:2: number '1234567' has 7 digits"),
            ([("a.png", "12b")], "file,number", "labels.csv:2: number '12b' holds something else"),
            ([("a.png", "")], "file,number", "labels.csv:2: expected a number of 1 to 6 digits"),
            ([("a.png", "1")], "name,label", 'labels.csv:1: expected a header "file,number"'),
            ([("a.png", "1", "2")], "file,number", "labels.csv:2: expected 2 columns"),
            ([("a.png", "1", "later")], "file,number,split", "labels.csv:2: expected split train,"),
            (
                [("a.png", "1"), ("a.png", "1")],
                "file,number",
                "labels.csv:3: a.png stands on line 2",
            ),
            ([("a.png", "1")], "file,number", "1 different images are too few to cut 80/10/10"),
            ([("a.png", "1", "train")], "file,number,split", "has no image of split dev"),
            (
                [("../a.png", "1", "train"), ("b.png", "1", "dev")],
                "file,number,split",
                "../a.png: leads out of it",
            ),
        ],
    )
    def test_mistakes(
        self, tmp_path: Path, rows: list[tuple[str, ...]], header: str, told: str
    ) -> None:
        put_own(tmp_path / "own", rows, header)
        assert told in error_of(tmp_path / "own")

    def test_a_missing_image(self, tmp_path: Path) -> None:
        put_own(tmp_path / "own", [(f"{number}.png", "1") for number in range(10)])
        (tmp_path / "own/7.png").unlink()
        told = error_of(tmp_path / "own")
        assert "labels.csv:9: there is no 7.png" in told and "1 of 10 images are missing" in told
        assert told.endswith("missing")
        (tmp_path / "own/photos").mkdir()
        (tmp_path / "own/photos/7.png").write_bytes(png())
        assert error_of(tmp_path / "own").endswith("then move the images, or write photos/7.png")


class TestCrops:
    def test_rows(self, tmp_path: Path) -> None:
        put_crops(tmp_path / "crops")
        dataset = load(tmp_path / "crops")
        assert dataset.single_digit and dataset.classes == tuple("0123456789")
        assert sizes(dataset) == [6, 3, 2]
        with np.load(tmp_path / "crops/train.npz") as arrays:
            pixels = arrays["x"]
        for position, row in enumerate(dataset.train):
            np.testing.assert_array_equal(Image.open(io.BytesIO(row.image)), pixels[position])
            assert row.number == str(position) and row.boxes is None
        content = b"".join((tmp_path / f"crops/{stem}.npz").read_bytes() for stem in STEMS)
        assert dataset.sha256 == hashlib.sha256(content).hexdigest()

    @pytest.mark.parametrize(
        ("arrays", "told"),
        [
            ({"y": np.array([1, 10, 2])}, "train.npz: y[1] is 10, expected a digit 0 to 9; SVHN's"),
            ({"y": np.array([-1])}, "train.npz: y[0] is -1"),
            ({"y": np.array([0.5])}, "train.npz: y is float64[1], expected integers[N]"),
            ({"y": np.zeros([], int)}, "train.npz: y is int64[], expected"),
            ({"y": np.zeros([0], int)}, "train.npz: has no rows"),
            ({"y": np.zeros([5], int)}, "train.npz: x has 6 rows, y has 5"),
            ({"x": np.zeros([6, 32, 32], np.uint8)}, "train.npz: x is uint8[6, 32, 32], expected"),
            ({"x": np.zeros([6, 32, 32, 3])}, "train.npz: x is float64[6, 32, 32, 3], expected"),
            ({"x": np.array([None])}, "train.npz: x "),
            ({"y": np.array([None])}, "train.npz: cannot be read as a .npz file: Object arrays"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, arrays: dict[str, np.ndarray], told: str) -> None:
        put_crops(tmp_path / "crops", **arrays)
        assert told in error_of(tmp_path / "crops")

    def test_both_names_of_a_split(self, tmp_path: Path) -> None:
        put_crops(tmp_path / "crops")
        (tmp_path / "crops/dev.npz").write_bytes((tmp_path / "crops/val.npz").read_bytes())
        assert "has val.npz and dev.npz, which mean the same" in error_of(tmp_path / "crops")

    def test_broken_files(self, tmp_path: Path) -> None:
        put_crops(tmp_path / "crops")
        data = (tmp_path / "crops/train.npz").read_bytes()
        for broken in (data[:1000], b"", b"\x93NUMPY\x01", data[:200] + bytes(500) + data[700:]):
            (tmp_path / "crops/train.npz").write_bytes(broken)
            assert "train.npz: " in error_of(tmp_path / "crops")
        with (tmp_path / "crops/train.npz").open("wb") as file:
            np.save(file, np.zeros(3))
        assert "train.npz: cannot be read as a .npz file" in error_of(tmp_path / "crops")
        np.savez(tmp_path / "crops/train.npz", images=np.zeros(3))
        assert "train.npz: has images; expected arrays x and y" in error_of(tmp_path / "crops")
        (tmp_path / "crops/val.npz").unlink()
        assert "has no val.npz" in error_of(tmp_path / "crops")


class TestSample:
    def test_is_the_same_for_everyone(self, tmp_path: Path) -> None:
        first = load_image_dataset("sample", data_dir=tmp_path, seed=0, sample_rows=100)
        second = load_image_dataset("sample", data_dir=None, seed=7, sample_rows=100)
        assert first.sha256 == second.sha256
        assert sizes(first) == [100, 1000, 1000]
        for one, other in zip(take_rows(first.train, 5), take_rows(second.train, 5), strict=True):
            assert one.image == other.image and one.number == other.number

    def test_drawings_are_the_same_numbers_harder_to_read(self) -> None:
        clear = load_image_dataset("sample", data_dir=None, seed=0, sample_rows=20)
        hard = load_image_dataset("drawings", data_dir=None, seed=0, sample_rows=20)
        assert (clear.name, hard.name) == ("sample", "drawings") and clear.sha256 != hard.sha256
        pairs = list(zip(clear.train, hard.train, strict=True))
        assert [one.number for one, _ in pairs] == [other.number for _, other in pairs]
        assert 5 < sum(one.image != other.image for one, other in pairs)

    def test_lengths_are_those_of_the_rows(self) -> None:
        split = rendered_split("dev", 40)
        numbers = [row.number or "" for row in split]
        counts = tuple(sum(len(number) == length for number in numbers) for length in range(1, 7))
        assert split.length_counts == counts and len(numbers) == 40

    def test_mistakes(self) -> None:
        with pytest.raises(UserError, match="at least 1 drawing"):
            load_image_dataset("sample", data_dir=None, seed=0, sample_rows=0)
        with pytest.raises(ValueError, match="validation"):
            rendered_split("validation", 10)


def test_the_first_rows_of_a_split(tmp_path: Path) -> None:
    put_competition(tmp_path / "numbers")
    train = load(tmp_path / "numbers").train
    few = take_rows(train, 3)
    assert [row.number for row in few] == ["0", "7", "14"] and len(few) == 3
    assert few.length_counts == (2, 1, 0, 0, 0, 0)
    assert take_rows(train, 100) is train
    with pytest.raises(ValueError, match="num_rows"):
        take_rows(train, 0)


def test_a_submission(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_number_submission(path, ["000001.png", "000000.png"], ["007", ""])
    assert path.read_text() == "file_name,file_code\n000000.png,\n000001.png,007\n"
    with pytest.raises(UserError, match="cannot be written"):
        write_number_submission(tmp_path / "none/out.csv", [], [])


class TestUnknown:
    @pytest.mark.parametrize(
        ("dataset", "told"),
        [
            (
                "svhn_crop",
                "unknown data set 'svhn_crop': did you mean 'svhn_cropped'? expected sam",
            ),
            ("street_view", "street_view: not found; put its files at DATA_DIR/street_view/"),
            ("no/such", "no/such: no such folder"),
        ],
    )
    def test_names(self, tmp_path: Path, dataset: str, told: str) -> None:
        with pytest.raises(UserError) as caught:
            load_image_dataset(dataset, data_dir=tmp_path, seed=0)
        assert told in str(caught.value)

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        assert "has no train.json" in error_of(tmp_path)

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "train.zip").write_bytes(b"")
        assert "expected a folder" in error_of(tmp_path / "train.zip")


def test_the_real_photographs(shared_data: Path) -> None:
    dataset = load_image_dataset("street_view", data_dir=shared_data, seed=0)
    assert sizes(dataset) == [3632, 400, 500]
    assert dataset.train.length_counts == (676, 2372, 545, 39, 0, 0)
    assert dataset.notes == ()
    row = next(iter(dataset.train))
    assert row.boxes is not None and row.boxes.tolist() == [[5, 0, 21, 32]]


def test_the_real_digits(shared_data: Path) -> None:
    dataset = load_image_dataset("street_view_digits", data_dir=shared_data, seed=0)
    assert sizes(dataset) == [7211, 804, 970] and dataset.single_digit
