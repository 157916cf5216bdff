"""Word vectors: training is deterministic, files are read or refused by name and line."""

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest

from tfcamp.errors import UserError
from tfcamp.text.word2vec import Coverage, WordVectors, load_word_vectors, train_word_vectors

# Two worlds whose words never meet: the vectors must tell them apart.
WORLDS = (("股市", "大盘", "基金", "涨停", "上市"), ("足球", "球员", "进球", "联赛", "教练"))
WORDS = ("的", "股市", "教练")
VECTORS = np.array([[1, 0, -0.5], [0.25, 2, 3], [-1, 1e-3, 0]], np.float32)


def make_sentences(num: int = 400) -> list[list[str]]:
    random = np.random.default_rng(0)
    return [[str(word) for word in random.permutation(WORLDS[i % 2])] for i in range(num)]


def text_rows() -> bytes:
    rows = zip(WORDS, VECTORS, strict=True)
    return "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in rows).encode()


def binary_rows(line_feed: bytes = b"\n") -> bytes:
    rows = zip(WORDS, VECTORS, strict=True)
    return b"".join(word.encode() + b" " + row.tobytes() + line_feed for word, row in rows)


FORMATS = {
    "glove": text_rows(),
    "word2vec_text": b"3 3\n" + text_rows(),
    "word2vec_text_crlf_and_blank_line": b"3 3\n" + text_rows().replace(b"\n", b"\r\n") + b"\r\n",
    "word2vec_binary_of_google": b"3 3\n" + binary_rows(),
    "word2vec_binary_of_gensim": b"3 3\n" + binary_rows(b""),
}


@pytest.mark.parametrize("algorithm", ["cbow", "skipgram"])
@pytest.mark.parametrize("loss", ["negative", "hierarchical"])
def test_trained_neighbours_share_the_world_of_a_word(algorithm, loss):
    vectors = train_word_vectors(
        make_sentences(), size=8, algorithm=algorithm, loss=loss, epochs=200, seed=1
    )
    assert set(vectors.tokens) == {*WORLDS[0], *WORLDS[1]}
    assert vectors.vectors.shape == (10, 8) and vectors.vectors.dtype == np.float32
    for world in WORLDS:
        assert {word for word, _ in vectors.nearest(world[0], k=4)} == set(world[1:])


def test_the_four_kinds_of_training_and_the_seed_differ():
    def train(
        algorithm: Literal["cbow", "skipgram"] = "skipgram",
        loss: Literal["negative", "hierarchical"] = "negative",
        seed: int = 0,
    ) -> bytes:
        return train_word_vectors(
            make_sentences(40), size=4, algorithm=algorithm, loss=loss, seed=seed
        ).vectors.tobytes()

    results = {
        train(),
        train(algorithm="cbow"),
        train(loss="hierarchical"),
        train(algorithm="cbow", loss="hierarchical"),
        train(seed=1),
    }
    assert len(results) == 5
    assert train() in results


def test_vectors_do_not_depend_on_the_hash_seed_of_the_process():
    code = (
        "import hashlib\n"
        "from tfcamp.text.word2vec import train_word_vectors\n"
        "sentences = [[f'词{i * j % 17}' for j in range(1, 9)] for i in range(60)]\n"
        "vectors = train_word_vectors(sentences, size=8, min_count=1, seed=3)\n"
        "print(hashlib.sha256(repr(vectors.tokens).encode() + vectors.vectors.tobytes())"
        ".hexdigest(), hash('词1'))\n"
    )
    outputs = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        outputs.append(result.stdout.split())
    assert outputs[0][1] != outputs[1][1], "the processes must hash differently"
    assert outputs[0][0] == outputs[1][0]


def test_rare_words_get_no_vector_and_frequent_ones_come_first():
    vectors = train_word_vectors([["b", "a", "b"], ["a", "b", "c"]], size=4, min_count=2)
    assert vectors.tokens == ("b", "a")
    with pytest.raises(UserError, match="no word stands 9 times"):
        train_word_vectors([["a", "b"]], min_count=9)


def test_a_generator_or_strings_are_refused():
    with pytest.raises(TypeError, match="iterable many times"):
        train_word_vectors(tokens for tokens in make_sentences())
    with pytest.raises(TypeError, match="list of tokens, got '今天'"):
        train_word_vectors(["今天"])
    with pytest.raises(ValueError, match=r"algorithm must be .* 'glove'"):
        train_word_vectors(make_sentences(), algorithm="glove")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        train_word_vectors(make_sentences(), epochs=0)


def test_an_error_while_gensim_reads_reaches_the_caller():
    class Failing:
        """Readable once; the second pass, made by a thread of gensim's, fails."""

        passes = 0

        def __iter__(self) -> Iterator[list[str]]:
            self.passes += 1
            yield from make_sentences(20)
            if self.passes > 1:
                raise UserError("train.tsv: vanished")

    with pytest.raises(UserError, match="vanished"):
        train_word_vectors(Failing(), size=4)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_recognised_by_its_content(tmp_path, name, zipped):
    path = tmp_path / "vectors"
    path.write_bytes(gzip.compress(FORMATS[name]) if zipped else FORMATS[name])
    vectors = load_word_vectors(path)
    assert vectors.tokens == WORDS
    np.testing.assert_array_equal(vectors.vectors, VECTORS)

    some = load_word_vectors(path, vocabulary=["教练", "的", "人工智能"])
    assert some.tokens == ("的", "教练")
    np.testing.assert_array_equal(some.vectors, VECTORS[[0, 2]])


@pytest.mark.parametrize("binary", [False, True])
def test_files_written_by_gensim_are_read(tmp_path, binary):
    from gensim.models import KeyedVectors

    words = [f"词{i}" for i in range(50)]
    expected = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    keyed = KeyedVectors(20)
    keyed.add_vectors(words, expected)
    keyed.save_word2vec_format(str(tmp_path / "vectors"), binary=binary)
    vectors = load_word_vectors(tmp_path / "vectors")
    assert list(vectors.tokens) == words
    np.testing.assert_allclose(vectors.vectors, expected, rtol=1e-6)


def test_published_oddities_are_read(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("的 1 2\n. . . 3 4\n的 5 6\n\u3000 7 8\n7 9 10\n", encoding="utf-8")
    vectors = load_word_vectors(path)
    assert vectors.tokens == ("的", ". . .", "\u3000", "7")
    assert vectors.vectors.tolist() == [[1, 2], [3, 4], [7, 8], [9, 10]]


BROKEN = {
    "empty": (b"", "vectors: empty"),
    "no_numbers": ("新闻\n标题\n".encode(), ":1: expected a word and numbers"),
    "narrow_row": (b"a 1 2\nb 1\n", ":2: expected a word and 2 numbers .*got 2 fields"),
    "wide_row": (b"a 1 2\nb 1 2\nc 1 2 3\n", ":3: expected a word and 2 numbers .*got 4 fields"),
    "not_a_number": (b"2 2\na 1 2\nb 1 x2\n", ":3: expected a number, got 'x2'"),
    "not_finite": (b"a 1 2\nb nan 2\n", ":2: expected finite numbers for 'b'"),
    "beyond_float32": (b"a 1 2\nb 1e39 2\n", ":2: expected finite numbers for 'b'"),
    "width_0": (b"2 0\na\nb\n", ":1: expected vectors of width 1 or more"),
    "fewer_rows": (b"3 2\na 1 2\nb 3 4\n", ":3: the file ends after 2 of 3 vectors"),
    "more_rows": (b"1 2\na 1 2\nb 3 4\n", ":3: expected 1 vectors, as line 1 says, got more"),
    "header_only": (b"3 2\n", ":1: the file ends after 0 of 3 vectors"),
    "gb18030": ("的 1 2\n新闻 1 2\n".encode("gb18030"), ":1: byte 0xb5 is not UTF-8.*gb18030"),
    "gb18030_header": ("1 2\n的 1 2\n".encode("gb18030"), ":2: byte 0xb5 is not UTF-8"),
    "no_line_ends": (b"a" * (1 << 20), ":1: the line is longer than 1 MiB"),
    "binary_cut_in_a_vector": (b"3 3\n" + binary_rows()[:-5], ": vector 3: expected 3 vectors"),
    "binary_cut_in_a_word": (b"4 3\n" + binary_rows(), ": vector 4: expected 4 vectors"),
    "binary_too_long": (b"2 3\n" + binary_rows(), ": vector 2: expected 2 vectors of width 3"),
    "binary_not_finite": (b"1 1\na " + np.float32(np.inf).tobytes(), ": vector 1: expected finite"),
    "gzip_cut": (gzip.compress(text_rows())[:-9], "gzip data ends too early"),
    "gzip_damaged": (gzip.compress(text_rows())[:12] + b"\xff" * 9, "gzip data ends too early"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_ends_in_one_line_that_names_it(tmp_path, name):
    content, message = BROKEN[name]
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_word_vectors(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_a_folder_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_word_vectors(tmp_path / "vectors.txt")
    with pytest.raises(UserError, match="cannot be read"):
        load_word_vectors(tmp_path)


def test_a_large_file_is_not_held_in_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "vectors.txt"
    row = " ".join(["0.12345"] * 50)
    path.write_text("".join(f"词{i} {row}\n" for i in range(5000)), encoding="utf-8")
    tracemalloc.start()
    try:
        vectors = load_word_vectors(path, vocabulary={"词7"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert vectors.tokens == ("词7",)
    assert peak < path.stat().st_size / 5


def test_saved_vectors_come_back_and_equal_vectors_make_equal_bytes(tmp_path):
    vectors = WordVectors(("的", 'a"\n', "😀"), VECTORS)
    digests = set()
    for name in ("a.npz", "b.npz"):
        vectors.save(tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        for loaded in (WordVectors.load(tmp_path / name), load_word_vectors(tmp_path / name)):
            assert loaded.tokens == vectors.tokens
            np.testing.assert_array_equal(loaded.vectors, VECTORS)
    assert len(digests) == 1
    assert load_word_vectors(tmp_path / "a.npz", vocabulary={"😀"}).tokens == ("😀",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_a_saved_file_that_is_cut_short_or_cannot_be_written_is_a_user_error(tmp_path):
    path = tmp_path / "vectors.npz"
    with pytest.raises(UserError, match="no such file"):
        WordVectors.load(path)
    WordVectors(WORDS, VECTORS).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="not readable as saved word vectors"):
        WordVectors.load(path)
    with pytest.raises(UserError, match="cannot be written"):
        WordVectors(WORDS, VECTORS).save(tmp_path / "no folder" / "vectors.npz")


def test_nearest_by_hand():
    vectors = WordVectors(
        ("east", "far_east", "north", "west", "nowhere"),
        np.array([[1, 0], [9, 0], [0, 2], [-1, 0], [0, 0]], np.float32),
    )
    expected = [("far_east", 1.0), ("north", 0.0), ("nowhere", 0.0), ("west", -1.0)]
    assert vectors.nearest("east") == expected
    assert vectors.nearest("east", k=1) == expected[:1]
    with pytest.raises(UserError, match='no vector for "south"'):
        vectors.nearest("south")
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        vectors.nearest("east", k=0)


def test_matrix_keeps_known_rows_and_draws_the_others():
    vectors = WordVectors(WORDS, VECTORS)
    tokens = ("<pad>", "<unk>", "教练", "缺失", "股市", "罕见")
    matrix, coverage = vectors.matrix(tokens, seed=5, counts={"教练": 6, "股市": 3, "罕见": 1})
    assert matrix.shape == (6, 3) and matrix.dtype == np.float32
    assert not matrix[0].any()
    np.testing.assert_array_equal(matrix[[2, 4]], VECTORS[[2, 1]])
    for row in (1, 3, 5):
        assert matrix[row].any()
        assert np.abs(matrix[row]).max() <= np.sqrt(3) * VECTORS[1:].std()
    assert coverage == Coverage(4, 2, 10, 9, ("罕见", "缺失"))
    assert (coverage.types_share, coverage.tokens_share) == (0.5, 0.9)

    again, without_counts = vectors.matrix(tokens, seed=5)
    np.testing.assert_array_equal(again, matrix)
    assert without_counts == Coverage(4, 2, None, None, ("缺失", "罕见"))
    assert without_counts.tokens_share is None
    assert not np.array_equal(vectors.matrix(tokens, seed=6)[0], matrix)


def test_random_rows_spread_like_the_known_ones():
    known = np.random.default_rng(0).normal(scale=0.3, size=(500, 20)).astype(np.float32)
    vectors = WordVectors(tuple(f"known{i}" for i in range(500)), known)
    tokens = ["<pad>", "<unk>", *vectors.tokens, *(f"new{i}" for i in range(500))]
    matrix, _ = vectors.matrix(tokens, seed=0)
    assert matrix[502:].std() == pytest.approx(0.3, rel=0.03)


def test_matrix_without_any_known_word_is_small_and_reserved_tokens_are_never_known():
    vectors = WordVectors(("<pad>", "<unk>"), np.full((2, 4), 9, np.float32))
    matrix, coverage = vectors.matrix(("<pad>", "<unk>", "新闻"), seed=0)
    assert not matrix[0].any()
    assert 0 < np.abs(matrix[1:]).max() <= 0.1
    assert coverage == Coverage(1, 0, None, None, ("新闻",))
    assert str(coverage) == "vectors for 0 of 1 words (0.0 %); most frequent without: 新闻"


def test_tokens_must_be_distinct_and_fit_the_vectors():
    with pytest.raises(ValueError, match="twice"):
        WordVectors(("a", "a"), VECTORS[:2])
    with pytest.raises(ValueError, match=r"2 tokens do not fit vectors of shape \(3, 3\)"):
        WordVectors(("a", "b"), VECTORS)
