"""A look at a data set of labelled texts before a model is trained on it."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

from tfcamp.data.check_report import (
    Report,
    SeenRows,
    quantiles,
    report_contradictions,
    report_few,
    report_leakage,
    watch,
)
from tfcamp.data.fingerprints import Fingerprints, letters_of
from tfcamp.data.text_splits import TextDataset, TextSplit

# A class of fewer training rows is learnt by heart, if at all.
_FEW_ROWS = 10
# From this ratio of the largest class to the smallest on, `--class-weights balanced` may help.
_UNBALANCED = 10
_MOST_CLASSES = 30


def check_texts(dataset: TextDataset) -> Report:
    """Reads all rows once and tells what would harm training; keeps 20 bytes a row."""
    report = Report("labelled texts", notes=list(dataset.notes))
    splits = {"train": dataset.train, "dev": dataset.dev}
    if dataset.test is not None:
        splits["test"] = dataset.test
    header = ("rows", "empty", "repeated", "median", "95 %", "max", "(characters)")
    table: list[Sequence[str]] = [header]
    seen = []
    for name, split in splits.items():
        lengths, rows, labels = _read(name, split)
        seen.append(rows)
        num_empty = lengths.pop(0, 0)
        counts = (len(split), num_empty, rows.exact.num_repeated())
        table.append(
            (*(f"{count:,}" for count in counts), *(quantiles(lengths) if lengths else "---"), name)
        )
        if any(split.class_counts):
            report_contradictions(report, rows, labels, "labels")
            if sum(count > 0 for count in split.class_counts) == 1:
                report.findings.append(f"{name}: all {len(split):,} rows are of one class")
    report.tables += [table, _class_table(dataset.classes, splits)]
    report_leakage(report, seen)
    report_few(report, seen)
    _report_balance(report, dataset)
    return report


def _read(name: str, split: TextSplit) -> tuple[Counter[int], SeenRows, array]:
    """Returns lengths in characters of all rows, and of those with a text the rest."""
    lengths: Counter[int] = Counter()
    exact, near, labels = Fingerprints(), Fingerprints(), array("i")
    for row in watch(split, name, len(split)):
        lengths[len(row.text)] += 1
        if row.text:
            exact.add(row.text.encode())
            near.add((letters_of(row.text) or row.text).encode())
            labels.append(-1 if row.label is None else row.label)

    def show() -> Iterator[str]:
        return (row.text for row in split if row.text)

    return lengths, SeenRows(name, "texts", exact, near, show), labels


def _class_table(classes: Sequence[str], splits: dict[str, TextSplit]) -> list[Sequence[str]]:
    """Returns how many rows of each class are in each split."""
    rows: list[Sequence[str]] = [(*splits, "class")]
    numbers = list(range(len(classes)))
    if len(classes) > _MOST_CLASSES:
        numbers.sort(key=lambda number: -splits["train"].class_counts[number])
    for number in numbers[:_MOST_CLASSES]:
        counts = (f"{split.class_counts[number]:,}" for split in splits.values())
        rows.append((*counts, classes[number]))
    if len(classes) > _MOST_CLASSES:
        rest = f"… {len(classes) - _MOST_CLASSES:,} smaller classes"
        rows.append((*("" for _ in splits), rest))
    return rows


def _report_balance(report: Report, dataset: TextDataset) -> None:
    """Tells of classes that are small, or lack in the validation split."""
    train = {
        name: count
        for name, count in zip(dataset.classes, dataset.train.class_counts, strict=True)
        if count
    }
    few = [name for name, count in train.items() if count < _FEW_ROWS]
    if few:
        report.notes.append(f"train: fewer than {_FEW_ROWS} rows of class {_listed(few)}")
    largest, smallest = max(train.values()), min(train.values())
    if largest >= _UNBALANCED * smallest:
        report.notes.append(
            f"train: the largest class has {largest / smallest:,.0f} times as many rows as the "
            "smallest; --class-weights balanced may help"
        )
    unmeasured = [
        name
        for name, count in zip(dataset.classes, dataset.dev.class_counts, strict=True)
        if not count and name in train
    ]
    if unmeasured:
        report.notes.append(f"dev: no row of class {_listed(unmeasured)}")


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
