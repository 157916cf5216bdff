"""A task that proves the code without data: letters, to be written backwards."""

import hashlib
import random
import string
from collections.abc import Iterator

from tfcamp.data.parallel_splits import ParallelDataset, ParallelRow, ParallelSplit

LANGUAGES = ("letters", "reversed")
NUM_ROWS = {"train": 20_000, "dev": 500, "test": 500}
# Of shorter ones there are too few that differ.
LENGTHS = range(4, 13)

_SEED = 0


def load_reversal(direction: tuple[str, str] = LANGUAGES) -> ParallelDataset:
    """Returns sequences of letters and the same ones reversed, always the same ones.

    No sequence stands twice, in one split or in two. Letters are separated by spaces, so that
    subwords are letters.

    >>> next(iter(load_reversal().test))
    ParallelRow(source='j w g n r h', target='h r n g w j')
    """
    draw = random.Random(_SEED)
    texts: dict[str, None] = {}
    while len(texts) < sum(NUM_ROWS.values()):
        letters = draw.choices(string.ascii_lowercase, k=draw.choice(LENGTHS))
        texts[" ".join(letters)] = None
    sequences = list(texts)
    splits = []
    for split, num_rows in NUM_ROWS.items():
        own, sequences = sequences[:num_rows], sequences[num_rows:]
        splits.append(_split(f"reverse ({split})", own))
    train, dev, test = splits
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return ParallelDataset("reverse", *direction, train, dev, test, digest)


def _split(origin: str, sequences: list[str]) -> ParallelSplit:
    def rows() -> Iterator[ParallelRow]:
        return (ParallelRow(text, text[::-1]) for text in sequences)

    return ParallelSplit(origin, len(sequences), rows)
