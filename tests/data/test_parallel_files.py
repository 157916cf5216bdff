"""Pairs in files of lines and in columns: every format gives the same pairs, mistakes are named."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcamp.data.parallel_files import (
    PairFileName,
    PairFiles,
    TabColumns,
    find_pair_files,
    read_parallel_lines,
)
from tfcamp.errors import UserError

# Whatever a line may hold: separators of str.splitlines, control characters, quotes, nothing.
PAIRS = (
    ('He said "hi".', '他说"嗨"。'),
    ("a\u2028b\x85c\x1cd", "甲\u2029乙\x0b丙"),
    (" spaces  stay ", "空 格"),
    ("\x00\x07null and bell", "零\ufeff"),
    ("", "空"),
    ("empty", ""),
    ("", ""),
    ("last", "末"),
)


def write_lines(path: Path, lines: list[str], end: str = "\n", mark: bytes = b"") -> Path:
    content = mark + "".join(line + end for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def error_of(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        list(call(*arguments))
    message = str(caught.value)
    assert "\n" not in message
    return message


def tab_pairs(path: Path, *direction: str, unnamed: tuple[str, str] = ("en", "zh")) -> list:
    files = PairFiles({None: path})
    return list(files.open((direction or ("en", "zh")), unnamed).read())  # pyright: ignore


class TestLines:
    @pytest.mark.parametrize("suffix", ["", ".gz"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_the_pairs_are_the_lines(self, tmp_path: Path, suffix, end, mark) -> None:
        source = write_lines(tmp_path / f"a.en{suffix}", [pair[0] for pair in PAIRS], end, mark)
        target = write_lines(tmp_path / "a.zh", [pair[1] for pair in PAIRS], end, mark)
        assert tuple(read_parallel_lines(source, target)) == PAIRS

    def test_the_last_line_may_lack_its_end(self, tmp_path: Path) -> None:
        source, target = tmp_path / "a.en", tmp_path / "a.zh"
        source.write_text("a\nb")
        target.write_text("甲\n乙\n")
        assert list(read_parallel_lines(source, target)) == [("a", "甲"), ("b", "乙")]

    @given(st.lists(st.tuples(st.text(), st.text()), max_size=8))
    def test_any_unicode_but_line_ends(self, tmp_path_factory, pairs) -> None:
        folder = tmp_path_factory.mktemp("pairs")
        pairs = [tuple(side.replace("\n", "").rstrip("\r") for side in pair) for pair in pairs]
        sides = [[pair[side].removeprefix("\ufeff") for pair in pairs] for side in (0, 1)]
        paths = [
            write_lines(folder / name, lines)
            for name, lines in zip(("a", "b.gz"), sides, strict=True)
        ]
        assert list(read_parallel_lines(*paths)) == list(zip(*sides, strict=True))

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_a_missing_line_is_told_with_its_number(self, tmp_path: Path, suffix: str) -> None:
        short = write_lines(tmp_path / f"a.en{suffix}", ["a", "", "c"])
        long = write_lines(tmp_path / "a.zh", ["甲", "乙", "丙", "", "戊"])
        told = f"{long}:4: has no counterpart: {short} has 3 lines, a.zh 5"
        assert error_of(read_parallel_lines, short, long).startswith(told)
        assert error_of(read_parallel_lines, long, short).startswith(told)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        here = write_lines(tmp_path / "a.en", ["a"])
        for name in ("a.zh", "a.zh.gz"):
            message = error_of(read_parallel_lines, here, tmp_path / name)
            assert message.startswith(f"{tmp_path / name}: cannot be read: No such file")

    def test_not_utf_8(self, tmp_path: Path) -> None:
        here = write_lines(tmp_path / "a.en", ["a", "b"])
        plain, compressed = tmp_path / "a.zh", tmp_path / "b.zh.gz"
        content = "a\n甲乙\n".encode("gb18030")
        plain.write_bytes(content)
        compressed.write_bytes(gzip.compress(content))
        for path, convert in (
            (plain, "iconv -f gb18030 -t utf-8 a.zh > new.zh"),
            (compressed, "zcat b.zh.gz | iconv -f gb18030"),
        ):
            message = error_of(read_parallel_lines, here, path)
            assert message.startswith(
                f"{path}:2: not UTF-8 at byte 2 (0xbc); it looks like gb18030"
            )
            assert convert in message

    @pytest.mark.parametrize(
        "spoil", [lambda data: data[:-12], lambda _: b"plain", lambda d: d[:15] + bytes(9) + d[24:]]
    )
    def test_a_spoilt_gzip_file(self, tmp_path: Path, spoil) -> None:
        here = write_lines(tmp_path / "a.en", ["line"] * 99)
        path = tmp_path / "a.zh.gz"
        path.write_bytes(spoil(gzip.compress("".join(f"行{n}\n" for n in range(99)).encode())))
        assert error_of(read_parallel_lines, here, path).startswith(f"{path}: cannot be read: ")


class TestColumns:
    def write(self, path: Path, content: str) -> Path:
        path.write_bytes(
            gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode()
        )
        return path

    @pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
    def test_without_a_header_the_first_two_columns_are_the_pair(self, tmp_path, name) -> None:
        content = "".join(f"{source}\t{target}\tby nobody\n" for source, target in PAIRS)
        path = self.write(tmp_path / name, content)
        assert tab_pairs(path) == list(PAIRS)
        assert tab_pairs(path, "zh", "en") == [pair[::-1] for pair in PAIRS]
        assert PairFiles({None: path}).languages() is None

    @pytest.mark.parametrize(
        "lines",
        [
            "17\tHi.\t904\t嗨。\n18\t7\t905\t七\n19\tNo.\t906\t不。\n",
            "1\tHi.\t嗨。\n2\t7\t七\n3\tNo.\t不。\n",
            "Hi.\t\t嗨。\n7\t\t七\nNo.\t\t不。\n",
        ],
    )
    def test_columns_of_numbers_are_passed_over(self, tmp_path: Path, lines: str) -> None:
        """Tatoeba's "sentence pairs" have the numbers of both sentences before them."""
        path = self.write(tmp_path / "a.tsv", lines)
        assert tab_pairs(path) == [("Hi.", "嗨。"), ("7", "七"), ("No.", "不。")]

    def test_columns_of_numbers_have_names_that_are_unknown(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.tsv", "row\tours\ttheirs\n1\tHi.\t嗨。\n")
        assert tab_pairs(path)[1:] == [("Hi.", "嗨。")]

    @pytest.mark.parametrize(
        "header",
        ["zh\tid\ten", "Chinese\tid\tEnglish", " zh \tID\ten ", "ZH\tid\tEN", "中文\tid\t英文"],
    )
    def test_a_header_names_languages_in_any_order(self, tmp_path: Path, header: str) -> None:
        path = self.write(tmp_path / "a.tsv", f"\n{header}\n甲\t1\ta\n\n乙\t2\tb\n")
        assert tab_pairs(path, unnamed=("de", "fr")) == [("a", "甲"), ("b", "乙")]
        assert PairFiles({None: path}).languages() == ("zh", "en")

    @pytest.mark.parametrize("header", ["Target\tSource", "tgt\tsrc", "trg\tSRC"])
    def test_a_header_may_name_source_and_target(self, tmp_path: Path, header: str) -> None:
        path = self.write(tmp_path / "a.tsv", f"{header}\n甲\ta\n")
        assert tab_pairs(path) == [("a", "甲")]
        assert tab_pairs(path, "zh", "en") == [("甲", "a")]
        assert PairFiles({None: path}).languages() is None

    @pytest.mark.parametrize(
        "first", ["No\tSi", "NO\tSI", "English\t英文", "It is\tEs", "en\ta", "Source\tcode"]
    )
    def test_a_pair_is_not_taken_for_a_header(self, tmp_path: Path, first: str) -> None:
        path = self.write(tmp_path / "a.tsv", f"{first}\nb\tc\n")
        assert len(tab_pairs(path)) == 2

    def test_mark_and_crlf(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.tsv", "\ufeffen\tzh\r\na\t甲\r\n\r\nb\t乙")
        assert tab_pairs(path) == [("a", "甲"), ("b", "乙")]

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("", "has no rows"),
            ("\n\n", "has no rows"),
            (
                "a,甲\n",
                '1: expected "source<TAB>target", got 1 column; is the file comma-separated',
            ),
            ("a\t甲\nb\n", "2: expected 2 columns as in the first line, got 1"),
            ("a\t甲\n\nb\tc\t乙\n", "3: expected 2 columns as in the first line, got 3"),
            ("en\tzh\na\t甲\tx\n", "2: expected 2 columns as in the header, got 3"),
            ("1\ta\n2\tb\n", '1: expected "source<TAB>target", got 2 columns of which 1 holds'),
            ("1\t2\t3\n", "got 3 columns of which none holds sentences"),
            ("en\tde\na\tb\n", "1: has en, de, but no column 'zh'"),
        ],
    )
    def test_mistakes_are_named_by_their_line(self, tmp_path: Path, content, told) -> None:
        path = self.write(tmp_path / "a.tsv", content)
        message = error_of(tab_pairs, path)
        assert message.startswith(f"{path}:") and told in message

    def test_columns_that_could_be_any_two_of_three_languages(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.tsv", "a\tb\n")
        with pytest.raises(UserError, match="expected a header that names two languages"):
            PairFiles({None: path}).open(("de", "en"), ("de", "en", "fr"))

    def test_not_utf_8(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_bytes("a\t甲\n".encode("gb18030"))
        assert "not UTF-8 at byte 2" in error_of(tab_pairs, tmp_path / "a.tsv")


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("train.en", ("train", "en")),
            ("test_2016_flickr.de.gz", ("test_2016_flickr", "de")),
            ("train.zh-CN", ("train", "zh-CN")),
            ("mine.v2.tsv.gz", ("mine.v2", None)),
            ("train.EN", ("train", "en")),
            ("train.ZH-TW.GZ", ("train", "zh-tw")),
            ("mine.TSV", ("mine", None)),
            ("train.txt", None),
            ("README.md", None),
            (".en", None),
            ("en", None),
            ("train.en.partial", None),
        ],
    )
    def test_what_a_name_says(self, name: str, expected) -> None:
        assert PairFileName.of(Path("folder") / name) == expected

    def test_the_files_of_a_folder(self, tmp_path: Path) -> None:
        for name in ("train.en", "train.zh.gz", "dev.tsv", "LICENSE", "notes.txt"):
            (tmp_path / name).touch()
        (tmp_path / "test.en").mkdir()
        found = find_pair_files(tmp_path)
        assert {stem: set(files.paths) for stem, files in found.items()} == {
            "train": {"en", "zh"},
            "dev": {None},
        }

    @pytest.mark.parametrize(
        ("names", "told"),
        [
            (["train.en", "train.en.gz", "train.zh"], "train.en and train.en.gz"),
            (["train.tsv", "train.tsv.gz"], "train.tsv and train.tsv.gz"),
            (["train.en", "train.tsv"], "train.en and train.tsv"),
            (["train.tsv", "train.zh"], "train.tsv and train.zh"),
        ],
    )
    def test_two_files_that_mean_the_same(self, tmp_path: Path, names, told) -> None:
        for name in names:
            (tmp_path / name).touch()
        assert error_of(find_pair_files, tmp_path).startswith(f"{tmp_path}: has {told}, which mean")


@pytest.mark.parametrize(
    ("header", "languages"),
    [
        ("id\ten\tzh\tde", {"en": 1, "zh": 2, "de": 3}),
        ("id\ten\tnote", {"id": 0, "en": 1}),
    ],
)
def test_a_column_named_id_holds_numbers_or_indonesian(tmp_path: Path, header, languages) -> None:
    (tmp_path / "a.tsv").write_text(f"{header}\n")
    assert TabColumns.of(tmp_path / "a.tsv").places == languages
