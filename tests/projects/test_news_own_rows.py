"""Rows of other kinds than the sample: a competition's anonymised ids, and the user's few rows."""

import json
import random

import pytest

from projects.news.train import main
from tests.projects.tiny import tiny_config
from tfcamp.data.text_tianchi import CLASSES

NUM_TEST_ROWS = 9


@pytest.fixture
def competition(tmp_path):
    """A data folder as the competition ships it, made up: each class has words of its own."""
    draw = random.Random(0)
    folder = tmp_path / "data/tianchi_news"
    folder.mkdir(parents=True)

    def article(label: int) -> str:
        return " ".join(str(draw.choice([3750, 648, 100 + label])) for _ in range(30))

    rows = [f"{label}\t{article(label)}" for label in range(len(CLASSES)) for _ in range(10)]
    draw.shuffle(rows)
    (folder / "train_set.csv").write_text("\n".join(["label\ttext", *rows]) + "\n")
    texts = [article(label) for label in range(NUM_TEST_ROWS)]
    (folder / "test_a.csv").write_text("\n".join(["text", *texts]) + "\n")
    return folder.parent


def test_the_competition_gets_its_submission(competition, tmp_path, capsys):
    run_dir = tmp_path / "run"
    main(tiny_config(run_dir, dataset="tianchi_news", data_dir=competition, tokens="word+char"))
    header, *labels = (run_dir / "submission.csv").read_text("utf-8").split("\n")
    assert header == "label" and labels.pop() == ""
    assert len(labels) == NUM_TEST_ROWS
    assert all(0 <= int(label) < 14 for label in labels)
    assert f"the predictions are in {run_dir / 'submission.csv'}" in capsys.readouterr().out

    metrics = json.loads((run_dir / "metrics.json").read_text("utf-8"))
    assert metrics["dev"]["rows"] == 14 and "test" not in metrics
    # Tokens are the ids as they stand: jieba has nothing to cut, and there are no characters.
    tokens = (run_dir / "data/vocabulary.word.txt").read_text("utf-8").split()
    assert set(tokens[2:]) == {"3750", "648", *(str(100 + label) for label in range(14))}
    assert not (run_dir / "data/vocabulary.char.txt").exists()


def test_few_rows_of_many_classes_with_an_unlabelled_test(tmp_path):
    """No word is frequent enough for the vocabulary, so there is no map of words to draw."""
    folder, run_dir = tmp_path / "rows", tmp_path / "run"
    folder.mkdir()
    rows = [f"{chr(0x4E00 + number)}\t第{number}类\n" for number in range(16)]
    (folder / "train.tsv").write_text("".join(rows), "utf-8")
    (folder / "dev.tsv").write_text(rows[3], "utf-8")
    (folder / "test.tsv").write_text("text\n甲\n\n乙\n", "utf-8")
    main(tiny_config(run_dir, dataset=str(folder)))
    predictions = (run_dir / "predictions.txt").read_text("utf-8").splitlines()
    assert len(predictions) == 3  # an empty line is an empty text
    assert set(predictions) <= {row.split("\t")[1].strip() for row in rows}
    assert not (run_dir / "submission.csv").exists()
    assert not (run_dir / "figures/word_map.svg").exists()
    page = (run_dir / "report.html").read_text("utf-8")
    assert "Confusion matrix" in page and "Map of words" not in page
