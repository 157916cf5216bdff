"""Word vectors that others have published: word2vec and GloVe files, read as a stream.

Formats: word2vec's ``-binary 0`` and ``-binary 1`` (code.google.com/p/word2vec) begin with a line
"N D"; GloVe's text (nlp.stanford.edu/projects/glove) is the former without that line. Tencent's,
fastText's ``.vec`` and the Chinese-Word-Vectors files are word2vec text. Each may be gzipped.
"""

import codecs
import gzip
import re
import zlib
from array import array
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import numpy as np
from numpy.typing import ArrayLike

from tfcamp.errors import UserError
from tfcamp.text.word_vectors import WordVectors

# No line or word of a sound file is longer; without a bound, a file of another kind that has no
# line ends would be read into memory as one line.
_LONGEST_LINE = 1 << 20
_LONGEST_WORD = 1 << 16
_BROKEN = "is the file cut short? then download it again"


def load_word_vectors(
    path: Path | str, *, vocabulary: Collection[str] | None = None
) -> WordVectors:
    """Reads a file of word vectors; the format is recognised by the content.

    The file is streamed: memory holds the vectors that are kept and nothing else, so give a
    vocabulary when the file is large. Of a word that stands twice the first vector counts.

    Args:
      path: word2vec text or binary, GloVe text, each also gzipped; or what `WordVectors.save`
        wrote (``.npz``).
      vocabulary: the words to keep, a set for speed; None for all. Rows of other words are checked
        for their width only.

    Returns:
      The vectors in the file's order.

    Raises:
      UserError: the file is missing, empty, cut short or no such file; names file and line.
    """
    path = Path(path)
    keep = None if vocabulary is None else frozenset(vocabulary)
    if path.suffix == ".npz":
        vectors = WordVectors.load(path)
        rows = [i for i, token in enumerate(vectors.tokens) if keep is None or token in keep]
        return WordVectors(tuple(vectors.tokens[i] for i in rows), vectors.vectors[rows])
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not zipped:
                return _Reader(path, plain, keep).read()
            with gzip.open(plain) as unzipped:
                return _Reader(path, cast(BinaryIO, unzipped), keep).read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; expected word2vec or GloVe vectors") from error
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: the gzip data ends too early or is damaged; {_BROKEN}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Reader:
    """Reads one open file and knows where in it a mistake stands."""

    def __init__(self, path: Path, file: BinaryIO, keep: frozenset[str] | None) -> None:
        self.path = path
        self.file = file
        self.keep = keep
        self.line = 0
        self.place = ""
        # A dictionary keeps the order of insertion; the numbers lie in one growing block.
        self.tokens: dict[str, None] = {}
        self.numbers = array("f")

    def read(self) -> WordVectors:
        first = self._next_line()
        if not first.strip():
            raise UserError(f"{self.path}: empty; expected word2vec or GloVe vectors")
        header = re.fullmatch(rb"\s*(\d{1,12}) +(\d{1,6})\s*", first)
        if header is None:
            size = len(_fields(first)) - 1
            self._add_line(first, size)
            self._read_text(size, None)
        else:
            num_rows, size = int(header[1]), int(header[2])
            if not size:
                self._fail("expected vectors of width 1 or more")
            if self._is_binary(size):
                self._read_binary(size, num_rows)
            else:
                self._read_text(size, num_rows)
        vectors = np.frombuffer(self.numbers, np.float32).reshape(-1, size)
        return WordVectors(tuple(self.tokens), vectors)

    def _is_binary(self, size: int) -> bool:
        """Tells the two word2vec formats apart by the bytes after the first word."""
        start = self.file.tell()
        numbers = self.file.read(_LONGEST_WORD).partition(b" ")[2]
        self.file.seek(start)
        row, line_feed, _ = numbers.partition(b"\n")
        if line_feed and re.fullmatch(rb"[-+.\deEinfaNINFA \r]{2,}", row):
            return False
        numbers = numbers[: 4 * size]
        try:
            # Incremental, because the last character may have been cut in two.
            codecs.getincrementaldecoder("utf-8")().decode(numbers)
        except UnicodeDecodeError:
            return True
        return re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", numbers) is not None

    def _read_text(self, size: int, num_rows: int | None) -> None:
        row = 0 if num_rows is not None else 1
        while line := self._next_line():
            if not line.strip(b" \r\n"):
                continue
            row += 1
            if num_rows is not None and row > num_rows:
                self._fail(f"expected {num_rows:,} vectors, as line 1 says, got more")
            self._add_line(line, size)
        if num_rows is not None and row < num_rows:
            self._fail(f"the file ends after {row:,} of {num_rows:,} vectors; {_BROKEN}")

    def _add_line(self, line: bytes, size: int) -> None:
        fields = _fields(line)
        # A published word may hold spaces (". . ." of GloVe 840B), so the numbers are taken from
        # the right; a number left over shows a row that is wider than the others.
        cut = max(len(fields) - size, 0)
        word, numbers = fields[:cut], fields[cut:]
        if size < 1 or not word or any(map(_is_number, word[1:])):
            expected = f"{size} numbers" if size > 0 else "numbers"
            self._fail(
                f"expected a word and {expected} with spaces between, "
                f"got {len(fields)} field{'s' * (len(fields) > 1)}; {_BROKEN}"
            )
        token = self._decode(b" ".join(word))
        if self._wanted(token):
            try:
                self._add(token, list(map(float, numbers)))
            except ValueError:
                bad = next(number for number in numbers if not _is_number(number))
                self._fail(f"expected a number, got {bad[:40].decode(errors='replace')!r}")

    def _read_binary(self, size: int, num_rows: int) -> None:
        for row in range(1, num_rows + 1):
            self.place = f" vector {row:,}"
            word = bytearray()
            while (byte := self.file.read(1)) != b" ":
                if not byte or len(word) > _LONGEST_WORD:
                    self._fail(f"expected {num_rows:,} vectors, the file ends before; {_BROKEN}")
                word += byte
            data = self.file.read(4 * size)
            if len(data) < 4 * size:
                self._fail(f"expected {num_rows:,} vectors, the file ends before; {_BROKEN}")
            # Google's own files end each vector with a line feed, gensim's do not.
            token = self._decode(bytes(word).lstrip(b"\n"))
            if self._wanted(token):
                self._add(token, np.frombuffer(data, "<f4"))
        if self.file.read(_LONGEST_WORD).strip():
            self._fail(f"expected {num_rows:,} vectors of width {size}, as line 1 says, got more")

    def _wanted(self, token: str) -> bool:
        return (self.keep is None or token in self.keep) and token not in self.tokens

    def _add(self, token: str, numbers: ArrayLike) -> None:
        with np.errstate(over="ignore"):  # it becomes infinity, which is refused
            values = np.asarray(numbers, np.float32)
        if not np.isfinite(values).all():
            self._fail(f"expected finite numbers for {token!r}, got nan or infinity")
        self.tokens[token] = None
        self.numbers.frombytes(values.tobytes())

    def _next_line(self) -> bytes:
        line = self.file.readline(_LONGEST_LINE)
        if line:
            self.line += 1
            self.place = str(self.line)
        if len(line) == _LONGEST_LINE:
            self._fail("the line is longer than 1 MiB; expected word2vec or GloVe vectors")
        return line

    def _decode(self, word: bytes) -> str:
        try:
            return word.decode()
        except UnicodeDecodeError as error:
            self._fail(
                f"byte 0x{word[error.start]:02x} is not UTF-8; is the file in gb18030? "
                "then convert it: iconv -f gb18030 -t utf-8"
            )

    def _fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.path}:{self.place}: {what}")


def _fields(line: bytes) -> list[bytes]:
    return line.strip(b" \t\r\n").replace(b"\t", b" ").split(b" ")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
