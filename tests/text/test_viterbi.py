"""ViterbiSegmenter against exhaustive search, and where it must run."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.text.viterbi import ViterbiSegmenter

# Scores are multiples of 1/2, so that sums are exact in any order and ties are frequent.
DICTIONARIES = {
    "ties": {"a": -2.0, "b": -2.0, "ab": -4.0, "ba": -4.0, "aba": -6.0, "bb": -3.5},
    "no single b": {"a": -1.0, "ab": -9.0, "bc": -0.5, "cab": -2.0, "abcabc": -3.0},
    "beyond BMP": {"\U0001f600": -1.0, "\U0001f600a": -1.5, "\0a": -1.0, "a\0a": -2.0},
}
ALPHABET = "abc\0\U0001f600"
UNKNOWN = -5.0


@cache
def segmenter(
    name: str, unknown_beside_longer: bool, left_to_right: bool = False
) -> ViterbiSegmenter:
    pieces = DICTIONARIES[name]
    return ViterbiSegmenter(
        list(pieces),
        list(pieces.values()),
        unknown_score=UNKNOWN,
        unknown_beside_longer=unknown_beside_longer,
        left_to_right=left_to_right,
    )


def cut(segment, texts) -> list[list[str]]:
    return [[piece.decode() for piece in row] for row in segment(tf.constant(texts)).to_list()]


def all_ways(text: str, pieces: dict[str, float], unknown_beside_longer: bool):
    """Yields (score, lengths of the pieces) of every allowed way to cut the text."""
    if not text:
        yield 0.0, ()
        return
    begins = {piece: score for piece, score in pieces.items() if text.startswith(piece)}
    if not begins or (unknown_beside_longer and text[0] not in begins):
        begins[text[0]] = UNKNOWN
    for piece, score in begins.items():
        for rest, lengths in all_ways(text[len(piece) :], pieces, unknown_beside_longer):
            yield score + rest, (len(piece), *lengths)


def cut_exhaustively(
    text: str, pieces: dict[str, float], unknown_beside_longer: bool, left_to_right: bool
) -> list[str]:
    # The greatest tuple of lengths is the way with the longest first piece, then second, ...
    # Reversed, it is the one with the longest last piece, then last but one, ...
    step = -1 if left_to_right else 1
    _, lengths = max(
        (score, lengths[::step]) for score, lengths in all_ways(text, pieces, unknown_beside_longer)
    )
    bounds = np.cumsum([0, *lengths[::step]])
    return [text[begin:end] for begin, end in pairwise(bounds)]


@pytest.mark.parametrize("left_to_right", [False, True])
@pytest.mark.parametrize("unknown_beside_longer", [False, True])
@pytest.mark.parametrize("name", DICTIONARIES)
@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(ALPHABET, max_size=10), min_size=1, max_size=12))
def test_equals_exhaustive_search(name, unknown_beside_longer, left_to_right, texts):
    rules = (unknown_beside_longer, left_to_right)
    expected = [cut_exhaustively(text, DICTIONARIES[name], *rules) for text in texts]
    assert cut(segmenter(name, *rules), texts) == expected


def test_tie_goes_to_the_longest_piece():
    assert cut(segmenter("ties", False), ["aba", "ab"]) == [["aba"], ["ab"]]


def test_unknown_character_beside_a_longer_piece():
    # "bc" begins at b: jieba's rule must use it, SentencePiece's may let b stand alone.
    pieces, scores = ["bc", "c", "cd"], [-9.0, -8.0, -1.0]
    strict = ViterbiSegmenter(pieces, scores, unknown_score=-1.0)
    loose = ViterbiSegmenter(pieces, scores, unknown_score=-1.0, unknown_beside_longer=True)
    assert cut(strict, ["bcd"]) == [["bc", "d"]]
    assert cut(loose, ["bcd"]) == [["b", "cd"]]


def test_scores_start_again_at_each_block():
    segment = segmenter("ties", False)
    characters = tf.constant([ord(letter) for letter in "ababa"])
    blocks = tf.constant([True, False, False, True, False])
    assert segment.piece_starts(characters, blocks).numpy().tolist() == [1, 0, 0, 1, 0]


def test_sums_are_float64_from_the_right():
    # 0.1 + (0.2 + 0.3) and (0.1 + 0.2) + 0.3 differ in the last bit, which decides here.
    scores = {"a": 0.1, "b": 0.2, "c": 0.3, "abc": 0.1 + (0.2 + 0.3)}
    left_first = scores | {"abc": (0.1 + 0.2) + 0.3}
    assert left_first["abc"] > scores["abc"]
    singles = {"a": -0.1, "b": -0.2, "c": -0.3}
    for whole, expected in ((-left_first["abc"], ["a", "b", "c"]), (-scores["abc"], ["abc"])):
        pieces = singles | {"abc": whole}
        segment = ViterbiSegmenter(list(pieces), list(pieces.values()), unknown_score=-9)
        assert cut(segment, ["abc"]) == [expected]


def test_sums_are_float32_from_the_left_where_asked_for():
    # Another order or float64 would give more for the single letters than for the whole.
    a, b, c = map(np.float32, (-0.1, -0.5, -0.8))
    whole = (a + b) + c
    assert a + (b + c) > whole and float(a) + float(b) + float(c) > whole
    for score, expected in ((whole, ["abc"]), (np.nextafter(whole, a - 9), ["a", "b", "c"])):
        pieces = {"a": a, "b": b, "c": c, "abc": score}
        segment = ViterbiSegmenter(
            list(pieces), list(pieces.values()), unknown_score=-9, left_to_right=True
        )
        assert cut(segment, ["abc"]) == [expected]


def test_empty_batch_and_empty_texts():
    segment = segmenter("ties", False)
    assert segment(tf.constant([], tf.string)).to_list() == []
    assert cut(segment, ["", "", ""]) == [[], [], []]
    assert cut(segment, ["", "ab", "", "b", ""]) == [[], ["ab"], [], ["b"], []]


def test_invalid_bytes_are_replaced():
    rows = segmenter("ties", False)(tf.constant([b"ab", b"a\xffb\xe4\xb8", b"ab"])).to_list()
    assert rows == [[b"ab"], [b"a", "\ufffd".encode(), b"b", "\ufffd".encode()], [b"ab"]]


def test_one_long_text_does_not_pad_the_others():
    # Padded to a rectangle, this batch would have 4 * 10**8 cells for each piece length.
    texts = ["ab"] * 20_000 + ["bba" * 7_000]
    rows = segmenter("ties", False)(tf.constant(texts))
    assert rows.row_lengths().numpy()[:-1].tolist() == [1] * 20_000
    assert b"".join(rows[-1].numpy()).decode() == texts[-1]


def test_eager_graph_pipeline_and_loaded_agree(tmp_path):
    segment = segmenter("no single b", False)
    texts = ["abcab", "", "cabc xyz", "\U0001f600abcabc"]
    expected = cut(segment, texts)
    assert cut(tf.function(lambda batch: segment(batch)), texts) == expected
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(3).map(segment, tf.data.AUTOTUNE)
    rows = [row for batch in dataset for row in batch.to_list()]
    assert [[piece.decode() for piece in row] for row in rows] == expected
    tf.saved_model.save(segment, tmp_path)
    assert cut(tf.saved_model.load(tmp_path), texts) == expected


@pytest.mark.parametrize(
    ("pieces", "scores", "message"),
    [
        ([], [], "at least one"),
        (["a", ""], [-1, -1], "none empty"),
        (["a", "b", "a"], [-1, -2, -3], "distinct"),
        (["a", "b"], [-1], "one score each"),
        (["a"], [float("nan")], "finite"),
    ],
)
def test_bad_dictionary(pieces, scores, message):
    with pytest.raises(ValueError, match=message):
        ViterbiSegmenter(pieces, scores, unknown_score=-1)
