"""The bar to clear: a linear support-vector machine over character n-grams, by scikit-learn.

    python projects/news/baseline.py --dataset thucnews --data-dir DIR

TF-IDF weighs each n-gram by how rare it is; the machine then draws one plane for each class (Fan
et al., 2008). It knows no word order beyond the n-gram, trains in a minute, and many a neural
network of the textbooks does not beat it.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

from tfcamp.cli import run_project
from tfcamp.data.sources import load_text_dataset
from tfcamp.errors import UserError

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC


@dataclass(frozen=True)
class BaselineConfig:
    """Options of ``baseline.py``."""

    dataset: str = "sample"
    """As in train.py: sample, thucnews, tianchi_news, or a path to your own rows."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each."""
    max_ngram: int = 2
    """Longest n-gram, in characters (in tokens, where the rows are tokens)."""
    regularisation: float = 1.0
    """Inverse strength of the regularisation, C of LinearSVC."""
    seed: int = 0
    """Seed of the solver, and of the cut of a lone file."""

    def __post_init__(self) -> None:
        """Refuses values that cannot work.

        Raises:
          UserError: one line that names the option.
        """
        if self.max_ngram < 1:
            raise UserError(f"--max-ngram {self.max_ngram}: expected at least 1")
        if not 0 < self.regularisation < math.inf:
            raise UserError(f"--regularisation {self.regularisation}: expected a number above 0")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed {self.seed}: expected at least 0 and below 2**32")


def main(config: BaselineConfig) -> None:
    """Train and measure a linear SVM on the same rows as train.py."""
    dataset = load_text_dataset(config.dataset, data_dir=config.data_dir, seed=config.seed)
    started = time.monotonic()
    vectorizer = TfidfVectorizer(
        analyzer="word" if dataset.pretokenized else "char",
        token_pattern=r"\S+" if dataset.pretokenized else None,
        ngram_range=(1, config.max_ngram),
        sublinear_tf=True,
    )
    svm = make_pipeline(vectorizer, LinearSVC(C=config.regularisation, random_state=config.seed))
    svm.fit([row.text for row in dataset.train], [row.label for row in dataset.train])
    result = {"dataset": dataset.name, "sha256": dataset.sha256, "seed": config.seed}
    print(f"{'split':<8}{'rows':>8}{'accuracy':>10}{'macro F1':>10}")
    for name, rows in (("dev", dataset.dev), ("test", dataset.test)):
        if rows is None or next(iter(rows)).label is None:
            continue
        labels = [row.label for row in rows]
        predicted = svm.predict([row.text for row in rows])
        scores = {
            "accuracy": float(accuracy_score(labels, predicted)),
            "macro_f1": float(f1_score(labels, predicted, average="macro")),
        }
        result[name] = scores
        print(f"{name:<8}{len(rows):>8,}{scores['accuracy']:>10.4f}{scores['macro_f1']:>10.4f}")
    result["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    run_project(main, BaselineConfig)
