"""The rows that a model is measured on: a split of a data set, or all of them together."""

import sys
from typing import Literal, Protocol, TypeVar

from tfcamp.errors import UserError

SplitName = Literal["train", "dev", "test", "all"]
Split = TypeVar("Split", covariant=True)


class SplitDataset(Protocol[Split]):
    """What data sets of texts, of pictures and of sentence pairs have in common."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that the user should read."""
        ...

    @property
    def train(self) -> Split:
        """The training split."""
        ...

    @property
    def dev(self) -> Split:
        """The validation split."""
        ...

    @property
    def test(self) -> Split | None:
        """The test split, if there is one."""
        ...


def splits_to_measure(
    dataset: SplitDataset[Split], split: SplitName, name: str
) -> tuple[Split, ...]:
    """Tells a data set's notes on stderr, and returns the one split or all that there are.

    Args:
      dataset: any.
      split: what to measure on.
      name: of the data set as the user gave it, for the message.

    Raises:
      UserError: the data set has no such split.
    """
    for note in dataset.notes:
        print(f"note: {note}", file=sys.stderr)
    splits = {"train": dataset.train, "dev": dataset.dev, "test": dataset.test}
    found = splits.values() if split == "all" else [splits[split]]
    present = tuple(part for part in found if part is not None)
    if not present:
        raise UserError(f"{name} has no {split} split: try --split dev")
    return present
