"""The embedded headlines are a data set of their own: balanced, without copies, valid rows."""

from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from tfcamp.data.sources import TextDataset, load_text_dataset

CLASSES = set("财经 股票 房产 教育 科技 社会 时政 体育 游戏 娱乐".split())


@pytest.fixture(scope="module")
def sample() -> TextDataset:
    return load_text_dataset("sample", data_dir=None, seed=0)


@pytest.fixture(scope="module")
def texts(sample: TextDataset) -> dict[str, list[str]]:
    splits = {"train": sample.train, "dev": sample.dev, "test": sample.test}
    return {name: [row.text for row in rows or ()] for name, rows in splits.items()}


def near_duplicates(texts: list[str], limit: float = 0.5) -> list[tuple[str, str]]:
    """Returns the pairs whose sets of character 3-grams have a Jaccard index above the limit."""
    grams = CountVectorizer(
        analyzer="char", ngram_range=(3, 3), lowercase=False, binary=True, dtype=np.int32
    ).fit_transform(texts)
    sizes = np.asarray(grams.sum(axis=1)).ravel()
    shared = (grams @ grams.T).tocoo()  # only pairs that share a 3-gram stand in it
    union = sizes[shared.row] + sizes[shared.col] - shared.data
    alike = (shared.row < shared.col) & (shared.data > limit * union)
    return [(texts[i], texts[j]) for i, j in zip(shared.row[alike], shared.col[alike], strict=True)]


def test_the_ten_classes(sample):
    assert set(sample.classes) == CLASSES and len(sample.classes) == 10
    assert sample.notes == () and not sample.pretokenized


def test_at_least_100_training_headlines_of_each_class(sample):
    assert min(sample.train.class_counts) >= 100


def test_every_class_is_measured_on_dev_and_test(sample):
    assert sample.test is not None
    assert min(sample.dev.class_counts) >= 10 and min(sample.test.class_counts) >= 10
    assert all(row.label is not None for row in sample.test)


def test_no_headline_stands_twice_in_any_split(texts):
    counts = Counter(text.strip() for split in texts.values() for text in split)
    assert [text for text, count in counts.items() if count > 1] == []


def test_headlines_are_one_line_of_a_newspaper(texts):
    for text in (text for split in texts.values() for text in split):
        assert text == text.strip() and 4 <= len(text) <= 60, text
        assert any("\u4e00" <= character <= "\u9fff" for character in text), text


def test_no_near_duplicates(texts):
    assert near_duplicates([text for split in texts.values() for text in split]) == []


def test_a_near_duplicate_would_be_found():
    cut = "央行下调存款利率"
    assert near_duplicates([cut, "央行上调存款利率", "主队客场逆转夺冠"]) == []  # 3 of 9 shared
    assert near_duplicates(["主队客场逆转夺冠", cut, cut + "了"]) == [(cut, cut + "了")]  # 6 of 7


def test_no_class_can_be_told_by_its_place_in_the_file(sample):
    """Rows are shuffled: neighbours are of the same class about once in ten."""
    labels = np.array([row.label for row in sample.train])
    assert 0.05 < np.mean(labels[1:] == labels[:-1]) < 0.2
