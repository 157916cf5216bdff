"""What is told of the user's files: against rows counted by hand, and against the real data."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfcamp.data import check_report
from tfcamp.data.check_report import Report
from tfcamp.data.checks import check_dataset, guess_task
from tfcamp.errors import UserError


def write(folder: Path, **files: str) -> Path:
    """Writes files named like `train_tsv`."""
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, "utf-8")
    return folder


def check(path: Path | str, source_language: str | None = None) -> Report:
    return check_dataset(str(path), guess_task(str(path)), source_language=source_language)


def rows_of(report: Report, table: int) -> dict[str, list[str]]:
    """The rows of a table by their last column."""
    return {row[-1]: list(row[:-1]) for row in report.tables[table][1:]}


def texts(count: int, label: str, first: int = 0) -> str:
    """Rows whose texts and letters are all different."""
    return "".join(f"第{number:04d}条\t{label}\n" for number in range(first, first + count))


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The sets here are so small that rows are counted by hand."""
    monkeypatch.setattr(check_report, "FEW_ROWS", 0)
    return monkeypatch


class TestTexts:
    def test_counts(self, tmp_path: Path) -> None:
        train = "股市大涨\t财经\n主场告捷了\t体育\n股市大涨\t财经\n\t体育\n"
        report = check(write(tmp_path, train_tsv=train, dev_tsv="客场失利\t体育\n"))
        assert report.kind == "labelled texts"
        assert rows_of(report, 0) == {
            "train": ["4", "1", "1", "4", "5", "5"],
            "dev": ["1", "0", "0", "4", "4", "4"],
        }
        assert rows_of(report, 1) == {"体育": ["2", "1"], "财经": ["2", "0"]}
        assert report.findings == ["dev: all 1 rows are of one class"]
        assert report.notes == [
            "train: fewer than 10 rows of class 体育, 财经",
            "dev: no row of class 财经",
        ]

    def test_nothing_to_tell(self, tmp_path: Path) -> None:
        train = texts(20, "a") + texts(30, "b", 20)
        report = check(write(tmp_path, train_tsv=train, dev_tsv="甲\ta\n乙\tb\n"))
        assert report.notes == report.findings == []

    def test_few_rows_to_measure_by(self, tmp_path: Path, few_rows: pytest.MonkeyPatch) -> None:
        few_rows.setattr(check_report, "FEW_ROWS", 17)
        dev, test = (texts(count, "a", 50) + texts(count, "b", 70) for count in (8, 9))
        train = texts(20, "a") + texts(30, "b", 20)
        report = check(write(tmp_path, train_tsv=train, dev_tsv=dev, test_tsv=test))
        assert report.notes == [
            "dev: few texts to measure by, 16: chance alone moves an accuracy of 80 % by about "
            "10 points"
        ]

    def test_the_same_text_in_two_splits(self, tmp_path: Path) -> None:
        train = texts(20, "a") + texts(20, "b", 20)
        # What is empty is passed over, and moves no example.
        write(tmp_path, train_tsv=train, dev_tsv="\ta\n甲\ta\n第0007条\tb\n第0009条\ta\n")
        report = check(write(tmp_path, test_tsv="乙\ta\n甲\tb\n"))
        assert report.findings == [
            "dev: 2 of 3 texts stand in train as well, such as '第0007条'; take them out of train",
            "test: 1 of 2 texts stand in dev as well, such as '甲'; take them out of dev",
        ]

    def test_nearly_the_same_text(self, tmp_path: Path) -> None:
        train = texts(20, "a") + texts(20, "b", 20)
        dev = "甲\ta\n第０００７条！\tb\n"
        report = check(write(tmp_path, train_tsv=train, dev_tsv=dev))
        told = (
            "texts differ from one in train by case, width or punctuation alone, such as "
            "'第０００７条！'"
        )
        assert report.findings == [f"dev: 1 of 2 {told}"]
        # One in a hundred harms nobody.
        report = check(write(tmp_path, dev_tsv=dev + texts(98, "a", 500)))
        assert report.findings == [] and report.notes == [f"dev: 1 of 100 {told}"]

    def test_texts_of_nothing_but_punctuation_are_told_apart(self, tmp_path: Path) -> None:
        train = texts(20, "a") + texts(20, "b", 20) + "……\ta\n\ta\n"
        report = check(write(tmp_path, train_tsv=train, dev_tsv="？！\ta\n\tb\n"))
        assert report.findings == []

    def test_a_text_with_two_labels(self, tmp_path: Path) -> None:
        train = texts(10, "a") + texts(11, "b", 9)
        report = check(write(tmp_path, train_tsv=train, dev_tsv="甲\ta\n乙\tb\n"))
        assert report.findings == [
            "train: 2 of 21 texts stand there with several labels, such as '第0009条'"
        ]

    def test_one_class(self, tmp_path: Path) -> None:
        path = write(tmp_path, a_tsv="甲\ta\n乙\ta\n丙\ta\n") / "a.tsv"
        report = check(path)
        assert report.tables == []
        assert report.findings == [
            f"{path}: all 3 rows have the label 'a'; expected two classes at least"
        ]

    def test_a_test_split_without_labels(self, tmp_path: Path) -> None:
        train = texts(20, "a") + texts(20, "b", 20)
        write(tmp_path, train_tsv=train, dev_tsv="甲\ta\n乙\tb\n", test_csv="text\n丙\n")
        report = check(tmp_path)
        assert rows_of(report, 1) == {"a": ["20", "1", "0"], "b": ["20", "1", "0"]}
        assert report.findings == []

    def test_an_unbalanced_set(self, tmp_path: Path) -> None:
        train = texts(10, "a") + texts(100, "b", 20)
        report = check(write(tmp_path, train_tsv=train, dev_tsv="甲\ta\n乙\tb\n"))
        (note,) = report.notes
        assert "largest class has 10 times as many rows as the smallest" in note

    def test_many_classes_are_cut_short(self, tmp_path: Path) -> None:
        train = "".join(texts(10 + number, f"c{number}", 100 * number) for number in range(40))
        report = check(write(tmp_path, train_tsv=train, dev_tsv="甲\tc0\n乙\tc1\n"))
        classes = list(rows_of(report, 1))
        assert len(classes) == 31 and classes[0] == "c39" and classes[-1] == "… 10 smaller classes"

    def test_repeated_rows_of_a_lone_file_stay_together(self, tmp_path: Path) -> None:
        rows = 10 * (texts(5, "a") + texts(5, "b", 5))
        report = check(write(tmp_path, a_tsv=rows) / "a.tsv")
        assert not any("stand in train as well" in finding for finding in report.findings)
        assert any("cut 80/10/10" in note for note in report.notes)

    def test_a_bad_row_is_an_error(self, tmp_path: Path) -> None:
        path = write(tmp_path, a_csv="text,label\n甲,a\n乙\n") / "a.csv"
        with pytest.raises(UserError, match=r"a\.csv:3: expected 2 columns"):
            check(path)

    def test_memory_is_a_few_bytes_a_row(self, tmp_path: Path) -> None:
        def peak(num_rows: int) -> int:
            rows = (f"{'第' * 40}{number}\t{number % 5}\n" for number in range(num_rows))
            path = write(tmp_path, a_tsv="".join(rows)) / "a.tsv"
            tracemalloc.start()
            try:
                check(path)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        # 40 characters of three bytes each.
        assert (peak(22_000) - peak(2_000)) / 20_000 < 60


class TestPairs:
    def test_counts(self, tmp_path: Path) -> None:
        train = "en\tzh\nGood day\t日安\nGood day\t日安\nYes\t\nOK\tOK\n"
        report = check(write(tmp_path, train_tsv=train, dev_tsv="en\tzh\nNo\t不是\n"))
        assert report.kind == "sentence pairs, en to zh"
        assert rows_of(report, 0) == {
            "train": ["3", "0", "1", "8", "8", "8", "2", "2", "2"],
            "dev": ["1", "0", "0", "2", "2", "2", "2", "2", "2"],
        }
        assert report.notes == [
            f"{tmp_path / 'train.tsv'}: 1 pairs lack a side and are not trained on",
            "train: 1 of 3 pairs have the same text on both sides",
        ]
        assert report.findings == []

    def test_a_side_of_white_space_is_empty(self, tmp_path: Path) -> None:
        train, dev = "en\tzh\nGood day\t日安\n", "en\tzh\n \t\u3000\nYes\t \nGood day\t日安\n"
        report = check(write(tmp_path, train_tsv=train, dev_tsv=dev))
        assert rows_of(report, 0)["dev"][:2] == ["3", "2"]
        assert report.findings == [
            "dev: 1 of 1 pairs stand in train as well, such as 'Good day'; take them out of train"
        ]

    def test_the_direction_can_be_chosen(self, tmp_path: Path) -> None:
        write(tmp_path, train_en="Good day\n", train_zh="日安\n", dev_en="No\n", dev_zh="不是\n")
        report = check(tmp_path, source_language="zh")
        assert report.kind == "sentence pairs, zh to en"
        assert rows_of(report, 0)["train"] == ["1", "0", "0", *3 * ["2"], *3 * ["8"]]

    def test_the_same_pair_in_two_splits(self, tmp_path: Path) -> None:
        train = "en\tzh\na\t甲\nb\t乙\nc\t丙\n"
        dev = "en\tzh\nempty\t\na\t甲\nB!\t乙\nx\t某\n"
        report = check(write(tmp_path, train_tsv=train, dev_tsv=dev))
        assert report.findings == [
            "dev: 1 of 3 pairs stand in train as well, such as 'a'; take them out of train",
            "dev: 1 of 3 pairs differ from one in train by case, width or punctuation alone, such "
            "as 'B!'",
        ]
        assert report.notes == [
            "dev: 1 of 3 zh sentences stand in train in another pair, such as '乙'"
        ]

    def test_a_source_sentence_in_two_splits(self, tmp_path: Path) -> None:
        train, dev = "en\tzh\na\t甲\nb\t乙\n", "en\tzh\na\t子\nx\t乙\n"
        write(tmp_path, train_tsv=train, dev_tsv=dev)
        source = "dev: 1 of 2 en sentences stand in train in another pair, such as 'a'"
        target = "dev: 1 of 2 zh sentences stand in train in another pair, such as '乙'"
        report = check(tmp_path)
        assert report.findings == [source] and report.notes == [target]
        report = check(tmp_path, source_language="zh")
        assert report.findings == [target] and report.notes == [source]

    def test_words_do_not_move_from_one_side_to_the_other(self, tmp_path: Path) -> None:
        report = check(write(tmp_path, train_tsv="en\tde\na b\tc\n", dev_tsv="en\tde\na\tb c\n"))
        assert report.findings == []

    def test_two_files(self, tmp_path: Path) -> None:
        sentences = [f"Sentence {number}\n" for number in range(50)]
        write(tmp_path, a_en="".join(sentences), a_de="".join(sentences).replace("Sent", "S"))
        report = check(f"{tmp_path / 'a.en'},{tmp_path / 'a.de'}")
        assert [row[0] for row in rows_of(report, 0).values()] == ["40", "5", "5"]


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12 + shade, 8), (shade, 100, 200)).save(file, "PNG")
    return file.getvalue()


def put_competition(folder: Path, **splits: Sequence[tuple[int, str]]) -> Path:
    """Writes pictures of shades, each with its number, in the competition's layout."""
    for stem, rows in splits.items():
        with zipfile.ZipFile(folder / f"{stem}.zip", "w") as archive:
            for place, (shade, _) in enumerate(rows):
                archive.writestr(f"{place}.png", png(shade))
        labels = {
            f"{place}.png": {"label": [int(digit) for digit in number]}
            for place, (_, number) in enumerate(rows)
        }
        (folder / f"{stem}.json").write_text(json.dumps(labels))
    return folder


class TestPictures:
    def test_counts(self, tmp_path: Path) -> None:
        rows = [(1, "7"), (2, "70"), (2, "70"), (3, "07")]
        report = check(put_competition(tmp_path, train=rows, val=[(4, "12"), (5, "1")]))
        assert report.kind == "pictures of numbers"
        assert rows_of(report, 0) == {
            "train": ["4", "1", "0", "13 to 15", "8 to 8"],
            "dev": ["2", "0", "0", "16 to 17", "8 to 8"],
        }
        assert rows_of(report, 1) == {
            "numbers of 1 digit": ["1", "1"],
            "numbers of 2 digits": ["3", "1"],
            **{f"digit {digit}": ["0", "0"] for digit in range(10)},
            "digit 0": ["3", "0"],
            "digit 1": ["0", "2"],
            "digit 2": ["0", "1"],
            "digit 7": ["4", "0"],
        }
        assert report.notes == report.findings == []

    def test_the_same_picture_in_two_splits(self, tmp_path: Path) -> None:
        train, val, test = [(1, "7"), (2, "8")], [(2, "8"), (3, "9")], [(1, "7"), (3, "1")]
        report = check(put_competition(tmp_path, train=train, val=val, test=test))
        stand = "1 of 2 pictures stand in"
        assert report.findings == [
            f"dev: {stand} train as well, such as '0.png'; take them out of train",
            f"test: {stand} train as well, such as '0.png'; take them out of train",
            f"test: {stand} dev as well, such as '1.png'; take them out of dev",
        ]

    def test_one_picture_with_two_numbers(self, tmp_path: Path) -> None:
        train = [(1, "7"), (1, "07"), (2, "8")]
        report = check(put_competition(tmp_path, train=train, val=[(4, "1"), (5, "2")]))
        assert report.findings == [
            "train: 2 of 3 pictures stand there with several numbers, such as '0.png'"
        ]

    def test_one_number(self, tmp_path: Path) -> None:
        train = [(1, "7"), (2, "7")]
        report = check(put_competition(tmp_path, train=train, val=[(4, "1"), (5, "2")]))
        assert report.findings == ["train: all 2 pictures show one number"]

    @pytest.mark.parametrize(("num_rows", "harmful"), [(3, True), (100, False)])
    def test_boxes_that_are_not_in_view(self, tmp_path: Path, num_rows: int, harmful: bool) -> None:
        train = [(place, str(place)) for place in range(num_rows)]
        put_competition(tmp_path, train=train, val=[(200, "1"), (201, "2")])
        box = {"left": [13], "top": [2], "width": [4], "height": [4]}  # picture 1 is 13 wide
        labels = json.loads((tmp_path / "train.json").read_text())
        labels["1.png"] |= box
        labels["2.png"] |= box
        (tmp_path / "train.json").write_text(json.dumps(labels))
        report = check(tmp_path)
        told = [line for line in (report.findings if harmful else report.notes) if "box" in line]
        assert told == [
            f"train: 1 of {num_rows} pictures have a box that lies outside of them or has no area, "
            "such as '1.png'; boxes are left, top, width and height in pixels"
        ]

    def test_single_digits(self, tmp_path: Path) -> None:
        pixels = np.arange(4 * 4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 4, 3)
        np.savez(tmp_path / "train.npz", allow_pickle=True, x=pixels, y=np.arange(4))
        np.savez(tmp_path / "val.npz", allow_pickle=True, x=pixels[:2], y=np.arange(2))
        report = check(tmp_path)
        assert report.kind == "pictures of single digits"
        assert rows_of(report, 1)["digit 0"] == ["1", "1"]
        assert report.findings == [
            "dev: 2 of 2 pictures stand in train as well, such as '000000'; take them out of train"
        ]

    def test_a_folder_with_a_list(self, tmp_path: Path) -> None:
        rows = ["file,number,split", "a.png,1,train", "b.png,2,train", "c.png,3,dev", "d.png,4,dev"]
        (tmp_path / "labels.csv").write_text("\n".join(rows))
        for shade, name in enumerate("abcd"):
            (tmp_path / f"{name}.png").write_bytes(png(shade))
        report = check(tmp_path)
        assert rows_of(report, 0)["dev"] == ["2", "0", "0", "14 to 15", "8 to 8"]
        assert report.findings == []


class TestGuess:
    @pytest.mark.parametrize(
        ("name", "content", "task"),
        [
            ("a.csv", "text,label\n", "news"),
            ("a.jsonl", "", "news"),
            ("a.txt", "甲\t1\n", "news"),
            ("a.tsv", "", "news"),
            ("a.tsv", "甲,a\n", "news"),
            ("a.tsv", "甲\ta\n乙\tb\n丙\ta\n丁\tb\n", "news"),
            ("a.tsv", "id\ttitle\tcategory\n1\t甲\ta\n", "news"),
            ("a.tsv", "note\tlabel\n甲\ta\n", "news"),
            ("a.tsv", "OK\tOK\none\t一\ntwo\t二\n", "translation"),
            ("a.tsv", "one\t一\ntwo\t二\nthree\t三\n", "translation"),
            ("a.tsv", "en\tzh\none\t一\none\t一\n", "translation"),
            ("a.tsv", "source\ttarget\none\t一\none\t一\n", "translation"),
            ("a.tsv", "one\t一\tby nobody\ntwo\t二\tby nobody\n", "translation"),
            ("a.tsv", "1\tone\t7\t一\n2\ttwo\t8\t二\n", "translation"),
            ("a.tsv", "one\t一\t\ntwo\t二\t\n", "translation"),
            ("a.tsv", "0.93\tone\t一\n1.2\ttwo\t二\n", "translation"),
            ("a.tsv", "qid\ttext_a\tlabel\n1\t甲\ta\n2\t乙\ta\n", "news"),
            ("a.tsv", "1\t甲\ta\n2\t乙\ta\n3\t丙\tb\n4\t丁\tb\n", "news"),
            ("a.tsv", "甲\ta\t\n乙\ta\t\n丙\tb\t\n丁\tb\t\n", "news"),
            ("a.tsv", "甲\t7\n乙\t8\n", "news"),
            ("a.tsv", "id\ttext\n1\t甲\n2\t乙\n", "news"),
            ("cmn.txt", "Hi.\t嗨。\tCC-BY (CM)\nRun.\t跑。\tCC-BY (CM)\n", "translation"),
            ("a.txt", "甲\ta\n乙\tb\n丙\ta\n丁\tb\n", "news"),
            ("upper.TSV", "one\t一\ntwo\t二\n", "translation"),
            ("upper.TXT", "甲\t1\n", "news"),
            ("upper.CSV", "text,label\n", "news"),
            ("train.ZIP", "", "street_view"),
            ("train.json", '{"sentence": "甲", "label": "108", "label_desc": "edu"}\n', "news"),
            ("train.json", '[\n{"sentence": "甲", "label": "108"}\n]', "news"),
            ("train.json", '[{"sentence": "甲", "label": "108"}]', "news"),
            ("train.json", '{"1.png": {"label": [1]}, "2.png": {"label": [2]}}', "street_view"),
            ("train.json", '{\n  "1.png": {\n    "label": [1]\n  }\n}', "street_view"),
            ("labels.csv", "file,number\n", "street_view"),
            ("Labels.CSV", "file,number\n", "street_view"),
            ("train.zip", "", "street_view"),
        ],
    )
    def test_files(self, tmp_path: Path, name: str, content: str, task: str) -> None:
        (tmp_path / name).write_text(content, "utf-8")
        assert guess_task(str(tmp_path / name)) == task

    @pytest.mark.parametrize(
        ("names", "task"),
        [
            (["train.csv", "dev.csv"], "news"),
            (["train.txt", "class.txt"], "news"),
            (["train.en", "train.zh.gz"], "translation"),
            (["train.TXT"], "news"),
            (["train.csv.gz"], "news"),
            (["train.EN", "train.ZH"], "translation"),
            (["mchar_train.json", "mchar_train.zip"], "street_view"),
            (["labels.csv", "1.png"], "street_view"),
            (["train.npz"], "street_view"),
        ],
    )
    def test_folders(self, tmp_path: Path, names: list[str], task: str) -> None:
        for name in names:
            (tmp_path / name).touch()
        assert guess_task(str(tmp_path)) == task

    def test_a_folder_of_json_is_of_pictures_where_they_stand_beside_it(self, tmp_path) -> None:
        write(tmp_path, train_json='{"sentence": "甲", "label": "108"}\n', dev_json="{}\n")
        assert guess_task(str(tmp_path)) == "news"
        (tmp_path / "train").mkdir()
        assert guess_task(str(tmp_path)) == "street_view"

    def test_a_folder_of_columns(self, tmp_path: Path) -> None:
        assert guess_task(str(write(tmp_path, train_tsv="one\t一\ntwo\t二\n"))) == "translation"
        assert guess_task(str(write(tmp_path, train_tsv="甲\ta\n乙\ta\n"))) == "news"
        assert guess_task(str(write(tmp_path, train_tsv="a\t甲\na\t乙\n"))) == "news"

    @pytest.mark.parametrize("name", ["nowhere", "nowhere.tsv", ""])
    def test_what_cannot_be_guessed(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UserError) as caught:
            guess_task(str(tmp_path / name))
        told = "no such file or folder" if name else "expected labelled texts (train.tsv"
        assert str(caught.value).startswith(f"{tmp_path / name}: {told}")

    def test_a_file_of_lines_needs_another(self, tmp_path: Path) -> None:
        (tmp_path / "a.en").touch()
        with pytest.raises(UserError, match=r"two files of lines, as in a\.en,a\.zh"):
            guess_task(str(tmp_path / "a.en"))


@pytest.mark.parametrize(
    ("name", "task", "sizes"),
    [
        ("tnews", "news", ["48,321", "9,737"]),
        ("thucnews", "news", ["97,873", "9,985", "9,990"]),
        ("multi30k", "translation", ["29,000", "1,014", "1,000"]),
        ("captions_en_zh", "translation", ["22,814", "996", "1,000"]),
        ("tatoeba_en_zh", "translation", ["26,435", "1,060", "1,560"]),
        ("street_view", "street_view", ["3,632", "400", "500"]),
        pytest.param(
            *("street_view_digits", "street_view", ["7,211", "804", "970"]), marks=pytest.mark.slow
        ),
    ],
)
def test_real_data(shared_data: Path, name: str, task: str, sizes: list[str]) -> None:
    """Their READMEs say the same: how many rows, and that none stands in two splits."""
    path = str(shared_data / name)
    assert guess_task(path) == task
    report = check_dataset(path, guess_task(path))
    assert [row[0] for row in rows_of(report, 0).values()] == sizes
    assert report.findings == []
    if name == "multi30k":
        assert rows_of(report, 0)["train"][2] == "3"
        assert [note[:30] for note in report.notes] == [
            "dev: 1 of 1,014 de sentences s",
            "dev: 1 of 1,014 en sentences s",
        ]
