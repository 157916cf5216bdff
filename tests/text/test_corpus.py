"""What is written to a corpus is read from it, however odd the text."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfcamp.text.corpus import TokenCorpus, batched

# A token may hold anything but the space and the line feed that separate tokens and texts.
tokens = st.text(st.characters(codec="utf-8", exclude_characters=" \n"), min_size=1, max_size=4)


def split_at_spaces(texts: tf.Tensor) -> tf.RaggedTensor:
    pieces = tf.strings.split(texts, " ")
    return tf.ragged.boolean_mask(pieces, pieces != "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


@given(st.lists(st.lists(tokens, max_size=5), max_size=8))
def test_reads_what_was_written(folder, rows):
    corpus = TokenCorpus.write(folder / "tokens.txt", map(" ".join, rows), split_at_spaces)
    assert list(corpus) == rows
    assert list(corpus) == rows, "a corpus can be read again"
    assert list(corpus.characters()) == [list("".join(row)) for row in rows]
    texts = ["".join(row) for row in rows]
    pairs = [[text[i : i + 2] for i in range(len(text) - 1)] for text in texts]
    assert list(corpus.characters(2)) == pairs


@pytest.mark.parametrize("odd", ["\r", "\x0b", "\x1c", "\x85", "\u2028", "\x00", "\ufeff", "𠀀"])
def test_only_a_line_feed_ends_a_text(tmp_path, odd):
    rows = [["a", odd], [f"b{odd}c"]]
    corpus = TokenCorpus.write(tmp_path / "tokens.txt", map(" ".join, rows), split_at_spaces)
    assert list(corpus) == rows


def test_a_text_without_tokens_stays_a_row_and_adds_no_token(tmp_path):
    corpus = TokenCorpus.write(tmp_path / "tokens.txt", ["", "a", " "], split_at_spaces)
    assert list(corpus) == [[], ["a"], []]


def test_more_rows_than_one_batch(tmp_path):
    texts = [f"text {number}" for number in range(2500)]
    corpus = TokenCorpus.write(tmp_path / "tokens.txt", texts, split_at_spaces)
    assert list(corpus) == [text.split() for text in texts]


def test_a_crash_while_writing_keeps_the_old_file(tmp_path):
    def crash():
        yield from ["new"] * 2000
        raise KeyboardInterrupt

    TokenCorpus.write(tmp_path / "tokens.txt", ["old"], split_at_spaces)
    with pytest.raises(KeyboardInterrupt):
        TokenCorpus.write(tmp_path / "tokens.txt", crash(), split_at_spaces)
    assert list(TokenCorpus(tmp_path / "tokens.txt")) == [["old"]]


def test_batched_reads_ahead_no_further_than_it_must():
    numbers = iter(range(5))
    assert next(batched(numbers, 2)) == [0, 1]
    assert next(numbers) == 2
