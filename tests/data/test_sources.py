"""Data sets by name or path: what is read, how a lone file is cut, what each mistake is told."""

import csv
import gzip
import hashlib
import json
import tracemalloc
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.data import text_files
from tfcamp.data.checks import guess_task
from tfcamp.data.sources import (
    TextDataset,
    TextRow,
    default_data_dir,
    load_text_dataset,
    write_submission,
)
from tfcamp.data.text_files import READERS, read_text_file
from tfcamp.data.text_splits import TextSplit, cut_splits
from tfcamp.errors import UserError

TRAIN = "股市大涨\t财经\n主场告捷\t体育\n央行降息\t财经\n"
DEV = "客场失利\t体育\n"


def load(path: Path | str, data_dir: Path | None = None, seed: int = 0) -> TextDataset:
    return load_text_dataset(str(path), data_dir=data_dir, seed=seed)


def write(folder: Path, **files: str | bytes) -> Path:
    """Writes files named like `train_tsv`; text is written as UTF-8 without newline translation."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def error_of(path: Path | str, data_dir: Path | None = None) -> str:
    """Returns the message of the UserError that loading must raise, which is one line."""
    with pytest.raises(UserError) as caught:
        load(path, data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestFolder:
    def test_labels_are_names_in_a_fixed_order(self, tmp_path: Path) -> None:
        dataset = load(write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, test_tsv="收盘\t财经\n"))
        assert dataset.name == tmp_path.name
        assert dataset.classes == ("体育", "财经")
        assert list(dataset.train) == [("股市大涨", 1), ("主场告捷", 0), ("央行降息", 1)]
        assert list(dataset.dev) == [("客场失利", 0)]
        assert dataset.test is not None and list(dataset.test) == [TextRow("收盘", 1)]
        assert (len(dataset.train), dataset.train.class_counts) == (3, (1, 2))
        assert dataset.notes == () and not dataset.pretokenized

    def test_a_split_can_be_iterated_again_and_side_by_side(self, tmp_path: Path) -> None:
        train = load(write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV)).train
        assert list(zip(train, train, strict=True)) == [(row, row) for row in train]

    def test_sha256_is_of_the_files_one_after_the_other(self, tmp_path: Path) -> None:
        names = "财经\n体育\n"
        dataset = load(write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, class_txt=names))
        assert dataset.sha256 == hashlib.sha256((TRAIN + DEV + names).encode()).hexdigest()

    @pytest.mark.parametrize("stem", ["dev", "val", "valid", "validation"])
    def test_the_validation_file_has_four_names(self, tmp_path: Path, stem: str) -> None:
        write(tmp_path, train_tsv=TRAIN, **{f"{stem}_tsv": DEV})
        dataset = load(tmp_path)
        assert len(dataset.dev) == 1 and dataset.test is None

    def test_suffixes_in_capitals_and_compressed_files(self, tmp_path: Path) -> None:
        (tmp_path / "train.txt.gz").write_bytes(gzip.compress("甲\t1\n乙\t0\n".encode()))
        (tmp_path / "dev.CSV").write_text("label,text\n1,丙\n", "utf-8")
        (tmp_path / "test.Tsv.GZ").write_bytes(gzip.compress("丁\t0\n".encode()))
        (tmp_path / "class.TXT").write_text("财经\n体育\n", "utf-8")
        dataset = load(tmp_path)
        assert dataset.classes == ("财经", "体育") and dataset.test is not None
        assert list(dataset.train) == [("甲", 1), ("乙", 0)]
        assert list(dataset.dev) == [("丙", 1)] and list(dataset.test) == [("丁", 0)]
        assert (
            dataset.sha256
            == hashlib.sha256(
                b"".join(
                    (tmp_path / name).read_bytes()
                    for name in ("train.txt.gz", "dev.CSV", "test.Tsv.GZ", "class.TXT")
                )
            ).hexdigest()
        )

    def test_splits_may_have_different_formats(self, tmp_path: Path) -> None:
        write(tmp_path, train_txt=TRAIN, dev_csv="label,text\n体育,客场失利\n")
        assert list(load(tmp_path).dev) == [("客场失利", 0)]

    @pytest.mark.parametrize("names", ["class.txt", "labels.txt"])
    def test_labels_may_be_ids_or_names_of_a_class_file(self, tmp_path: Path, names: str) -> None:
        write(tmp_path, train_tsv="甲\t1\n乙\t财经\n丙\t0\n", dev_tsv="丁\t体育\n")
        (tmp_path / names).write_text("财经\n体育")
        dataset = load(tmp_path)
        assert dataset.classes == ("财经", "体育")
        assert [row.label for row in dataset.train] == [1, 0, 0]
        assert [row.label for row in dataset.dev] == [1]

    def test_a_name_wins_over_an_id(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv="甲\t1\n乙\t0\n", dev_tsv="丙\t1\n", class_txt="1\n0\n")
        assert [row.label for row in load(tmp_path).train] == [0, 1]

    def test_number_labels_without_a_class_file_are_ordered_as_numbers(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path, train_tsv="甲\t10\n乙\t9\n", dev_tsv="丙\t9\n")
        assert load(tmp_path).classes == ("9", "10")

    def test_a_class_without_training_rows_is_noted(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, class_txt="体育\n财经\n彩票\n")
        dataset = load(tmp_path)
        assert dataset.train.class_counts == (1, 2, 0)
        (note,) = dataset.notes
        assert "彩票" in note

    def test_a_test_file_may_be_unlabelled(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, test_tsv="text\n收盘\n开盘\n")
        test = load(tmp_path).test
        assert test is not None
        assert list(test) == [("收盘", None), ("开盘", None)]
        assert test.class_counts == (0, 0) and len(test) == 2

    def test_a_quoted_empty_text_may_stand_last(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, test_csv='text\n收盘\n""\n\n')
        test = load(tmp_path).test
        assert test is not None and [row.text for row in test] == ["收盘", ""]

    @pytest.mark.parametrize("suffix", [".tsv", ".csv"])
    def test_an_empty_line_of_texts_alone_is_an_empty_text(self, tmp_path, suffix: str) -> None:
        """Predictions stand line by line; what an editor leaves at the end is no text."""
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV)
        (tmp_path / f"test{suffix}").write_text("\ntext\n\n收盘\n\n\n开盘\n\n\n", "utf-8")
        test = load(tmp_path).test
        assert test is not None
        assert [row.text for row in test] == ["", "收盘", "", "", "开盘"] and len(test) == 5

    def test_the_working_directory_has_a_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV))
        assert load(".").name == tmp_path.name

    def test_it_is_found_in_the_data_dir(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        write(tmp_path / "mine", train_tsv=TRAIN, dev_tsv=DEV)
        assert load("mine", tmp_path).name == "mine"

    def test_tnews_is_such_a_folder(self, shared_data: Path) -> None:
        dataset = load("tnews", shared_data)
        assert len(dataset.classes) == 15 and dataset.classes[0] == "news_story"
        assert (len(dataset.train), len(dataset.dev), dataset.test) == (48_321, 9_737, None)
        assert dataset.train.class_counts[dataset.classes.index("news_stock")] == 236
        assert sum(1 for _ in dataset.train) == 48_321


class TestFormats:
    """Whatever the format, the rows are the same."""

    ROWS = (('他说"你好", 然后走了', "a"), ("", "b"), ("行\u2028分隔", "a"), (" 空 格 ", "b"))

    def rows_of(self, path: Path, content: str | bytes) -> list[tuple[str, str | None]]:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [(row.text, row.label) for row in read_text_file(path)]

    @pytest.mark.parametrize("suffix", [".tsv", ".txt"])
    def test_tab_separated(self, tmp_path: Path, suffix: str) -> None:
        content = "".join(f"{text}\t{label}\n" for text, label in self.ROWS)
        assert self.rows_of(tmp_path / f"a{suffix}", content) == list(self.ROWS)

    def test_tab_separated_with_a_header_in_any_order(self, tmp_path: Path) -> None:
        content = "id\tLabel\tText\n" + "".join(
            f"7\t{label}\t{text}\n" for text, label in self.ROWS
        )
        assert self.rows_of(tmp_path / "a.tsv", content) == list(self.ROWS)

    @pytest.mark.parametrize("suffix", [".tsv", ".txt", ".csv"])
    @pytest.mark.parametrize("name", ["content", "text_a", "review", "Headline", "note", "摘要"])
    def test_beside_a_label_the_other_column_is_the_text(
        self, tmp_path: Path, suffix: str, name: str
    ) -> None:
        content = f"{name}\tlabel\n甲\ta\n乙\tb\n"
        content = content.replace("\t", ",") if suffix == ".csv" else content
        assert self.rows_of(tmp_path / f"a{suffix}", content) == [("甲", "a"), ("乙", "b")]

    def test_a_text_has_a_known_name_where_there_are_more_columns(self, tmp_path: Path) -> None:
        content = "qid\ttext_a\tlabel\n1\t甲\ta\n"
        assert self.rows_of(tmp_path / "a.tsv", content) == [("甲", "a")]
        assert self.rows_of(tmp_path / "a.jsonl", '{"content": "甲", "id": 7}') == [("甲", None)]

    @pytest.mark.parametrize("header", ["label,text", "类别,标题"])
    def test_comma_separated(self, tmp_path: Path, header: str) -> None:
        rows = "".join(
            '{},"{}"\n'.format(label, text.replace('"', '""')) for text, label in self.ROWS
        )
        assert self.rows_of(tmp_path / "a.csv", header + "\n" + rows) == list(self.ROWS)

    def test_json_lines(self, tmp_path: Path) -> None:
        rows = (json.dumps({"category": label, "title": text}) + "\n" for text, label in self.ROWS)
        assert self.rows_of(tmp_path / "a.jsonl", "".join(rows)) == list(self.ROWS)

    def test_json_as_clue_ships_it(self, tmp_path: Path) -> None:
        row = '{"label": "%d", "label_desc": "news_%s", "sentence": "%s", "keywords": ""}\n'
        rows = row % (108, "edu", "上课时学生手机响") + row % (104, "finance", "商赢环球")
        write(tmp_path, train_json=rows, dev_json=rows, test_json='{"id": 0, "sentence": "甲"}\n')
        dataset = load(tmp_path)
        assert dataset.classes == ("104", "108") and dataset.test is not None
        assert list(dataset.train) == [("上课时学生手机响", 1), ("商赢环球", 0)]
        assert list(dataset.test) == [("甲", None)]

    @pytest.mark.parametrize("rows", ['[{"text": "甲", "label": "a"}]', '[\n{"text": "甲"}\n]'])
    def test_a_json_array(self, tmp_path: Path, rows: str) -> None:
        message = error_of(write(tmp_path, a_json=rows) / "a.json")
        assert message.startswith(f"{tmp_path / 'a.json'}:1: expected ")
        assert message.endswith("; an array? jq -c '.[]' a.json > new.jsonl cuts it up")

    def test_json_labels_may_be_integers(self, tmp_path: Path) -> None:
        content = '{"sentence": "甲", "label": 104}\n'
        assert self.rows_of(tmp_path / "a.jsonl", content) == [("甲", "104")]

    @pytest.mark.parametrize("suffix", READERS)
    def test_mark_crlf_blank_lines_and_a_missing_last_line_end(
        self, tmp_path: Path, suffix: str
    ) -> None:
        lines = {
            ".csv": "text,label\r\n甲,a\r\n\r\n乙,b",
            ".json": '{"text":"甲","label":"a"}\r\n\r\n{"text":"乙","label":"b"}',
        }.get(suffix[:5], "甲\ta\r\n\r\n乙\tb")
        path = tmp_path / f"a{suffix}"
        assert self.rows_of(path, b"\xef\xbb\xbf" + lines.encode()) == [("甲", "a"), ("乙", "b")]

    def test_a_csv_row_is_named_by_the_line_it_begins_on(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text('text,label\n"两\n行",a\n三,b\n', encoding="utf-8")
        assert list(read_text_file(path)) == [(2, "两\n行", "a"), (4, "三", "b")]

    @pytest.mark.parametrize("before", ["\n", "\r\n\r\n", "\ufeff\n"])
    @pytest.mark.parametrize("suffix", [".tsv", ".csv"])
    def test_a_header_may_stand_after_blank_lines(
        self, tmp_path: Path, suffix: str, before: str
    ) -> None:
        content = before + "label\ttext\na\t甲\n".replace("\t", "," if suffix == ".csv" else "\t")
        assert self.rows_of(tmp_path / f"a{suffix}", content) == [("甲", "a")]

    def test_a_second_header_is_a_row(self, tmp_path: Path) -> None:
        rows = [("甲", "a"), ("text", "label")]
        assert self.rows_of(tmp_path / "a.tsv", "甲\ta\ntext\tlabel\n") == rows

    @pytest.mark.parametrize("suffix", READERS)
    def test_a_text_may_be_a_book(self, tmp_path: Path, suffix: str) -> None:
        text = "书" * 200_000
        content = {
            ".csv": f'text,label\n"{text}",a\n',
            ".json": f'{{"text": "{text}", "label": "a"}}\n',
        }.get(suffix[:5], f"{text}\ta\n")
        assert self.rows_of(tmp_path / f"a{suffix}", content) == [(text, "a")]


class TestLoneFile:
    def test_is_cut_80_10_10_class_by_class(self, tmp_path: Path) -> None:
        labels = ["a"] * 100 + ["b"] * 50 + ["c"] * 7
        path = tmp_path / "all.tsv"
        path.write_text("".join(f"{number}\t{label}\n" for number, label in enumerate(labels)))
        dataset = load(path)
        assert dataset.name == "all" and dataset.test is not None
        assert dataset.train.class_counts == (80, 40, 5)
        assert dataset.dev.class_counts == dataset.test.class_counts == (10, 5, 1)
        for split in (dataset.train, dataset.dev, dataset.test):
            counts = Counter(row.label for row in split)
            assert tuple(counts[label] for label in range(3)) == split.class_counts
        assert "80/10/10" in dataset.notes[0] and "seed 0" in dataset.notes[0]
        assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    @pytest.mark.parametrize("name", ["all.TSV", "all.txt.gz"])
    def test_its_name_has_no_suffix(self, tmp_path: Path, name: str) -> None:
        content = "".join(f"{number}\t{number % 2}\n" for number in range(20)).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        dataset = load(tmp_path / name)
        assert dataset.name == "all" and len(dataset.train) == 16

    def test_the_seed_decides_the_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "all.tsv"
        path.write_text("".join(f"{number}\t{number % 2}\n" for number in range(200)))
        assert list(load(path, seed=1).dev) == list(load(path, seed=1).dev)
        assert list(load(path, seed=1).dev) != list(load(path, seed=2).dev)

    @settings(max_examples=50, deadline=None)
    @given(labels=st.lists(st.integers(0, 3), min_size=40, max_size=80), seed=st.integers())
    def test_parts_are_the_whole_and_do_not_overlap(self, labels: list[int], seed: int) -> None:
        whole = split_of(labels)
        parts = [list(part) for part in cut_splits(whole, (8, 1, 1), seed)]
        assert sorted(row for part in parts for row in part) == sorted(whole)
        numbers = [[int(row.text) for row in part] for part in parts]
        assert numbers == [sorted(part) for part in numbers]

    @settings(max_examples=50, deadline=None)
    @given(more=st.lists(st.builds(TextRow, st.sampled_from("abcdefghijklmno"), st.integers(0, 2))))
    def test_a_text_stands_in_one_part_only(self, more: list[TextRow]) -> None:
        """However often it occurs, also with other labels."""
        rows = [TextRow(text, number % 3) for number, text in enumerate("abcdefghijklmno")] + more
        counts = Counter(row.label for row in rows)
        whole = TextSplit(
            Path("all.tsv"), len(rows), tuple(counts[label] for label in range(3)), rows.__iter__
        )
        parts = cut_splits(whole, (8, 1, 1), seed=0)
        texts = [{row.text for row in part} for part in parts]
        assert not any(one & other for one, other in combinations(texts, 2))
        for part in parts:
            of_class = Counter(row.label for row in part)
            assert part.class_counts == tuple(of_class[label] for label in range(3))
            assert len(part) == len(list(part))

    def test_every_row_has_the_same_chance(self) -> None:
        whole = split_of([0] * 10)
        drawn = Counter(
            row.text for seed in range(2000) for row in cut_splits(whole, (9, 1), seed)[1]
        )
        # 200 expected of each of the 10 rows; 5 standard deviations are 67.
        assert len(drawn) == 10
        assert all(133 < count < 267 for count in drawn.values())


def split_of(labels: list[int]) -> TextSplit:
    """Returns a split in memory whose texts are the row numbers."""
    rows = [TextRow(str(number), label) for number, label in enumerate(labels)]
    counts = Counter(labels)
    class_counts = tuple(counts[label] for label in range(max(labels) + 1))
    return TextSplit(Path("all.tsv"), len(rows), class_counts, lambda: iter(rows))


class TestTianchiNews:
    TRAIN = "label\ttext\n" + "".join(f"{n % 14}\t{n} 3750 648 900\n" for n in range(280))

    def test_a_tenth_of_each_class_is_the_validation_split(self, tmp_path: Path) -> None:
        (tmp_path / "tianchi_news").mkdir()
        (tmp_path / "tianchi_news/train_set.csv").write_text(self.TRAIN)
        (tmp_path / "tianchi_news/test_a.csv").write_text("text\n5 6\n7 8 9\n")
        dataset = load("tianchi_news", tmp_path)
        assert dataset.pretokenized
        assert (dataset.classes[0], dataset.classes[7], dataset.classes[13]) == (
            *("科技", "财经", "星座"),
        )
        assert dataset.train.class_counts == (18,) * 14
        assert dataset.dev.class_counts == (2,) * 14
        assert {row.label for row in dataset.dev} == set(range(14))
        assert all(int(row.text.split()[0]) % 14 == row.label for row in dataset.train)
        assert dataset.test is not None
        assert list(dataset.test) == [("5 6", None), ("7 8 9", None)]
        used = self.TRAIN + "text\n5 6\n7 8 9\n"
        assert dataset.sha256 == hashlib.sha256(used.encode()).hexdigest()

    def test_the_test_file_is_optional(self, tmp_path: Path) -> None:
        (tmp_path / "tianchi_news").mkdir()
        (tmp_path / "tianchi_news/train_set.csv").write_text(self.TRAIN)
        assert load("tianchi_news", tmp_path).test is None

    def test_missing_file(self, tmp_path: Path) -> None:
        message = error_of("tianchi_news", tmp_path)
        assert str(tmp_path / "tianchi_news/train_set.csv") in message
        assert "tianchi.aliyun.com" in message

    def test_a_path_to_it(self, tmp_path: Path) -> None:
        for name, rename in (("tianchi_news", ""), ("nlp", "call its folder tianchi_news, and ")):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "train_set.csv").write_text(self.TRAIN)
            assert guess_task(str(folder)) == "news"
            for path in (folder, folder / "train_set.csv"):
                assert error_of(path) == (
                    f"{path}: is the data of Tianchi's competition, which train.py and evaluate.py "
                    f"open by name: {rename}give them --dataset tianchi_news --data-dir {tmp_path}"
                )

    def test_another_file_of_its_name(self, tmp_path: Path) -> None:
        rows = "".join(f"{number % 2},{number}\n" for number in range(20))
        (tmp_path / "train_set.csv").write_text("label,text\n" + rows)
        assert len(load(tmp_path / "train_set.csv").train) == 16

    def test_label_out_of_range(self, tmp_path: Path) -> None:
        (tmp_path / "tianchi_news").mkdir()
        (tmp_path / "tianchi_news/train_set.csv").write_text(self.TRAIN + "14\t1 2\n")
        assert "train_set.csv:282: label '14' is out of range" in error_of("tianchi_news", tmp_path)

    def test_submission(self, tmp_path: Path) -> None:
        write_submission(tmp_path / "submit.csv", [3, 0, 13])
        assert (tmp_path / "submit.csv").read_bytes() == b"label\n3\n0\n13\n"

    def test_a_wrong_submission_is_not_written(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="got 14"):
            write_submission(tmp_path / "submit.csv", [3, 14])
        assert not (tmp_path / "submit.csv").exists()


class TestErrors:
    @pytest.mark.parametrize("name", ["no/such.tsv", "such.csv", "no/such"])
    def test_missing_file(self, tmp_path: Path, name: str) -> None:
        assert "no such file or folder" in error_of(tmp_path / name)

    def test_misspelt_name(self, tmp_path: Path) -> None:
        message = error_of("thucnew", tmp_path)
        assert "did you mean 'thucnews'?" in message and "sample" in message

    def test_unknown_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "a.xlsx").write_text("x")
        assert "expected a file that ends in .tsv" in error_of(tmp_path / "a.xlsx")

    @pytest.mark.parametrize("content", ["", "\n\n", "text\tlabel\n"])
    def test_empty_file(self, tmp_path: Path, content: str) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=content)
        assert error_of(tmp_path).startswith(f"{tmp_path / 'dev.tsv'}: has no rows")

    def test_folder_without_known_files(self, tmp_path: Path) -> None:
        message = error_of(write(tmp_path, readme_md="x"))
        assert "has no train file; expected train and dev (or val, valid, validation)" in message
        assert ".jsonl" in message and "labels.txt" in message

    def test_folder_without_validation_file(self, tmp_path: Path) -> None:
        assert "has no dev file" in error_of(write(tmp_path, train_tsv=TRAIN))

    def test_two_files_for_one_split(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, val_csv="text,label\n")
        assert "has dev.tsv and val.csv" in error_of(tmp_path)

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            ("甲,财经", 'expected "text<TAB>label", got 1 column'),
            ("甲\t乙\t财经", "got 3 columns; a text cannot hold a tab here"),
            ("甲\t ", "expected a label, got an empty field"),
        ],
    )
    def test_broken_tab_separated_row(self, tmp_path: Path, row: str, told: str) -> None:
        message = error_of(write(tmp_path, train_tsv=TRAIN + row + "\n", dev_tsv=DEV))
        assert message.startswith(f"{tmp_path / 'train.tsv'}:4: ") and told in message
        assert "comma-separated" not in message

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            ("甲,财经", "got 1 column; is the file comma-separated? then name it .csv"),
            ('{"text": 1, "label": 2}', "got 1 column; is it JSON, one object a line? then name"),
            ("甲 财经", 'if it holds texts without labels, its first line must be "text"'),
            ("甲\ta\t", "got 3 columns; a tab too many ends the line"),
            ("1\t甲\ta", "got 3 columns; if there are more, a first line must name them, text and"),
        ],
    )
    def test_a_first_row_of_another_format(self, tmp_path: Path, row: str, told: str) -> None:
        message = error_of(write(tmp_path, train_tsv=f"\n{row}\n{row}\n", dev_tsv=DEV))
        assert message.startswith(f"{tmp_path / 'train.tsv'}:2: expected") and told in message

    @pytest.mark.parametrize("suffix", READERS)
    def test_lines_that_end_in_cr_alone(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        path.write_bytes("text\tlabel\r甲\ta\r".encode())
        assert error_of(path).startswith(f"{path}:1: lines end in CR alone")

    def test_row_narrower_than_its_header(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv="id\ttext\tlabel\n1\t甲\n", dev_tsv=DEV)
        assert "train.tsv:2: expected 3 columns as in the header, got 2" in error_of(tmp_path)

    def test_a_header_that_names_no_text(self, tmp_path: Path) -> None:
        write(tmp_path, a_tsv="qid\tnote\tlabel\n1\t甲\ta\n", a_csv="qid,note,label\n1,甲,a\n")
        told = 'a.{}:1: expected a header that names the columns, such as "text{}label", got'
        assert told.format("tsv", "<TAB>") in error_of(tmp_path / "a.tsv")
        assert told.format("csv", ",") in error_of(tmp_path / "a.csv")
        write(tmp_path, b_csv="image,label\n1.png,3\n", c_csv="id,label\n1,3\n")
        for name in ("b.csv", "c.csv"):
            assert "expected a header that names the columns" in error_of(tmp_path / name)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("甲,财经\n", ":1: expected a header that names the columns"),
            ("text\tlabel\n", ":1: expected a header"),
            ('text,label\n"甲\n乙",a\n丙,丁,b\n', ":4: expected 2 columns as in the header, got 3"),
            ('text,label\n甲,a\n"乙,b\n', ":3: unexpected end of data; is a quote never closed?"),
            ('text,label\n甲,a\n"乙"丙,b\n', ":3: "),
        ],
    )
    def test_broken_comma_separated_row(self, tmp_path: Path, content: str, told: str) -> None:
        assert f"a.csv{told}" in error_of(write(tmp_path, a_csv=content) / "a.csv")

    def test_a_quote_that_is_never_closed_in_a_large_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(text_files, "_MAX_FIELD_LENGTH", 200_000)
        limit = csv.field_size_limit(1000)
        try:
            write(tmp_path, a_csv='text,label\n甲,a\n"乙,b\n' + "丙,c\n" * 60_000)
            message = error_of(tmp_path / "a.csv")
            assert csv.field_size_limit() == 200_000
        finally:
            csv.field_size_limit(limit)
        assert "a.csv:3: field larger than field limit (200000); is a quote never" in message

    def test_no_commas_in_a_csv_file(self, tmp_path: Path) -> None:
        write(tmp_path, a_csv="text\tlabel\n", b_csv="text;label\n")
        assert "is it tab-separated? then name it .tsv" in error_of(tmp_path / "a.csv")
        assert "cut by semicolons: save it with commas" in error_of(tmp_path / "b.csv")

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            ('{"text": "乙", "label": "b"', "expected one JSON object a line"),
            ('["乙", "b"]', "expected a JSON object"),
            ('{"title": "乙", "label": "b"}', 'expected a string under "text", got nothing'),
            ('{"text": 7, "label": "b"}', "expected a string under \"text\", got '7'"),
            ('{"text": "乙"}', 'expected a string or an integer under "label", got nothing'),
            ('{"text": "乙", "label": true}', "got 'true'"),
            ('{"text": "乙", "label": ""}', 'expected a label under "label", got an empty string'),
            ('{"text": "乙", "label": " "}', 'expected a label under "label", got an empty string'),
            ('{"text": "\\ud83d", "label": "b"}', "half of a surrogate pair"),
            ('{"text": "乙", "label": ' + "9" * 5000 + "}", "expected one JSON object a line"),
        ],
    )
    def test_broken_json_line(self, tmp_path: Path, row: str, told: str) -> None:
        write(tmp_path, a_jsonl='{"text": "甲", "label": "a"}\n' + row + "\n")
        message = error_of(tmp_path / "a.jsonl")
        assert message.startswith(f"{tmp_path / 'a.jsonl'}:2: ") and told in message

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("first", [b"", "甲\ta\n".encode()])
    def test_not_utf_8(self, tmp_path: Path, mark: bytes, first: bytes) -> None:
        valid = mark + first + b"ab "
        write(tmp_path, a_tsv=valid + "乙\tb\n".encode("gb18030"))
        message = error_of(tmp_path / "a.tsv")
        line = 2 if first else 1
        assert f"a.tsv:{line}: not UTF-8 at byte {len(valid)} (0xd2)" in message
        assert "it looks like gb18030" in message
        assert "iconv -f gb18030 -t utf-8 a.tsv > new.tsv" in message

    def test_utf_16(self, tmp_path: Path) -> None:
        write(tmp_path, a_tsv=TRAIN.encode("utf-16"))
        assert "iconv -f utf-16 -t utf-8" in error_of(tmp_path / "a.tsv")

    def test_a_damaged_line_of_utf_8(self, tmp_path: Path) -> None:
        damaged = "主场告捷".encode()[:-1]
        write(tmp_path, a_tsv="股市大涨\t财经\n".encode() + damaged + b"\t\xe4\xbd\x93\n")
        assert "a.tsv:2: not UTF-8 at byte 29 (0xe6); most of the text" in error_of(
            tmp_path / "a.tsv"
        )

    def test_an_encoding_that_is_not_recognised(self, tmp_path: Path) -> None:
        write(tmp_path, a_tsv=b"\xff\xff\xff\ta\n")
        message = error_of(tmp_path / "a.tsv")
        assert "find out its encoding, convert it: iconv -f ENCODING" in message

    def test_unknown_label_in_validation(self, tmp_path: Path) -> None:
        message = error_of(write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV + "中奖\t彩票\n"))
        assert message.startswith(f"{tmp_path / 'dev.tsv'}:2: label '彩票' is not in ")
        assert "train.tsv, which has 体育, 财经" in message

    def test_label_in_test_that_has_a_class_but_no_training_row(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, class_txt="体育\n财经\n彩票\n")
        write(tmp_path, test_tsv="收盘\t财经\n中奖\t2\n")
        assert "test.tsv:2: label '2' has no row in" in error_of(tmp_path)

    @pytest.mark.parametrize("label", ["2", "-1"])
    def test_label_id_out_of_range(self, tmp_path: Path, label: str) -> None:
        write(tmp_path, train_tsv=f"甲\t0\n乙\t{label}\n", dev_tsv=DEV, class_txt="财经\n体育\n")
        message = error_of(tmp_path)
        assert f"train.tsv:2: label '{label}' is out of range" in message
        assert "class.txt has 2 classes, ids 0 to 1" in message

    def test_empty_lines_of_a_class_file(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, class_txt="财经\n体育\n\n \n")
        assert load(tmp_path).classes == ("财经", "体育")
        write(tmp_path, class_txt="财经\n\n体育\n")
        assert "class.txt:2: expected a class name, got an empty line" in error_of(tmp_path)

    def test_class_file_names_a_class_twice(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV, class_txt="财经\n体育\n财经\n")
        assert "class.txt:3: class '财经' is named twice" in error_of(tmp_path)

    def test_single_class(self, tmp_path: Path) -> None:
        message = error_of(write(tmp_path, train_tsv="甲\ta\n乙\ta\n", dev_tsv="丙\ta\n"))
        assert "all 2 rows have the label 'a'; expected two classes" in message

    @pytest.mark.parametrize("split", ["train", "dev"])
    def test_split_without_labels(self, tmp_path: Path, split: str) -> None:
        write(tmp_path, train_tsv=TRAIN, dev_tsv=DEV)
        write(tmp_path, **{f"{split}_tsv": "text\n甲\n"})
        assert f"{split}.tsv: has no label column" in error_of(tmp_path)

    def test_swapped_columns(self, tmp_path: Path) -> None:
        write(tmp_path, a_tsv="".join(f"a\t标题{number}\n" for number in range(10_001)))
        assert "a.tsv:10001: more than 10,000 different labels" in error_of(tmp_path / "a.tsv")

    def test_labels_that_stand_first(self, tmp_path: Path) -> None:
        write(tmp_path, a_tsv="".join(f"体育\t标题{number}\n" for number in range(20)))
        assert error_of(tmp_path / "a.tsv").endswith("or do the labels stand first?")

    @pytest.mark.parametrize("with_names", [True, False])
    def test_labels_that_stand_first_in_a_folder(self, tmp_path: Path, with_names: bool) -> None:
        rows = [f"体育\t标题{number}\n" for number in range(20)]
        write(tmp_path, train_txt="".join(rows[:15]), val_txt="".join(rows[15:]))
        if with_names:
            write(tmp_path, class_txt="体育\n财经\n")
        message = error_of(tmp_path)
        where = "train.txt:1: label '标题0'" if with_names else "val.txt:1: label '标题15'"
        assert message.startswith(f"{tmp_path}/{where} is not in ")
        assert message.endswith("; or do the labels stand first?")

    def test_too_few_rows_to_cut(self, tmp_path: Path) -> None:
        assert "3 different texts in 3 rows are too few to cut 80/10/10" in error_of(
            write(tmp_path, a_tsv=TRAIN) / "a.tsv"
        )


def test_memory_is_a_few_bytes_a_row(tmp_path: Path) -> None:
    """Where a lone file is cut: no text is held."""

    def peak(num_rows: int) -> int:
        path = tmp_path / f"{num_rows}.tsv"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{'第' * 40}{n}\t{n % 10}\n" for n in range(num_rows))
        tracemalloc.start()
        try:
            dataset = load(path)
            assert sum(1 for _ in dataset.train) == len(dataset.train)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # The texts have 40 characters of three bytes each.
    assert (peak(22_000) - peak(2_000)) / 20_000 < 60


def test_the_sample_comes_with_the_package() -> None:
    dataset = load("sample")
    assert dataset.name == "sample" and len(dataset.classes) == 10
    assert dataset.test is not None and next(iter(dataset.train)).text


def test_default_data_dir_is_that_of_tfds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", "/data/sets")
    assert default_data_dir() == Path("/data/sets")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert default_data_dir() == Path.home() / "tensorflow_datasets"
