"""Raw text to ids: the streams are aligned, the work is bounded, and a graph does the same."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfcamp.text.encoder import CHARACTERS_PER_TOKEN, TextEncoder, TextTokenizer
from tfcamp.text.vocabulary import Vocabulary

MARK = "\ue000"


def split_pairs(texts: tf.Tensor) -> tf.RaggedTensor:
    """Two characters make a word; a space is a token of its own, as the segmenter has it."""
    marked = tf.strings.regex_replace(texts, "(?s) |[^ ]{1,2}", "\\0" + MARK)
    pieces = tf.strings.split(marked, MARK)
    return tf.ragged.boolean_mask(pieces, pieces != "")


def split_characters(texts: tf.Tensor) -> tf.RaggedTensor:
    return tf.strings.unicode_split(texts, "UTF-8")


def decoded(streams: dict[str, tf.RaggedTensor]) -> dict[str, list[list[str]]]:
    return {
        name: [[token.decode() for token in row] for row in ragged.to_list()]
        for name, ragged in streams.items()
    }


def word_and_char(max_length: int = 8, **options) -> TextTokenizer:
    return TextTokenizer(split_pairs, ("word", "char"), max_length=max_length, **options)


def make_encoder(max_length: int = 4) -> TextEncoder:
    vocabularies = {"word": Vocabulary(["新闻", "标题"]), "char": Vocabulary(list("新闻标题"))}
    return TextEncoder(word_and_char(max_length), vocabularies)


def test_words():
    tokenizer = TextTokenizer(split_pairs, ("word",), max_length=2)
    assert decoded(tokenizer(["新闻 标题很长", ""])) == {"word": [["新闻", "标题"], []]}


def test_characters():
    tokenizer = TextTokenizer(split_characters, ("char",), max_length=3)
    assert decoded(tokenizer(["新 闻标题", ""])) == {"char": [["新", "闻", "标"], []]}


def test_each_character_stands_beside_its_word():
    assert decoded(word_and_char()(["新闻标 a", "", "b"])) == {
        "word": [["新闻", "新闻", "标", "a"], [], ["b"]],
        "char": [["新", "闻", "标", "a"], [], ["b"]],
    }


def test_runs_of_characters_end_with_their_row():
    tokenizer = TextTokenizer(split_pairs, ("char", "char2", "char3"), max_length=3)
    assert decoded(tokenizer(["新 闻标题", "ab", ""])) == {
        "char": [["新", "闻", "标"], ["a", "b"], []],
        # The last pair reaches beyond what is kept; a run that leaves the text is empty.
        "char2": [["新闻", "闻标", "标题"], ["ab", ""], []],
        "char3": [["新闻标", "闻标题", ""], ["", ""], []],
    }


def test_stop_words_go_with_their_characters():
    tokenizer = word_and_char(stop_words=["新闻", "没有"])
    assert decoded(tokenizer(["新闻标题", "新闻"])) == {
        "word": [["标题", "标题"], []],
        "char": [["标", "题"], []],
    }


def test_just_white_space_of_every_kind_is_dropped():
    """Every character up to the CJK blocks, one a text; Python knows which are white space."""
    characters = [chr(code) for code in range(0x3100)]
    tokenizer = TextTokenizer(split_characters, ("char",), max_length=3)
    lengths = tokenizer(characters)["char"].row_lengths().numpy()
    dropped = {characters[index] for index in np.flatnonzero(lengths == 0)}
    assert dropped == {character for character in characters if character.isspace()}


@pytest.mark.parametrize("space", [" " * 900, "\r\n\t" * 100, "\u3000" * 300])
def test_long_runs_of_white_space_take_no_place(space: str):
    tokenizer = TextTokenizer(split_characters, ("char",), max_length=4)
    (characters,) = decoded(tokenizer([f"{space}新闻{space}标题"]))["char"]
    assert characters == list("新闻标题")


# A space within a word would let the property pass where words are cut at white space alone.
@given(st.lists(st.text(max_size=30) | st.text("新闻 \t\u3000a", max_size=30), max_size=4))
def test_the_characters_of_word_and_char_are_the_text_without_white_space(texts):
    texts = [text.replace(MARK, "") for text in texts]
    streams = decoded(word_and_char(max_length=12)(tf.constant(texts, tf.string)))
    for text, words, characters in zip(texts, streams["word"], streams["char"], strict=True):
        # 30 characters lie within the 12 x 8 that are looked at.
        expected = "".join(character for character in text if not character.isspace())
        assert "".join(characters) == expected[:12]
        assert len(words) == len(characters)
        assert all(one in word for one, word in zip(characters, words, strict=True))


def test_invalid_utf8_harms_its_own_text_only():
    assert decoded(word_and_char()([b"ok", b"a\xffb", b"\xe6\x96", "新闻".encode()]))["char"] == [
        ["o", "k"],
        ["a", "\ufffd", "b"],
        ["\ufffd"],
        ["新", "闻"],
    ]


def test_invalid_utf8_is_seen_by_no_splitter():
    """Ops on UTF-8 may stop at invalid bytes, so each splitter gets clean text."""

    def strict(texts: tf.Tensor) -> tf.RaggedTensor:
        return tf.strings.unicode_split(texts, "UTF-8", errors="strict")

    tokenizer = TextTokenizer(strict, ("char",), max_length=4)
    # Cutting a text at a byte leaves half a character, which must not show.
    assert decoded(tokenizer([b"\xff", "a" + "𠀀" * 100]))["char"] == [["\ufffd"], list("a𠀀𠀀𠀀")]


@pytest.mark.parametrize("text", ["a" * 100_000, "新" * 100_000, "𠀀" * 100_000, b"\xff" * 100_000])
def test_the_splitter_never_sees_more_than_a_bounded_text(text):
    seen = []

    def splitter(texts: tf.Tensor) -> tf.RaggedTensor:
        seen.extend(tf.strings.length(texts, unit="UTF8_CHAR").numpy())
        return split_characters(texts)

    tokens = TextTokenizer(splitter, ("char",), max_length=5)([text, "ab"])
    assert seen == [CHARACTERS_PER_TOKEN * 5, 2]
    assert tokens["char"].row_lengths().numpy().tolist() == [5, 2]


def test_unknown_streams_and_lengths_are_refused():
    with pytest.raises(ValueError, match="byte"):
        TextTokenizer(split_pairs, ("byte",), max_length=3)
    with pytest.raises(ValueError, match="0"):
        TextTokenizer(split_pairs, ("word",), max_length=0)
    with pytest.raises(ValueError, match="char"):
        TextEncoder(word_and_char(), {"word": Vocabulary([])})


def test_ids_are_padded_to_the_longest_row():
    ids = make_encoder()(["新闻标题很长", "天气", ""])
    assert ids["word"].numpy().tolist() == [[2, 2, 3, 3], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert ids["char"].numpy().tolist() == [[2, 3, 4, 5], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert ids["word"].dtype == ids["char"].dtype == tf.int32
    assert make_encoder()(["新"])["word"].shape == (1, 1)


def test_empty_texts_are_one_step_of_padding():
    """Recurrent layers fail on sequences of no steps."""
    for texts in (["", " \u3000"], ["\n"]):
        assert make_encoder()(texts)["word"].numpy().tolist() == [[0]] * len(texts)


def test_static_length_is_known_to_the_compiler():
    encoder = make_encoder()
    function = tf.function(lambda text: encoder(text, static_length=True)).get_concrete_function(
        tf.TensorSpec([None], tf.string)
    )
    assert function.output_shapes["word"].as_list() == [None, 4]
    ids = encoder(["新闻", "", "新闻标题很长"], static_length=True)["word"]
    assert ids.numpy().tolist() == [[2, 2, 0, 0], [0] * 4, [2, 2, 3, 3]]


def test_streams_are_the_sizes_of_the_vocabularies_in_the_order_of_the_tokenizer():
    assert list(make_encoder().streams.items()) == [("word", 4), ("char", 6)]


TEXTS = ["新闻标题", "", "天 气\u3000新", "𠀀\x00a", "新" * 1000]


def test_in_a_dataset_equals_eager():
    encoder = make_encoder()
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2).map(encoder)
    for number, ids in enumerate(dataset.as_numpy_iterator()):
        expected = encoder(TEXTS[2 * number : 2 * number + 2])
        for name in ("word", "char"):
            np.testing.assert_array_equal(ids[name], expected[name])


def test_saved_and_loaded(tmp_path):
    encoder = make_encoder()
    encoder.serve = tf.function(encoder, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(encoder, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).serve(tf.constant(TEXTS))
    for name, ids in encoder(TEXTS).items():
        np.testing.assert_array_equal(loaded[name], ids)
