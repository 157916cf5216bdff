"""A look at a data set of sentence pairs before a model is trained on it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from tfcamp.data.check_report import (
    HARMFUL_SHARE,
    Report,
    SeenRows,
    quantiles,
    report_few,
    report_leakage,
    watch,
)
from tfcamp.data.fingerprints import Fingerprints, letters_of
from tfcamp.data.parallel_splits import ParallelDataset, ParallelSplit


def check_pairs(dataset: ParallelDataset) -> Report:
    """Reads all pairs once and tells what would harm training; keeps 32 bytes a pair."""
    languages = (dataset.source_language, dataset.target_language)
    report = Report(f"sentence pairs, {' to '.join(languages)}", notes=list(dataset.notes))
    lengths_of = [f"{code} {what}" for code in languages for what in ("median", "95 %", "max")]
    table: list[Sequence[str]] = [("rows", "empty", "repeated", *lengths_of, "(characters)")]
    seen = []
    for name, split in (("train", dataset.train), ("dev", dataset.dev), ("test", dataset.test)):
        if split is None:
            continue
        pairs = _Pairs(name, split, languages)
        seen.append(pairs)
        counts = (len(split), pairs.num_empty, pairs.rows.exact.num_repeated())
        columns = (column for lengths in pairs.lengths for column in quantiles(lengths))
        table.append((*(f"{count:,}" for count in counts), *columns, name))
        if pairs.num_copies:
            report.notes.append(
                f"{name}: {pairs.num_copies:,} of {len(split):,} pairs have the same text on both "
                "sides"
            )
    report.tables.append(table)
    report_leakage(report, [pairs.rows for pairs in seen])
    report_few(report, [pairs.rows for pairs in seen])
    for earlier, later in combinations(seen, 2):
        _report_shared_sides(report, earlier, later)
    return report


class _Pairs:
    """The pairs of a split that have two sides.

    Attributes:
      lengths: of the sentences of each side in characters, counted.
      num_empty: pairs that lack a side.
      num_copies: pairs whose sides are equal.
      rows: the pairs.
      sides: the sentences of each side.
    """

    def __init__(self, name: str, split: ParallelSplit, languages: tuple[str, str]) -> None:
        """Reads the split once."""
        self.lengths: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self.num_empty = self.num_copies = 0
        exact, near, *sides = (Fingerprints() for _ in range(4))
        for row in watch(split, name, len(split)):
            for lengths, sentence in zip(self.lengths, row, strict=True):
                lengths[len(sentence)] += 1
            if not row.has_both:
                self.num_empty += 1
                continue
            self.num_copies += row.source == row.target
            exact.add("\t".join(row).encode())
            near.add("\t".join(letters_of(sentence) or sentence for sentence in row).encode())
            for side, sentence in zip(sides, row, strict=True):
                side.add(sentence.encode())

        def show(side: int = 0) -> Iterator[str]:
            return (row[side] for row in split if row.has_both)

        self.rows = SeenRows(name, "pairs", exact, near, show)
        self.sides = [
            SeenRows(name, f"{language} sentences", side, None, lambda place=place: show(place))
            for place, (language, side) in enumerate(zip(languages, sides, strict=True))
        ]


def _report_shared_sides(report: Report, earlier: _Pairs, later: _Pairs) -> None:
    """Tells which sentences of a split stand in another one, in another pair."""
    shared_pairs = later.rows.exact.are_in(earlier.rows.exact)
    for is_source, ours, theirs in zip((True, False), later.sides, earlier.sides, strict=True):
        shared = ours.exact.are_in(theirs.exact) & ~shared_pairs
        if shared.any():
            report.tell(
                f"{ours.told(shared)} stand in {theirs.split} in another pair, such as "
                f"{ours.example(shared)}",
                # A model that was shown the sentence to translate may know the answer by heart.
                harmful=is_source and bool(shared.mean() > HARMFUL_SHARE),
            )
