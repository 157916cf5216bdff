"""Guesses in which encoding a text is that is not UTF-8, so that a message can name it."""

from collections.abc import Callable

# Guessed only where at least this share of the characters beyond ASCII are everyday ones.
_LEAST_SHARE = 0.6


def likely_encoding(sample: bytes) -> str | None:
    """Returns iconv's name of the encoding that a text most likely has.

    Each multi-byte encoding keeps its everyday characters together in a block of their own: a text
    that is read in the wrong one is full of rare characters.

    Args:
      sample: some lines that are not UTF-8 as a whole.

    Returns:
      `utf-8` where nearly all of it is, and something in it is damaged; None where nothing fits.

    >>> likely_encoding("央行降息 股市大涨".encode("gbk"))
    'gb18030'
    >>> likely_encoding("Mädchen spielen Fußball".encode("latin-1"))
    'cp1252'
    """
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):  # Notepad's and Excel's "Unicode"
        return "utf-16"
    read = [character for character in sample.decode(errors="replace") if character > "\x7f"]
    if read.count("\ufffd") < len(read) / 4:
        return "utf-8"
    shares = {name: _everyday_share(sample, name) for name in _IS_EVERYDAY}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _LEAST_SHARE else None


def _everyday_share(sample: bytes, encoding: str) -> float:
    """Returns which share of the characters beyond ASCII are everyday ones, read this way."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError as error:
        if error.end < len(sample):
            return 0.0
        text = sample[: error.start].decode(encoding)  # the sample ends within a character
    places = [place for place, character in enumerate(text) if character > "\x7f"]
    is_everyday = _IS_EVERYDAY[encoding]
    num_everyday = sum(
        is_everyday(text[place].encode(encoding), text[place - 1 : place] + text[place + 1 :][:1])
        for place in places
    )
    return num_everyday / len(places) if places else 0.0


def _in_blocks(*blocks: tuple[int, int, int]) -> Callable[[bytes, str], bool]:
    """Returns whether a character of two bytes is in a block: first byte from, to, second from."""

    def is_inside(code: bytes, _: str) -> bool:
        return len(code) == 2 and any(
            first <= code[0] <= last and code[1] >= second for first, last, second in blocks
        )

    return is_inside


def _is_letter_in_a_word(code: bytes, neighbours: str) -> bool:
    return chr(code[0]).isalpha() and any(
        letter.isascii() and letter.isalpha() for letter in neighbours
    )


# Punctuation, then the block that holds the frequent characters. A tie goes to the first.
_IS_EVERYDAY = {
    "gb18030": _in_blocks((0xA1, 0xA3, 0xA1), (0xB0, 0xD7, 0xA1)),
    "big5": _in_blocks((0xA1, 0xA3, 0x40), (0xA4, 0xC6, 0x40)),
    "shift_jis": _in_blocks((0x81, 0x83, 0x40), (0x88, 0x97, 0x40)),
    "cp1252": _is_letter_in_a_word,
}
