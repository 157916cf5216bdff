"""House numbers as rows of digit labels, and back.

A number of up to six digits is a row ``int32[MAX_DIGITS]``: its digits from left to right, then
`NO_DIGIT`. A number is a string throughout, because 007 is not 7.
"""

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcamp.errors import UserError

MAX_DIGITS = 6
NO_DIGIT = -1

_PATTERN = re.compile(f"[0-9]{{1,{MAX_DIGITS}}}")


def check_number(number: str, where: str) -> str:
    """Returns a number as it is, once it is known to be one that labels can hold.

    Args:
      number: one to six of the digits 0 to 9.
      where: the file and the entry that it stands in, for the message.

    Raises:
      UserError: it is empty, has more digits, or holds anything else.
    """
    if _PATTERN.fullmatch(number):
        return number
    if not number:
        raise UserError(f"{where}: expected a number of 1 to {MAX_DIGITS} digits, got an empty one")
    shown = repr(number if len(number) <= 20 else number[:19] + "…")
    if re.fullmatch("[0-9]+", number):
        raise UserError(
            f"{where}: number {shown} has {len(number)} digits, expected at most {MAX_DIGITS}; "
            "leave the image out, or raise MAX_DIGITS in tfcamp/vision/digits.py"
        )
    raise UserError(f"{where}: number {shown} holds something else than the digits 0 to 9")


def number_to_labels(number: str) -> npt.NDArray[np.int32]:
    """Returns the labels int32[MAX_DIGITS] of a number.

    Raises:
      ValueError: it is no string of one to six digits; :func:`check_number` says so to users.

    >>> number_to_labels("1999")
    array([ 1,  9,  9,  9, -1, -1], dtype=int32)
    """
    if not _PATTERN.fullmatch(number):
        raise ValueError(f"number must be 1 to {MAX_DIGITS} of the digits 0 to 9, got {number!r}")
    labels = np.full(MAX_DIGITS, NO_DIGIT, np.int32)
    labels[: len(number)] = [int(digit) for digit in number]
    return labels


def labels_to_number(labels: npt.ArrayLike) -> str:
    """Returns the number that labels int[MAX_DIGITS] stand for; what holds no digit is left out.

    >>> labels_to_number([0, 0, 7, -1, -1, -1])
    '007'
    """
    return "".join(str(digit) for digit in np.asarray(labels).tolist() if digit != NO_DIGIT)


def numbers_to_labels(numbers: Iterable[str]) -> npt.NDArray[np.int32]:
    """Returns the labels int32[B, MAX_DIGITS] of B numbers.

    >>> numbers_to_labels(["5", "12"]).tolist()
    [[5, -1, -1, -1, -1, -1], [1, 2, -1, -1, -1, -1]]
    """
    rows = [number_to_labels(number) for number in numbers]
    return np.stack(rows) if rows else np.zeros((0, MAX_DIGITS), np.int32)


def labels_to_numbers(labels: npt.ArrayLike) -> list[str]:
    """Returns the B numbers that labels int[B, MAX_DIGITS] stand for."""
    return [labels_to_number(row) for row in np.asarray(labels)]


def join_digits(labels: tf.Tensor) -> tf.Tensor:
    """Returns the numbers string[B] that labels int[B, N] stand for, in core ops: for the export.

    >>> join_digits(tf.constant([[1, 9, -1], [-1, -1, -1]])).numpy().tolist()
    [b'19', b'']
    """
    names = tf.constant(["", *(str(digit) for digit in range(10))])
    return tf.strings.reduce_join(tf.gather(names, labels - NO_DIGIT), axis=-1)


def split_digits(numbers: tf.Tensor) -> tf.Tensor:
    """Returns the labels int32[B, MAX_DIGITS] of numbers string[B], in core ops: for tf.data.

    The numbers are those that :func:`check_number` lets pass; an empty one has no digits.

    >>> split_digits(tf.constant(["19", ""])).numpy().tolist()
    [[1, 9, -1, -1, -1, -1], [-1, -1, -1, -1, -1, -1]]
    """
    digits = tf.strings.to_number(tf.strings.bytes_split(numbers), tf.int32)
    return digits.to_tensor(NO_DIGIT, shape=[None, MAX_DIGITS])
