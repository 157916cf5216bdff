"""From raw text to the token ids that a model reads: the same code in training and in serving."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from tfcamp.text.vocabulary import PADDING_ID, UNKNOWN_ID, Vocabulary

# A text is cut to this many characters for each token that the model reads, before any work is
# done on it: a 100,000-character string then costs no more than a long headline.
CHARACTERS_PER_TOKEN = 8
# White space counts as little as it shows: a text may take so many times its bytes with it.
_BYTES_WITH_SPACE = 16
# What str.isspace() says, in RE2's words, whose \s knows five characters only.
_WHITE_SPACE = r"[\p{Z}\x{09}-\x{0D}\x{1C}-\x{1F}\x{85}]+"

_NGRAMS = {"char": 1, "char2": 2, "char3": 3}


class TextTokenizer(tf.Module):
    """Splits text into aligned streams of tokens, without white space and stop words.

    The streams are ``word`` (what the splitter yields), ``char`` (one token a character) and
    ``char2``, ``char3`` (two or three characters in a row). With any but ``word``, position t is a
    character: ``word[b, t]`` is the word that it stands in, ``char2[b, t]`` the pair that it
    begins, empty where the text ends first. So a model can read all of them side by side.

    >>> from tfcamp.text.chinese import WhitespaceSplitter
    >>> tokenizer = TextTokenizer(WhitespaceSplitter(), ("word", "char", "char2"), max_length=5)
    >>> for name, tokens in tokenizer(["ab c"]).items():
    ...     print(name, [token.decode() for token in tokens.values.numpy()])
    word ['ab', 'ab', 'c']
    char ['a', 'b', 'c']
    char2 ['ab', 'bc', '']
    """

    def __init__(
        self,
        splitter: Callable[[tf.Tensor], tf.RaggedTensor],
        streams: Sequence[str],
        *,
        max_length: int,
        stop_words: Sequence[str] = (),
    ) -> None:
        """Keeps the parts.

        Args:
          splitter: string[B] to RaggedTensor string[B, None].
          streams: any of "word", "char", "char2" and "char3".
          max_length: tokens kept of each text, the first ones.
          stop_words: tokens of the splitter that are left out.

        Raises:
          ValueError: unknown streams, or max_length below 1.
        """
        super().__init__(name="tokenizer")
        if not streams or not set(streams) <= {"word", *_NGRAMS}:
            raise ValueError(f"streams must be of 'word' and {list(_NGRAMS)}, got {streams!r}")
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.streams = tuple(streams)
        self.max_length = max_length
        self._splitter = splitter
        self._stop_words = Vocabulary(sorted(set(stop_words)))

    def split(self, text) -> tf.RaggedTensor:
        """Returns the splitter's tokens, RaggedTensor string[B, None]; text is string[B]."""
        tokens = self._splitter(self._tidy(tf.convert_to_tensor(text, tf.string)))
        kept = tf.not_equal(tokens.flat_values, " ")
        if len(self._stop_words) > 2:
            kept &= self._stop_words(tokens.flat_values) == UNKNOWN_ID
        return tf.ragged.boolean_mask(tokens, tokens.with_flat_values(kept))

    def __call__(self, text) -> dict[str, tf.RaggedTensor]:
        """Splits texts into the streams.

        Args:
          text: string[B], UTF-8; invalid bytes are read as U+FFFD.

        Returns:
          for each stream a RaggedTensor string[B, None] with at most max_length tokens a row.
        """
        tokens = self.split(text)
        if self.streams == ("word",):
            return {"word": tokens[:, : self.max_length]}
        characters = tf.strings.unicode_split(tokens, "UTF-8")  # [B, words, characters]
        words = tf.repeat(tokens.flat_values, characters.values.row_lengths())
        characters = characters.merge_dims(1, 2)
        aligned = {"word": characters.with_flat_values(words)}
        for name, size in _NGRAMS.items():
            aligned[name] = characters.with_flat_values(_ngrams(characters, size))
        return {name: aligned[name][:, : self.max_length] for name in self.streams}

    def _tidy(self, text: tf.Tensor) -> tf.Tensor:
        """Bounds the length, mends invalid UTF-8 and turns each run of white space into a space."""
        limit = CHARACTERS_PER_TOKEN * self.max_length
        num_bytes = 4 * limit  # a character has at most four
        text = tf.strings.substr(text, 0, _BYTES_WITH_SPACE * num_bytes)
        text = tf.strings.regex_replace(text, _WHITE_SPACE, " ")
        text = tf.strings.substr(text, 0, num_bytes)
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        return tf.strings.substr(text, 0, limit, unit="UTF8_CHAR")


class TextEncoder(tf.Module):
    """Raw text to padded ids, in core TensorFlow ops: fit on the training split, then exported."""

    def __init__(self, tokenizer: TextTokenizer, vocabularies: Mapping[str, Vocabulary]) -> None:
        """Keeps the parts.

        Args:
          tokenizer: yields the streams.
          vocabularies: one for each stream.

        Raises:
          ValueError: the vocabularies are not those of the tokenizer's streams.
        """
        super().__init__(name="encoder")
        if set(vocabularies) != set(tokenizer.streams):
            raise ValueError(f"vocabularies {set(vocabularies)} != streams {tokenizer.streams}")
        self.tokenizer = tokenizer
        self.vocabularies = dict(vocabularies)

    @property
    def streams(self) -> dict[str, int]:
        """The size of each stream's vocabulary."""
        return {name: len(self.vocabularies[name]) for name in self.tokenizer.streams}

    def encode(self, text) -> dict[str, tf.RaggedTensor]:
        """Returns each stream's ids, RaggedTensor int32[B, None]; text is string[B]."""
        tokens = self.tokenizer(text)
        return {
            name: ragged.with_flat_values(self.vocabularies[name](ragged.flat_values))
            for name, ragged in tokens.items()
        }

    def __call__(self, text, *, static_length: bool = False) -> dict[str, tf.Tensor]:
        """Encodes and pads texts.

        Args:
          text: string[B].
          static_length: pad to the tokenizer's max_length instead of the longest row.

        Returns:
          for each stream int32[B, T], 0 after the end of a row; T is at least 1.
        """
        encoded = self.encode(text)
        if static_length:
            shape = [None, self.tokenizer.max_length]
        else:
            # Recurrent layers need at least one step, also where every text is empty.
            lengths = encoded[self.tokenizer.streams[0]].row_lengths()
            shape = tf.stack([-1, tf.maximum(tf.reduce_max(lengths), 1)])
        return {name: ids.to_tensor(PADDING_ID, shape=shape) for name, ids in encoded.items()}


def _ngrams(characters: tf.RaggedTensor, size: int) -> tf.Tensor:
    """Joins each character with the next ones of its row, string[N]; empty where there are none."""
    values, rows = characters.flat_values, characters.value_rowids()
    joined = values
    for _ in range(size - 1):
        values, rows = tf.concat([values[1:], [""]], 0), tf.concat([rows[1:], [-1]], 0)
        joined += values
    return tf.where(rows == characters.value_rowids(), joined, "")
