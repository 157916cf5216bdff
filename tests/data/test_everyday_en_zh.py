"""The embedded sentence pairs: written, not multiplied; whole turns are held out for the test."""

import importlib.resources
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import CountVectorizer

from tfcamp.text.chinese import ChineseSegmenter

FOLDER = importlib.resources.files("tfcamp.data.samples") / "everyday_en_zh"
SPLITS = ("train", "dev", "test")

QUESTION_WORD = "(what|where|when|who|why|how|which)"
TEST_TURNS = {
    "have you ever": r"^have you ever\b",
    "tell me what": rf"\btell me {QUESTION_WORD}\b",
    "do you know what": rf"\bdo you know {QUESTION_WORD}\b",
    "why don't we": r"^why don't we\b",
    "if I were you": r"\bif i were you\b",
    "is there": r"^(is|are) there\b",
    "both … and": r"^both .* and ",
    "forgot to": r"\bforgot to\b",
    "who is the": r"^who (is|are|was|were) the\b",
    "too … to": r"\btoo \w+ to \w+",
    "ask somebody to": r"^(please )?(ask|tell) .* to ",
    "rather … than": r"\brather\b.* than\b",
    "made me cry": r"\b(made|makes) .* (cry|laugh|write|clean|work|open|think|drink)\b",
    "I don't think": r"n't think\b",
    "which is, A or B": r"^which (is|tastes) .*, .* or ",
}
DEV_TURNS = {
    "it's time to": r"^it's time to\b",
    "what a …!": r"^what an? .*!",
    "not … any more": r"\bany more\.",
    "what do you think of": r"^what do you think of\b",
    "it takes … to": r"^it (takes|took)\b",
    "looking for": r"\blooking for\b",
}


@pytest.fixture(scope="module")
def files() -> dict[str, list[str]]:
    texts = {name: (FOLDER / f"{name}.tsv").read_bytes().decode() for name in SPLITS}
    return {name: text.removesuffix("\n").split("\n") for name, text in texts.items()}


@pytest.fixture(scope="module")
def english(files: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: [line.split("\t")[0] for line in lines[1:]] for name, lines in files.items()}


@pytest.fixture(scope="module")
def chinese(files: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: [line.split("\t")[-1] for line in lines[1:]] for name, lines in files.items()}


def words(sentence: str) -> list[str]:
    return re.findall(r"[a-z']+", sentence.lower())


def characters(sentence: str) -> list[str]:
    return re.findall(r"[\u4e00-\u9fff]", sentence)


def everywhere(splits: dict[str, list[str]]) -> Iterator[str]:
    return (sentence for sentences in splits.values() for sentence in sentences)


def near_duplicates(ours: list[str], theirs: list[str], limit: float = 0.5) -> list[tuple]:
    """Returns the pairs whose sets of character 3-grams have a Jaccard index above the limit."""
    vectorizer = CountVectorizer(
        analyzer="char", ngram_range=(3, 3), binary=True, dtype=np.int32
    ).fit(ours + theirs)
    first, second = vectorizer.transform(ours), vectorizer.transform(theirs)
    shared = (first @ second.T).tocoo()  # only pairs that share a 3-gram stand in it
    sizes = [np.asarray(grams.sum(axis=1)).ravel() for grams in (first, second)]
    union = sizes[0][shared.row] + sizes[1][shared.col] - shared.data
    alike = shared.data > limit * union
    return [(ours[i], theirs[j]) for i, j in zip(shared.row[alike], shared.col[alike], strict=True)]


def largest_template(sentences: list[str]) -> set[str]:
    """Returns the largest set of sentences that are the same but for the word at one place."""
    groups: dict[tuple, set[str]] = {}
    for sentence in sentences:
        sequence = words(sentence)
        for place in range(len(sequence)):
            frame = (place, *sequence[:place], "", *sequence[place + 1 :])
            groups.setdefault(frame, set()).add(sentence)
    return max(groups.values(), key=len)


def test_at_least_1500_pairs(files):
    assert sum(len(lines) - 1 for lines in files.values()) >= 1500
    assert len(files["dev"]) > 100 and len(files["test"]) > 100


def test_two_columns_below_a_header(files):
    for name, lines in files.items():
        assert lines[0] == "en\tzh"
        assert [line for line in lines if line.count("\t") != 1] == [], name


def test_english_is_a_sentence_of_3_to_14_words(english):
    for sentence in everywhere(english):
        assert re.fullmatch(r"[A-Z][A-Za-z']*(,? [A-Za-z']+)*[.?!]", sentence), sentence
        assert 3 <= len(sentence.split()) <= 14, sentence


def test_chinese_is_a_sentence_with_full_width_marks(chinese):
    han = "[\u4e00-\u9fff]+"
    for sentence in everywhere(chinese):
        assert re.fullmatch(f"{han}([，、]{han})*[。？！]", sentence), sentence


def test_chinese_is_simplified(chinese):
    """GB 2312 holds the simplified characters, and no form of them that they replaced."""
    for sentence in everywhere(chinese):
        sentence.encode("gb2312")  # raises UnicodeEncodeError, which shows the sentence


def test_both_sides_end_alike(english, chinese):
    """A question is translated by a question."""
    marks = dict(zip(".?!", "。？！", strict=True))
    for source, target in zip(everywhere(english), everywhere(chinese), strict=True):
        assert marks[source[-1]] == target[-1], source


def test_no_sentence_stands_twice_or_has_two_translations(english, chinese):
    for splits in (english, chinese):
        counts = Counter(everywhere(splits))
        assert [sentence for sentence, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(("one", "other"), list(combinations(SPLITS, 2)))
def test_no_near_duplicates_between_splits(english, chinese, one, other):
    for splits in (english, chinese):
        assert near_duplicates(splits[one], splits[other]) == []


def test_a_near_duplicate_would_be_found():
    ours, theirs = "I forgot to buy bread.", "I forgot to buy meat."
    assert near_duplicates([ours], [theirs, "The bread is cold."]) == [(ours, theirs)]  # 14 of 25


@pytest.mark.parametrize("turn", TEST_TURNS)
def test_a_turn_of_the_test_split_occurs_nowhere_else(english, turn):
    pattern = re.compile(TEST_TURNS[turn], re.IGNORECASE)
    found = {name: list(filter(pattern.search, english[name])) for name in SPLITS}
    assert found["train"] == [] and found["dev"] == []
    assert len(found["test"]) >= 8


@pytest.mark.parametrize("turn", DEV_TURNS)
def test_a_turn_of_the_dev_split_occurs_nowhere_else(english, turn):
    pattern = re.compile(DEV_TURNS[turn], re.IGNORECASE)
    found = {name: list(filter(pattern.search, english[name])) for name in SPLITS}
    assert found["train"] == [] and found["test"] == []
    assert len(found["dev"]) >= 8


def test_every_test_sentence_is_of_one_held_out_turn(english):
    for sentence in english["test"]:
        turns = [name for name, turn in TEST_TURNS.items() if re.search(turn, sentence, re.I)]
        assert len(turns) == 1, (sentence, turns)


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize(("language", "tokens"), [("english", words), ("chinese", characters)])
def test_95_percent_of_the_tokens_occur_in_training(
    request, split, language, tokens: Callable[[str], list[str]]
):
    splits = request.getfixturevalue(language)
    known = {token for sentence in splits["train"] for token in tokens(sentence)}
    measured = [token for sentence in splits[split] for token in tokens(sentence)]
    assert np.mean([token in known for token in measured]) >= 0.95


@pytest.mark.slow
def test_95_percent_of_the_chinese_words_occur_in_training(chinese):
    segmenter = ChineseSegmenter()
    cut = {}
    for name in SPLITS:
        cuts = segmenter(tf.constant(chinese[name])).flat_values.numpy()
        cut[name] = [word for word in cuts if word.decode() not in "，、。？！"]
    known = set(cut["train"])
    for split in ("dev", "test"):
        assert np.mean([word in known for word in cut[split]]) >= 0.95


@pytest.mark.parametrize(("language", "tokens"), [("english", words), ("chinese", characters)])
def test_words_recur_in_training(request, language, tokens: Callable[[str], list[str]]):
    sentences = request.getfixturevalue(language)["train"]
    counts = Counter(token for sentence in sentences for token in tokens(sentence))
    frequencies = np.array(list(counts.values()))
    assert np.mean(frequencies >= 3) >= 0.6
    assert frequencies[frequencies >= 3].sum() >= 0.9 * frequencies.sum()


def test_no_more_than_3_sentences_share_all_but_one_word(english):
    assert len(largest_template(list(everywhere(english)))) <= 3


def test_a_template_would_be_found():
    cups = ["I like tea.", "I like milk.", "We like tea.", "I like cold tea."]
    assert largest_template(cups) in ({cups[0], cups[1]}, {cups[0], cups[2]})
    assert len(largest_template([*cups, "I like coffee."])) == 3


def test_training_sentences_begin_in_many_ways(english):
    """No three words open more than 1 % of them."""
    openings = Counter(tuple(words(sentence)[:3]) for sentence in english["train"])
    assert openings.most_common(1)[0][1] <= 0.01 * len(english["train"])


def test_the_readme_describes_these_files(files):
    readme = (FOLDER / "README.md").read_text("utf-8")
    for name, lines in files.items():
        assert f"| {name} | {len(lines) - 1:,} |" in readme
    for turn in TEST_TURNS:
        assert f"| {turn} |" in readme
    for turn in DEV_TURNS:
        assert f'"{turn}"' in readme
