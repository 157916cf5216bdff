"""What is answered to raw input, good and bad."""

import numpy as np
import pytest

from tests.demo.stand_ins import (
    AdditiveClassifier,
    FixedReader,
    FixedTranslator,
    Map,
    as_classifier,
    as_reader,
    as_translator,
    data_url,
    picture,
    png_that_states,
)
from tfcamp.demo.answers import (
    MAX_HEADLINE,
    MAX_SENTENCE,
    Refusal,
    classify_headline,
    decode_picture,
    read_number,
    translate_sentence,
)


def classify(text: object, **weights: float):
    return classify_headline(as_classifier(AdditiveClassifier(weights)), list, text)


def test_the_evidence_of_a_word_is_what_it_adds_to_the_log_odds():
    answer = classify("abca", a=1.5, b=-0.5, c=0.0)
    assert answer.label == "sports"
    assert [word.text for word in answer.words] == list("abca")
    assert [word.evidence for word in answer.words] == pytest.approx([1.5, -0.5, 0.0, 1.5])


def test_a_word_shows_how_probable_its_class_would_be_without_it():
    (word,) = classify("a", a=2.0).words
    assert word.without == pytest.approx(0.5)


def test_evidence_speaks_for_the_class_that_is_answered_not_for_the_first_one():
    answer = classify("ab", a=-3.0, b=1.0)
    assert answer.label == "finance"
    assert [word.evidence for word in answer.words] == pytest.approx([3.0, -1.0])


def test_classes_stand_in_the_order_of_their_probability():
    answer = classify("a", a=-1.0)
    assert [name for name, _ in answer.probabilities] == ["finance", "sports"]
    assert sum(share for _, share in answer.probabilities) == pytest.approx(1)


def test_a_model_that_is_sure_still_tells_its_words_apart():
    # The probability is 1 in float64, with and without either word: only the odds differ.
    answer = classify("ab", a=40.0, b=-1.0)
    assert answer.probabilities[0][1] == 1
    assert [word.evidence for word in answer.words] == pytest.approx([40, -1])


def test_all_words_are_left_out_in_one_call():
    model = AdditiveClassifier({"c": 1.0})
    classify_headline(as_classifier(model), list, "abc")
    assert model.calls[1:] == [["abc", "bc", "ac", "ab"]]


def test_words_that_the_model_does_not_read_are_counted_and_speak_for_nothing():
    model = AdditiveClassifier({"a": 1.0, "b": 2.0, "c": 4.0}, max_length=3)
    answer = classify_headline(as_classifier(model), list, "a bcc")
    assert (answer.num_words, answer.num_read) == (4, 2)
    # Without the b the model would read a c in its place.
    assert [tuple(word)[:2] for word in answer.words] == [
        *(("a", pytest.approx(1)), (" ", 0), ("b", pytest.approx(2)), ("c", 0), ("c", 0))
    ]


@pytest.mark.parametrize("text", ["a", "abca", "a b"])
def test_a_headline_that_is_read_whole_has_no_words_left(text: str):
    answer = classify(text, a=40.0, b=-1.0)  # the probability stays 1, the odds do not
    assert answer.num_words == answer.num_read == len(text.replace(" ", ""))


def test_white_space_is_not_a_word_and_line_breaks_are_spaces():
    model = AdditiveClassifier({"b": 1.0})
    answer = classify_headline(as_classifier(model), list, " a\r\n b ")
    assert model.calls == [["a", "a b"], ["a b", " b", "a "]]
    assert [tuple(word) for word in answer.words[1:2]] == [
        (" ", 0.0, pytest.approx(0.731, abs=1e-3))
    ]


@pytest.mark.parametrize("text", ["", " \n\t", None, 5, ["a"], {"text": "a"}])
def test_no_text_is_refused(text):
    with pytest.raises(Refusal, match="empty_text"):
        classify(text)
    with pytest.raises(Refusal, match="empty_text"):
        translate_sentence(as_translator(FixedTranslator([], None)), text)


def test_text_beyond_the_limit_is_refused():
    assert classify("a" * MAX_HEADLINE).label
    with pytest.raises(Refusal, match="long_text") as caught:
        classify("a" * (MAX_HEADLINE + 1))
    assert caught.value.values == {"limit": MAX_HEADLINE}
    with pytest.raises(Refusal, match="long_text"):
        translate_sentence(as_translator(FixedTranslator([], None)), "a" * (MAX_SENTENCE + 1))


def test_text_that_utf_8_cannot_encode_is_answered():
    assert "".join(word.text for word in classify("a\ud800b").words) == "a?b"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_comes_out_of_its_data_url(kind):
    assert decode_picture(data_url(picture(kind), kind.lower())) == picture(kind)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "no_picture"),
        ("", "no_picture"),
        ("large", "large_picture"),
        ("broken", "broken_picture"),
        (7, "broken_picture"),
        ({"path": "/etc/passwd"}, "broken_picture"),
        ("https://example.org/house.png", "broken_picture"),
        ("data:text/html;base64,PGI+", "broken_picture"),
        ("data:image/png;base64,not base64", "broken_picture"),
        (data_url(b"no picture"), "broken_picture"),
        (data_url(picture("GIF")), "broken_picture"),
        (data_url(picture()[:30]), "broken_picture"),
        (data_url(png_that_states(3000, 3000)), "large_picture"),
        (data_url(png_that_states(20_000, 20_000)), "large_picture"),
        (data_url(png_that_states(0, 5)), "broken_picture"),
    ],
)
def test_what_is_no_picture_is_refused(url, reason):
    with pytest.raises(Refusal, match=reason):
        decode_picture(url)


def test_a_number_comes_with_its_heat():
    heat = np.ones([2, 3], np.float32)
    answer = read_number(as_reader(FixedReader("42", 0.75, heat)), picture())
    assert (answer.number, answer.probability) == ("42", 0.75)
    assert answer.heat is not None and answer.heat.shape == (2, 3)


def test_a_model_without_maps_still_reads():
    assert read_number(as_reader(FixedReader("42", 0.75)), picture()).heat is None


def test_a_picture_that_the_model_cannot_decode_is_refused():
    with pytest.raises(Refusal, match="broken_picture"):
        read_number(as_reader(FixedReader("", 0.0)), picture())


def test_the_best_translations_are_shown():
    best = [("a dog", -0.5), ("a cat", -0.75)]
    attention = Map(["▁Hund"], ["▁dog"], np.ones([1, 1], np.float32))
    answer = translate_sentence(as_translator(FixedTranslator(best, attention)), "ein Hund")
    assert answer.best == best
    assert answer.attention is attention
    assert (answer.num_tokens, answer.max_tokens, answer.max_counted) == (3, 4, 8)


def test_a_model_without_attention_still_translates():
    answer = translate_sentence(as_translator(FixedTranslator([("a dog", -0.5)], None)), "Hund")
    assert answer.attention is None
