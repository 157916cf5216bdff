"""Tokens and ids: golden values, eagerly and in a graph."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfcamp.text.vocabulary import Vocabulary

words = st.text(min_size=1, max_size=3)


def test_ids_start_after_padding_and_unknown():
    vocabulary = Vocabulary(["新闻", "标题"])
    assert len(vocabulary) == 4
    assert vocabulary([["新闻", "标题"], ["天气", ""]]).numpy().tolist() == [[2, 3], [1, 1]]


def test_text_that_spells_a_reserved_token_is_unknown():
    """Were "<pad>" in a headline id 0, masks would end the text there."""
    assert Vocabulary(["a"])(["<pad>", "<unk>", "a"]).numpy().tolist() == [1, 1, 2]


def test_ragged_tokens_give_ragged_ids():
    ids = Vocabulary(["a", "b"])(tf.ragged.constant([["b", "c"], [], ["a"]]))
    assert ids.dtype == tf.int32
    assert ids.to_list() == [[3, 1], [], [2]]


def test_graph_equals_eager():
    vocabulary = Vocabulary(["a", "b"])
    in_graph = tf.function(vocabulary, input_signature=[tf.TensorSpec([None], tf.string)])
    assert in_graph(tf.constant(["b", "x"])).numpy().tolist() == [3, 1]


def test_repeated_tokens_are_refused():
    with pytest.raises(ValueError, match="'a'"):
        Vocabulary(["a", "b", "a"])


def test_fit_ranks_by_count_and_breaks_ties_by_the_token():
    counts = {"rare": 1, "b": 3, "a": 3, "often": 9, "twice": 2}
    assert Vocabulary.fit(counts, min_count=2).tokens[2:] == ("often", "a", "b", "twice")
    assert Vocabulary.fit(counts, max_size=4).tokens == ("<pad>", "<unk>", "often", "a")
    assert Vocabulary.fit(counts, max_size=1).tokens == ("<pad>", "<unk>")


def test_fit_leaves_reserved_tokens_out():
    assert Vocabulary.fit({"<pad>": 9, "<unk>": 8, "a": 1}).tokens[2:] == ("a",)


@given(st.dictionaries(words, st.integers(1, 5), max_size=20), st.integers(1, 4), st.randoms())
def test_fit_does_not_depend_on_the_order_of_the_rows(counts, min_count, random):
    items = list(counts.items())
    random.shuffle(items)
    vocabulary = Vocabulary.fit(dict(items), min_count=min_count)
    assert vocabulary.tokens == Vocabulary.fit(counts, min_count=min_count).tokens
    frequent = [word for word in counts if counts[word] >= min_count]
    assert sorted(vocabulary(frequent).numpy()) == list(range(2, len(frequent) + 2))
