"""Sentence pairs by name or path: what is read, in which direction, how a file is cut, mistakes."""

import gzip
import hashlib
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcamp.data.fingerprints import seeded_fingerprint
from tfcamp.data.parallel_sources import ParallelDataset, load_parallel_dataset
from tfcamp.data.parallel_splits import ParallelRow, ParallelSplit, cut_by_sentence
from tfcamp.errors import UserError

EN = "a cat\na dog\nthe end\n"
ZH = "一只猫\n一条狗\n完\n"


def load(
    dataset: Path | str,
    source: str | None = None,
    target: str | None = None,
    *,
    data_dir: Path | None = None,
    seed: int = 0,
) -> ParallelDataset:
    return load_parallel_dataset(
        str(dataset), source_language=source, target_language=target, data_dir=data_dir, seed=seed
    )


def write(folder: Path, **files: str) -> Path:
    """Writes files named like `train_en`."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content.encode())
    return folder


def error_of(dataset: Path | str, *languages: str | None, data_dir: Path | None = None) -> str:
    """Returns the message of the UserError that loading must raise, which is one line."""
    with pytest.raises(UserError) as caught:
        load(dataset, *languages, data_dir=data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestFolder:
    def test_files_of_lines(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, train_zh=ZH, dev_en="x\n", dev_zh="未\n")
        dataset = load(tmp_path)
        assert (dataset.source_language, dataset.target_language) == ("en", "zh")
        assert list(dataset.train) == [("a cat", "一只猫"), ("a dog", "一条狗"), ("the end", "完")]
        assert dataset.name == tmp_path.name and dataset.notes == () and dataset.test is None
        assert (len(dataset.train), len(dataset.dev)) == (3, 1)
        assert dataset.sha256 == hashlib.sha256((EN + ZH + "x\n未\n").encode()).hexdigest()

    def test_suffixes_in_capitals(self, tmp_path: Path) -> None:
        write(tmp_path, train_EN=EN, train_ZH=ZH, dev_TSV="en\tzh\nx\t未\n")
        dataset = load(tmp_path)
        assert (dataset.source_language, dataset.target_language) == ("en", "zh")
        assert len(dataset.train) == 3 and list(dataset.dev) == [("x", "未")]

    def test_the_other_direction(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, train_zh=ZH, dev_en="x\n", dev_zh="未\n")
        dataset = load(tmp_path)
        for other in (load(tmp_path, "zh"), load(tmp_path, None, "en"), load(tmp_path, "zh", "en")):
            assert (other.source_language, other.target_language) == ("zh", "en")
            assert list(other.train) == [row[::-1] for row in dataset.train]
            assert other.sha256 == dataset.sha256

    def test_a_split_can_be_iterated_again_and_side_by_side(self, tmp_path: Path) -> None:
        train = load(write(tmp_path, train_en=EN, train_zh=ZH, dev_en="x\n", dev_zh="未\n")).train
        assert list(zip(train, train, strict=True)) == [(row, row) for row in train]

    @pytest.mark.parametrize("dev", ["dev", "val", "valid", "validation"])
    @pytest.mark.parametrize("test", ["test", "test_2016_flickr"])
    def test_files_of_columns_and_names_of_splits(self, tmp_path: Path, dev, test) -> None:
        write(tmp_path, train_tsv="zh\ten\n猫\tcat\n", **{f"{dev}_tsv": "en\tzh\ndog\t狗\n"})
        (tmp_path / f"{test}.tsv").write_text("zh\ten\n完\tend\n", "utf-8")
        dataset = load(tmp_path, "en")
        assert dataset.test is not None
        rows = [next(iter(split)) for split in (dataset.train, dataset.dev, dataset.test)]
        assert rows == [("cat", "猫"), ("dog", "狗"), ("end", "完")]

    def test_the_name_of_the_folder_names_the_columns(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "pairs_zh_en", train_tsv="猫\tcat\n", dev_tsv="狗\tdog\n")
        assert next(iter(load(folder).train)) == ("猫", "cat")
        assert next(iter(load(folder, "en").train)) == ("cat", "猫")
        assert load(folder).notes == ()

    def test_columns_that_nothing_names_are_those_asked_for(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "pairs", train_tsv="chat\tcat\n", dev_tsv="chien\tdog\n")
        dataset = load(folder, "fr", "en")
        assert (dataset.source_language, dataset.target_language) == ("fr", "en")
        assert next(iter(dataset.train)) == ("chat", "cat") and dataset.notes == ()
        write(folder, train_tsv="cat\t猫\nOK\tOK\n", dev_tsv="OK\tOK\n")
        (note,) = load(folder).notes
        assert "nothing names its languages" in note and "taken for en, the second for zh" in note

    def test_three_languages(self, tmp_path: Path) -> None:
        for language in ("de", "en", "fr"):
            write(tmp_path, **{f"train_{language}": f"{language}\n", f"dev_{language}": "x\n"})
        assert next(iter(load(tmp_path, "fr", "de").train)) == ("fr", "de")
        assert "has de, en, fr: name two of them with --source and --target" in error_of(tmp_path)

    def test_an_empty_side_stays_where_lines_are_counted_and_is_not_trained_on(
        self, tmp_path: Path
    ) -> None:
        en, zh = "a\n\nc\n \nd\n\n", "甲\n乙\n\n丁\n戊\n\n"
        dataset = load(write(tmp_path, train_en=en, train_zh=zh, dev_en=en, dev_zh=zh))
        assert list(dataset.train) == [("a", "甲"), ("d", "戊")] and len(dataset.train) == 2
        whole = [("a", "甲"), ("", "乙"), ("c", ""), (" ", "丁"), ("d", "戊"), ("", "")]
        assert list(dataset.dev) == whole and len(dataset.dev) == 6
        (note,) = dataset.notes
        assert "train.en and train.zh: 4 pairs lack a side and are not trained on" in note

    def test_it_is_found_in_the_data_dir(self, tmp_path: Path) -> None:
        write(tmp_path / "mine", train_en=EN, train_zh=ZH, dev_en=EN, dev_zh=ZH)
        assert load("mine", data_dir=tmp_path).name == "mine"

    @pytest.mark.parametrize(
        ("name", "sizes"),
        [("captions_en_zh", [22_814, 996, 1_000]), ("tatoeba_en_zh", [26_435, 1_060, 1_560])],
    )
    def test_real_folders(self, shared_data: Path, name: str, sizes: list[int]) -> None:
        dataset = load(name, data_dir=shared_data)
        assert (dataset.source_language, dataset.target_language) == ("en", "zh")
        splits = (dataset.train, dataset.dev, dataset.test or ())
        assert [len(split) for split in splits] == sizes
        assert [sum(1 for _ in split) for split in splits] == sizes
        assert all("CC-BY" not in side for row in dataset.dev for side in row)


class TestLoneFiles:
    def test_one_file_is_cut_80_10_10(self, tmp_path: Path) -> None:
        content = "".join(f"sentence {n}\t句子{n}\n" for n in range(203))
        path = tmp_path / "mine.en-zh.tsv"
        path.write_text(content, "utf-8")
        dataset = load(path, seed=3)
        splits = (dataset.train, dataset.dev, dataset.test or ())
        assert [len(split) for split in splits] == [163, 20, 20]
        assert [sum(1 for _ in split) for split in splits] == [163, 20, 20]
        rows = [row for split in splits for row in split]
        assert sorted(rows) == sorted((f"sentence {n}", f"句子{n}") for n in range(203))
        (note,) = dataset.notes
        assert "80/10/10" in note and "seed 3" in note
        assert dataset.sha256 == hashlib.sha256(content.encode()).hexdigest()
        assert dataset.name == "mine.en-zh"

    @pytest.mark.parametrize("name", ["cmn.txt", "cmn.TXT.gz"])
    def test_a_file_of_anki(self, tmp_path: Path, name: str) -> None:
        lines = "".join(f"No. {n}\t{n}号\tCC-BY 2.0 #{n} (CM)\n" for n in range(20)).encode()
        (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
        dataset = load(tmp_path / name)
        assert dataset.name == "cmn" and len(dataset.train) == 16
        number = next(iter(dataset.train)).source.removeprefix("No. ")
        assert next(iter(dataset.train)).target == f"{number}号"

    @pytest.mark.parametrize("source", ["en", "zh"])
    def test_a_source_sentence_stands_in_one_part_only(self, tmp_path: Path, source: str) -> None:
        path = tmp_path / "en-zh.tsv"
        lines = [f"sentence {n}, {way}\t句子{n}\n" for n in range(100) for way in "ab"]
        lines += [f"thing {n}\t东西{n}，{way}\n" for n in range(100) for way in "甲乙"]
        path.write_text("".join(lines), "utf-8")
        dataset = load(path, source)
        assert dataset.test is not None
        train, dev, test = (
            {row.source for row in split} for split in (dataset.train, dataset.dev, dataset.test)
        )
        assert not train & dev and not train & test and not dev & test

    def test_the_cut_depends_on_the_seed(self, tmp_path: Path) -> None:
        path = tmp_path / "en-zh.tsv"
        path.write_text("".join(f"sentence {n}\t句子{n}\n" for n in range(200)), "utf-8")
        dev = list(load(path).dev)
        assert list(load(path).dev) == dev
        assert list(load(path, seed=1).dev) != dev

    def test_two_files_of_lines(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            corpus_zh="".join(f"句子{n}\n" for n in range(50)),
            corpus_en="".join(f"sentence {n}\n" for n in range(50)),
        )
        dataset = load(f"{tmp_path}/corpus.zh,{tmp_path}/corpus.en")
        assert (dataset.source_language, dataset.target_language) == ("zh", "en")
        assert dataset.name == "corpus" and len(dataset.train) == 40
        other = load(f"{tmp_path}/corpus.zh,{tmp_path}/corpus.en", "en")
        assert len(other.dev) == len(dataset.dev)
        assert other.sha256 == dataset.sha256
        assert len(load("corpus.zh,corpus.en", data_dir=tmp_path).train) == 40

    def test_two_files_whose_names_say_nothing(self, tmp_path: Path) -> None:
        write(tmp_path, hello_txt="".join(f"{n} cats\n" for n in range(50)))
        write(tmp_path, bonjour_txt="".join(f"{n} chats\n" for n in range(50)))
        both = f"{tmp_path}/hello.txt,{tmp_path}/bonjour.txt"
        dataset = load(both, "en", "fr")
        assert (dataset.source_language, dataset.target_language) == ("en", "fr")
        assert all(row.target == row.source.replace("cats", "chats") for row in dataset.train)
        assert "nothing names its languages, and --target is missing" in error_of(both, "en")

    def test_too_few_to_cut(self, tmp_path: Path) -> None:
        write(tmp_path, pairs_tsv="en\tzh\n" + "a\t甲\na\t乙\nb\t丙\nc\t丁\nd\t戊\n")
        message = error_of(tmp_path / "pairs.tsv")
        assert "4 different sentences are too few to cut 80/10/10" in message

    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=5), st.integers())
    def test_parts_are_the_whole_and_share_no_sentence(self, pairs, seed) -> None:
        rows = [ParallelRow(str(source), str(target)) for source, target in pairs]
        num_different = len({row.source for row in rows})
        whole = ParallelSplit("pairs", len(rows), lambda: iter(rows))
        if num_different < 5:
            with pytest.raises(UserError, match="too few"):
                cut_by_sentence(whole, seed)
            return
        parts = cut_by_sentence(whole, seed)
        assert Counter(row for part in parts for row in part) == Counter(rows)
        assert [sum(1 for _ in part) for part in parts] == [len(part) for part in parts]
        sentences = [{row.source for row in part} for part in parts]
        tenth = (num_different + 5) // 10
        assert [len(part) for part in sentences] == [num_different - 2 * tenth, tenth, tenth]
        assert sum(len(part) for part in sentences) == num_different

    def test_every_sentence_has_the_same_chance(self) -> None:
        rows = [ParallelRow(str(number), "x") for number in range(10)]
        whole = ParallelSplit("pairs", 10, lambda: iter(rows))
        drawn = Counter(
            row.source for seed in range(2000) for row in cut_by_sentence(whole, seed)[1]
        )
        # 200 expected of each of the 10 rows; 5 standard deviations are 67.
        assert len(drawn) == 10 and all(133 < count < 267 for count in drawn.values())

    def test_a_hash_is_the_same_everywhere(self) -> None:
        """The splits of tatoeba hang on it."""
        assert seeded_fingerprint("渡轮") == 0x28D8A1DF1EA34718


class TestNamed:
    @pytest.mark.parametrize(("source", "expected"), [(None, ("en", "zh")), ("zh", ("zh", "en"))])
    def test_the_sample_comes_with_the_package(self, source, expected) -> None:
        dataset = load("sample", source)
        assert (dataset.source_language, dataset.target_language) == expected
        assert dataset.name == "sample" and dataset.notes == () and dataset.test is not None
        chinese = expected.index("zh")
        assert all("\u3000" < max(row[chinese]) for row in dataset.train)
        assert all(row[1 - chinese].isascii() for row in dataset.train)

    def test_reverse(self) -> None:
        dataset = load("reverse")
        assert dataset.test is not None
        splits = (dataset.train, dataset.dev, dataset.test)
        assert [len(split) for split in splits] == [20_000, 500, 500]
        rows = [row for split in splits for row in split]
        assert len(rows) == len(set(rows)) == 21_000
        for row in rows:
            letters = row.source.split(" ")
            assert row.target.split(" ") == letters[::-1] and 4 <= len(letters) <= 12
        again = load("reverse", seed=1)
        assert again.sha256 == dataset.sha256 and list(again.dev) == list(dataset.dev)


class TestErrors:
    @pytest.mark.parametrize("name", ["no/such.tsv", "such.tsv", "no/such"])
    def test_missing_file(self, tmp_path: Path, name: str) -> None:
        assert "no such file, folder or translation set" in error_of(tmp_path / name)

    def test_misspelt_name(self, tmp_path: Path) -> None:
        message = error_of("mutli30k", data_dir=tmp_path)
        assert "did you mean 'multi30k'?" in message and "ted_hrlr_translate" in message

    @pytest.mark.parametrize("name", ["pairs.csv", "train.en", "pairs"])
    def test_a_file_of_another_kind(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("a,b\n")
        message = error_of(tmp_path / name)
        assert "expected two columns in a file that ends in .tsv or .txt, or two files" in message

    def test_one_of_two_files_is_missing(self, tmp_path: Path) -> None:
        write(tmp_path, a_en=EN)
        message = error_of(f"{tmp_path}/a.en,{tmp_path}/a.zh")
        assert message.startswith(f"{tmp_path}/a.zh: cannot be read: No such file")

    def test_two_files_that_are_nowhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        message = error_of("a.en,a.zh", data_dir=tmp_path / "sets")
        assert message.startswith("a.en: cannot be read: No such file")

    def test_folder_without_known_files(self, tmp_path: Path) -> None:
        message = error_of(write(tmp_path, corpus_en=EN, corpus_zh=ZH))
        assert "has no train file of sentence pairs; expected train and dev (or val" in message

    def test_folder_without_validation_file(self, tmp_path: Path) -> None:
        assert "has no dev file" in error_of(write(tmp_path, train_en=EN, train_zh=ZH))

    def test_two_validation_files(self, tmp_path: Path) -> None:
        write(tmp_path, train_tsv="a\tb\n", dev_tsv="a\tb\n", val_tsv="a\tb\n")
        assert "has dev and val files for one split; expected one" in error_of(tmp_path)

    def test_one_language_only(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, dev_en=EN)
        assert "has en alone; expected sentences of a second language" in error_of(tmp_path)

    def test_a_suffix_that_is_no_language(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, train_cn=ZH, dev_en=EN, dev_cn=ZH)
        message = error_of(tmp_path)
        assert message.startswith(f"{tmp_path}: has train.cn, but no code of a language ends so")
        assert message.endswith("such as train.zh for Chinese")

    def test_a_split_lacks_a_language(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, train_zh=ZH, dev_en=EN)
        assert f"{tmp_path}/dev.en: has no file in 'zh' beside it" in error_of(tmp_path)

    def test_lines_that_do_not_pair(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, train_zh=ZH + "多\n", dev_en=EN, dev_zh=ZH)
        told = f"{tmp_path}/train.zh:4: has no counterpart: {tmp_path}/train.en has 3 lines"
        assert error_of(tmp_path).startswith(told)

    @pytest.mark.parametrize("split", ["train", "dev"])
    def test_an_empty_split(self, tmp_path: Path, split: str) -> None:
        write(tmp_path, train_en=EN, train_zh=ZH, dev_en=EN, dev_zh=ZH)
        write(tmp_path, **{f"{split}_en": "", f"{split}_zh": ""})
        assert "has no rows" in error_of(tmp_path)

    def test_nothing_to_train_on(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, train_zh="\n\n\n", dev_en=EN, dev_zh=ZH)
        assert "each of its 3 pairs has an empty side" in error_of(tmp_path)

    def test_a_language_that_is_not_there(self, tmp_path: Path) -> None:
        write(tmp_path, train_en=EN, train_zh=ZH, dev_en=EN, dev_zh=ZH)
        assert "has en, zh, not 'de': give --target one of these" in error_of(tmp_path, "en", "de")
        assert "reverse: has letters, reversed, not 'en'" in error_of("reverse", "en")

    @pytest.mark.parametrize(
        ("languages", "told"),
        [
            (("en", None), "--target is missing; expected a code such as de, en or zh"),
            ((None, "zh"), "--source is missing"),
            (("en", "mandarin"), "--target is 'mandarin'; expected a code"),
            (("en", "en"), "--source and --target are both 'en'"),
        ],
    )
    def test_languages_that_nothing_names(self, tmp_path: Path, languages, told) -> None:
        write(tmp_path / "mine", train_tsv="a\t甲\n", dev_tsv="a\t甲\n")
        assert told in error_of(tmp_path / "mine", *languages)

    def test_languages_that_cannot_be_guessed(self, tmp_path: Path) -> None:
        told = "nothing names its languages, and none of the first sentences has a Chinese char"
        write(tmp_path / "mine", train_tsv="chat\tcat\n", dev_tsv="chien\tdog\n")
        assert error_of(tmp_path / "mine").startswith(f"{tmp_path / 'mine'}: {told}")
        lines = "".join(f"chat {n}\tcat {n}\n" for n in range(20))
        write(tmp_path, a_tsv=lines, b_txt="chat\n", c_txt="cat\n")
        assert told in error_of(tmp_path / "a.tsv")
        assert told in error_of(f"{tmp_path}/b.txt,{tmp_path}/c.txt")
        assert load(tmp_path / "a.tsv", "fr", "en").source_language == "fr"

    def test_languages_the_wrong_way_round(self, tmp_path: Path) -> None:
        write(tmp_path / "mine", train_tsv="甲\ta\n乙\tb\n", dev_tsv="甲\ta\n")
        message = error_of(tmp_path / "mine")
        assert "the sentences taken for zh have no Chinese character" in message
        assert next(iter(load(tmp_path / "mine", "zh", "en").train)) == ("甲", "a")


def test_memory_does_not_depend_on_the_file(tmp_path: Path) -> None:
    def peak(num_rows: int) -> int:
        folder = write(tmp_path / str(num_rows), dev_en=EN, dev_zh=ZH)
        for language in ("en", "zh"):
            with (folder / f"train.{language}").open("w", encoding="utf-8") as file:
                file.writelines(f"sentence {n} in {language} 句\n" for n in range(num_rows))
        tracemalloc.start()
        try:
            dataset = load(folder)
            assert sum(1 for _ in dataset.train) == len(dataset.train)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # The hash of a file reads blocks of 64 KiB: both files are larger than that.
    assert peak(16_000) < 1.2 * peak(4_000)
