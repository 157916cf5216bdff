"""Splitters of raw text: Chinese words as jieba cuts them, characters, white space.

Each is a ``tf.Module`` that maps string[B] to RaggedTensor string[B, None] in core TensorFlow ops,
so the same code runs in ``tf.data``, in training and inside an exported model.
"""

import math
import re
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcamp.errors import UserError
from tfcamp.text.viterbi import CPU, ViterbiSegmenter, decode, encode, mark_rows

_TEXTS = tf.TensorSpec([None], tf.string)

# jieba 0.42.1, re_han_default: only runs of these characters are cut by means of the dictionary.
_FIRST_HAN, _LAST_HAN = 0x4E00, 0x9FD5
_ALPHANUMERICS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SYMBOLS = "+#&._%-"
_OTHER, _IN_BLOCK, _ALPHANUMERIC = 0, 1, 2

# What is left of a line as the word although it was meant otherwise: jieba separates the fields by
# one space, wants an integer frequency and a tag in small letters, and takes the rest for the word.
_MISREAD = re.compile(r"[\t\r,;]|\s[-+]?[0-9]")


class ChineseSegmenter(tf.Module):
    """Cuts text into words, exactly as ``jieba.lcut(text, HMM=False)`` of jieba 0.42.1 does.

    Text is first cut into blocks: runs of Han characters, ASCII alphanumerics and ``+#&._%-``.
    Every other character is a token by itself, but CRLF is one. Each block is cut into the most
    probable words; a character stands in only where no word of the dictionary begins. Last,
    neighbouring alphanumerics that stayed single are joined.

    >>> segmenter = ChineseSegmenter()
    >>> [word.decode() for word in segmenter(tf.constant(["我爱北京天安门, iPhone7"]))[0].numpy()]
    ['我', '爱', '北京', '天安门', ',', ' ', 'iPhone7']
    """

    def __init__(self, user_dictionary: Path | str | None = None) -> None:
        """Builds the tables from jieba's dictionary.

        Args:
          user_dictionary: a file with one ``word [frequency] [tag]`` a line, UTF-8, added to
            jieba's own dictionary as by ``jieba.load_userdict``: a word without a frequency gets
            one that makes it win over its parts, and frequency 0 takes a word out.

        Raises:
          UserError: the file cannot be read, or has a line (named in the message) that jieba would
            take for something else than was meant.
        """
        super().__init__(name="chinese_segmenter")
        frequencies, total = _load_frequencies(user_dictionary)
        # Python's logarithms in jieba's order of operations: TensorFlow's differ in the last bit
        # for one frequency in five, which decides between cuts that are all but equally probable.
        log_total = math.log(total)
        self._viterbi = ViterbiSegmenter(
            list(frequencies),
            [math.log(frequency) - log_total for frequency in frequencies.values()],
            unknown_score=math.log(1) - log_total,
        )
        kinds = np.full(_LAST_HAN + 2, _OTHER, np.uint8)
        kinds[_FIRST_HAN : _LAST_HAN + 1] = _IN_BLOCK
        kinds[[ord(symbol) for symbol in _SYMBOLS]] = _IN_BLOCK
        kinds[[ord(letter) for letter in _ALPHANUMERICS]] = _ALPHANUMERIC
        with tf.device(CPU):
            self._kinds = tf.constant(kinds)

    @tf.function(input_signature=[_TEXTS], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Cuts each text into words.

        Args:
          texts: string[B], UTF-8; invalid bytes are read as U+FFFD.

        Returns:
          RaggedTensor string[B, None], the words of each text; joined they are the text.
        """
        with tf.device(CPU):
            characters, row_splits = decode(texts)
            rows = mark_rows(characters, row_splits)
            # All characters after the last Han one are of the other kind, like the first of them.
            kinds = tf.gather(self._kinds, tf.minimum(characters, _LAST_HAN + 1))
            outside = kinds == _OTHER
            blocks = rows | outside | _previous(outside)
            starts = self._viterbi.piece_starts(characters, blocks)

            ends = tf.concat([starts, [True]], 0)[1:]
            single = starts & ends & (kinds == _ALPHANUMERIC)
            joined = single & _previous(single)
            joined |= (characters == ord("\n")) & _previous(characters == ord("\r"))
            return encode(characters, row_splits, starts & (rows | ~joined))


def _previous(flags: tf.Tensor) -> tf.Tensor:
    """Returns bool[N], at each position the flag of the position before it."""
    return tf.concat([[False], flags], 0)[:-1]


class CharacterSplitter(tf.Module):
    """Cuts text into its characters (code points), white space included.

    >>> [token.decode() for token in CharacterSplitter()(tf.constant(["新闻 3"]))[0].numpy()]
    ['新', '闻', ' ', '3']
    """

    @tf.function(input_signature=[_TEXTS], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Maps string[B] to RaggedTensor string[B, None]; invalid bytes are read as U+FFFD."""
        return tf.strings.unicode_split(texts, "UTF-8", errors="replace")


class WhitespaceSplitter(tf.Module):
    """Cuts text that holds tokens already, at each run of ASCII white space, which is dropped.

    >>> WhitespaceSplitter()(tf.constant([" 3750 648  900"])).to_list()
    [[b'3750', b'648', b'900']]
    """

    @tf.function(input_signature=[_TEXTS], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Maps string[B] to RaggedTensor string[B, None]."""
        return tf.strings.split(texts)


def _load_frequencies(user_dictionary: Path | str | None) -> tuple[dict[str, int], int]:
    """Returns the frequency of each word, all above 0, and the total that jieba divides by."""
    # jieba 0.42.1 has regular expressions in plain strings (SyntaxWarning from Python 3.12 on) and
    # imports pkg_resources where there is one (deprecated).
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba

    entries = [] if user_dictionary is None else _read_user_dictionary(Path(user_dictionary))
    # A private tokenizer, filled directly: words that a program added to jieba's global one do not
    # matter here, nothing is logged, and no cache in the shared temporary folder is trusted.
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    for place, entry in entries:
        try:
            tokenizer.load_userdict([entry])
        except (ValueError, OverflowError) as error:
            raise UserError(f"{place}: the frequency is too large; divide all") from error
    # jieba also keeps the beginnings of words, with frequency 0.
    return {word: count for word, count in tokenizer.FREQ.items() if count}, tokenizer.total


def _read_user_dictionary(path: Path) -> list[tuple[str, str]]:
    """Returns (file:line, entry) of each line that is not empty."""
    from jieba import re_userdict

    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot read the user dictionary: {error.strerror}; expected a UTF-8 file with"
            ' one "word [frequency] [tag]" a line'
        ) from error
    entries = []
    for number, line in enumerate(lines, 1):
        place, line = f"{path}:{number}", line.strip()
        try:
            entry = line.decode("utf-8").lstrip("\ufeff")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{place}: expected UTF-8, got byte 0x{line[error.start]:02x}; is the file in "
                "gb18030? then convert it"
            ) from error
        if not entry:
            continue
        if _MISREAD.search(re_userdict.match(entry)[1]):
            raise UserError(
                f'{place}: expected "word [frequency] [tag]" with single spaces between, an '
                f"integer frequency and a tag in small letters, got {entry!r}"
            )
        entries.append((place, entry))
    return entries
