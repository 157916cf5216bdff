"""Tells equal rows by 64-bit hashes, so that a split of any size takes 8 bytes a row."""

import hashlib
import unicodedata
from array import array

import numpy as np
import numpy.typing as npt


def fingerprint(content: bytes) -> int:
    """Returns a number in [0, 2**64) that depends on nothing but the content.

    Among a million different contents two have the same number with a probability of 3e-8.
    """
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def seeded_fingerprint(text: str, seed: int = 0) -> int:
    """Returns a number in [0, 2**64) that depends on nothing but the text and the seed."""
    return fingerprint(f"{seed}\n{text}".encode())


def letters_of(text: str) -> str:
    """Returns the letters and digits of a text, in one case and width.

    >>> letters_of("Ｗｈｏ left the gate… open!")
    'wholeftthegateopen'
    """
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


class Fingerprints:
    """The fingerprints of a split's rows, in their order."""

    def __init__(self) -> None:
        """Begins without any."""
        self._numbers = array("Q")

    def add(self, content: bytes) -> None:
        """Adds that of a row."""
        self._numbers.append(fingerprint(content))

    def numbers(self) -> npt.NDArray[np.uint64]:
        """Returns uint64[N]."""
        return np.frombuffer(self._numbers, np.uint64)

    def num_repeated(self) -> int:
        """Returns how many rows stand in the split before as well."""
        return len(self._repeated())

    def are_in(self, other: "Fingerprints") -> npt.NDArray[np.bool_]:
        """Returns for each row whether another split has it as well, bool[N]."""
        return _are_in(self.numbers(), np.sort(other.numbers()))

    def with_several(self, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Returns for each row whether the same row has another value elsewhere, bool[N].

        Args:
          values: int[N], one for each row.

        >>> rows = Fingerprints()
        >>> for text in (b"a", b"b", b"a", b"b"):
        ...     rows.add(text)
        >>> rows.with_several([0, 1, 2, 1]).tolist()
        [True, False, True, False]
        """
        values = np.asarray(values)
        mask = _are_in(self.numbers(), self._repeated())
        # What stands there once, nearly everything, is left out of the costly part.
        pairs = np.unique(np.stack([self.numbers()[mask], values[mask].astype(np.uint64)]), axis=1)
        numbers, counts = np.unique(pairs[0], return_counts=True)
        mask[mask] = _are_in(self.numbers()[mask], numbers[counts > 1])
        return mask

    def _repeated(self) -> npt.NDArray[np.uint64]:
        """Returns the numbers of the rows that stand in the split before as well, sorted."""
        numbers = np.sort(self.numbers())
        return numbers[1:][numbers[1:] == numbers[:-1]]


def _are_in(
    numbers: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]
) -> npt.NDArray[np.bool_]:
    """Returns which numbers are among others that are sorted: `numpy.isin` in less memory."""
    if not len(others):
        return np.zeros(len(numbers), bool)
    places = np.searchsorted(others, numbers)
    np.minimum(places, len(others) - 1, out=places)
    return others[places] == numbers
