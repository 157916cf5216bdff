"""What a translation model reads of a sentence: its pieces and an end, cut where it is too long."""

from itertools import islice

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcamp.data.parallel_sources import load_parallel_dataset
from tfcamp.text.sentences import CHARACTERS_PER_TOKEN, encode_sentences
from tfcamp.text.subword import SubwordTokenizer, train_subwords
from tfcamp.text.vocabulary import END_ID


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    sample = load_parallel_dataset("sample", data_dir=None, seed=0)
    return [pair.source for pair in islice(sample.train, 200)]


@pytest.fixture(scope="module")
def tokenizer(sentences: list[str]) -> SubwordTokenizer:
    return SubwordTokenizer(train_subwords(sentences, vocabulary_size=420))


def test_every_row_is_its_ids_and_the_end(tokenizer) -> None:
    texts = ["Good morning.", "", "How are you today?"]
    rows = encode_sentences(tokenizer, texts).to_list()
    expected = tokenizer(tf.constant(texts)).to_list()
    assert rows == [[*ids, END_ID] for ids in expected]
    assert rows[1] == [END_ID] and len(rows[2]) > 5


def test_no_sentences(tokenizer) -> None:
    for max_tokens in (None, 4):
        ids = encode_sentences(tokenizer, [], max_tokens=max_tokens)
        assert ids.dtype == tf.int32 and ids.shape == [0, None]


@pytest.mark.parametrize("max_tokens", [2, 5, 24])
def test_what_is_too_long_is_cut_and_still_ends(tokenizer, sentences, max_tokens) -> None:
    whole = encode_sentences(tokenizer, sentences).to_list()
    cut = encode_sentences(tokenizer, sentences, max_tokens=max_tokens).to_list()
    expected = [[*row[:-1][: max_tokens - 1], END_ID] for row in whole]
    assert cut == expected
    assert max(map(len, cut)) == max_tokens


def test_a_row_of_the_greatest_length_is_whole(tokenizer, sentences) -> None:
    (row,) = encode_sentences(tokenizer, sentences[:1]).to_list()
    for max_tokens, is_whole in ((len(row), True), (len(row) - 1, False)):
        (cut,) = encode_sentences(tokenizer, sentences[:1], max_tokens=max_tokens).to_list()
        assert (cut == row) == is_whole and len(cut) == max_tokens


@pytest.mark.parametrize("kind", ["words", "one letter", "Chinese", "emoji", "longest pieces"])
def test_characters_that_are_not_looked_at_change_nothing(tokenizer, sentences, kind) -> None:
    """A row is filled long before they begin."""
    pieces = [piece.decode() for piece in tokenizer.pieces(tf.range(len(tokenizer))).numpy()]
    longest = max((piece for piece in pieces if "▁" not in piece[1:]), key=len)
    assert len(longest) <= CHARACTERS_PER_TOKEN
    text = {
        "words": " ".join(sentences),
        "one letter": "e" * 5_000,
        "Chinese": "你好吗" * 2_000,
        "emoji": "👨‍👩‍👧‍👦" * 500,
        "longest pieces": longest.replace("▁", " ") * 400,
    }[kind]
    (whole,) = encode_sentences(tokenizer, [text]).to_list()
    (cut,) = encode_sentences(tokenizer, [text], max_tokens=12).to_list()
    assert len(text.encode()) > 4 * CHARACTERS_PER_TOKEN * 12  # or nothing is left out
    assert cut == [*whole[:11], END_ID]


def test_the_work_does_not_grow_with_the_text(tokenizer) -> None:
    """The tokenizer never sees what a row cannot hold."""
    seen = []

    def watched(texts):
        seen.extend(texts.numpy())
        return tokenizer(texts)

    encode_sentences(watched, ["x" * 10**6, "good"], max_tokens=8)  # pyright: ignore
    assert [len(text) for text in seen] == [4 * CHARACTERS_PER_TOKEN * 8, 4]


@settings(max_examples=50)
@given(st.lists(st.one_of(st.text(), st.binary()), max_size=4), st.integers(2, 30))
def test_any_text_gives_a_row_that_a_model_can_read(tokenizer, texts, max_tokens) -> None:
    texts = [text if isinstance(text, bytes) else text.encode() for text in texts]
    for row in encode_sentences(tokenizer, texts, max_tokens=max_tokens).to_list():
        *ids, end = row
        assert len(row) <= max_tokens and end == END_ID
        assert all(END_ID < number < len(tokenizer) for number in ids)
