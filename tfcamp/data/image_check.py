"""A look at a data set of house numbers before a model is trained on it."""

import io
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from tfcamp.data.check_report import (
    HARMFUL_SHARE,
    Report,
    SeenRows,
    report_contradictions,
    report_few,
    report_leakage,
    watch,
)
from tfcamp.data.fingerprints import Fingerprints
from tfcamp.data.image_splits import ImageDataset, ImageSplit
from tfcamp.vision.windows import are_in_view


def check_images(dataset: ImageDataset) -> Report:
    """Reads all pictures once and tells what would harm training; keeps 13 bytes a picture."""
    kind = "pictures of single digits" if dataset.single_digit else "pictures of numbers"
    report = Report(kind, notes=list(dataset.notes))
    table: list[Sequence[str]] = [("rows", "repeated", "with boxes", "width", "height", "")]
    pictures = []
    for name, split in (("train", dataset.train), ("dev", dataset.dev), ("test", dataset.test)):
        if split is None:
            continue
        seen = _Pictures(name, split)
        pictures.append(seen)
        counts = (len(split), seen.rows.exact.num_repeated(), seen.num_boxed)
        sides = (f"{min(side)} to {max(side)}" for side in (seen.widths, seen.heights))
        table.append((*(f"{count:,}" for count in counts), *sides, name))
        out_of_view = np.frombuffer(seen.out_of_view, np.bool_)
        if out_of_view.any():
            report.tell(
                f"{seen.rows.told(out_of_view)} have a box that lies outside of them or has no "
                f"area, such as {seen.rows.example(out_of_view)}; boxes are left, top, width and "
                "height in pixels",
                harmful=bool(out_of_view.mean() > HARMFUL_SHARE),
            )
        if split.labelled:
            report_contradictions(report, seen.rows, seen.numbers, "numbers")
            if len(seen.numbers) > 1 and len(set(seen.numbers)) == 1:
                report.findings.append(f"{name}: all {len(split):,} pictures show one number")
        else:
            report.notes.append(f"{name}: has no labels")
    report.tables += [table, _digit_table(pictures, dataset.single_digit)]
    report_leakage(report, [seen.rows for seen in pictures])
    report_few(report, [seen.rows for seen in pictures])
    return report


class _Pictures:
    """The pictures of a split.

    Attributes:
      widths: in pixels, counted; and so are heights.
      heights: see there.
      num_boxed: pictures whose digits have boxes.
      out_of_view: bool[N], whether a digit's box is of no use, see `are_in_view`.
      digits: how often each digit is shown.
      numbers: int[N], each picture's number with a 1 before it, since 007 is not 7; 0 if unknown.
      lengths: how many numbers have one digit, two digits and so on.
      rows: fingerprints of the files.
    """

    def __init__(self, name: str, split: ImageSplit) -> None:
        """Reads the split once."""
        self.widths: Counter[int] = Counter()
        self.heights: Counter[int] = Counter()
        self.digits: Counter[str] = Counter()
        self.numbers = array("i")
        self.lengths = split.length_counts
        self.num_boxed = 0
        self.out_of_view = bytearray()
        exact = Fingerprints()
        for row in watch(split, name, len(split)):
            exact.add(row.image)
            with Image.open(io.BytesIO(row.image)) as image:  # its header alone is read
                self.widths[image.width] += 1
                self.heights[image.height] += 1
                size = image.height, image.width
            self.digits.update(row.number or "")
            self.numbers.append(int(f"1{row.number}") if row.number else 0)
            self.num_boxed += row.boxes is not None
            self.out_of_view.append(row.boxes is not None and not are_in_view(row.boxes, size))

        def show() -> Iterator[str]:
            return (row.name for row in split)

        self.rows = SeenRows(name, "pictures", exact, None, show)


def _digit_table(pictures: Sequence[_Pictures], single_digit: bool) -> list[Sequence[str]]:
    """Returns how many numbers of each length, and how many of each digit, a split has."""
    rows: list[Sequence[str]] = [(*(seen.rows.split for seen in pictures), "")]
    if not single_digit:
        for place in range(len(pictures[0].lengths)):
            counts = [seen.lengths[place] for seen in pictures]
            if any(counts):
                what = f"numbers of {place + 1} digit{'s' if place else ''}"
                rows.append((*(f"{count:,}" for count in counts), what))
    for digit in "0123456789":
        rows.append((*(f"{seen.digits[digit]:,}" for seen in pictures), f"digit {digit}"))
    return rows
