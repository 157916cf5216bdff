"""Subword pieces: SentencePiece's unigram model, trained by it and applied in core TensorFlow ops.

Source: Kudo, 2018, "Subword Regularization: Improving Neural Network Translation Models with
Multiple Subword Candidates", section 3.2; Kudo and Richardson, 2018, "SentencePiece".

A model is one ``bytes`` object, the contents of SentencePiece's own ``.model`` files, which its
command line and other tools read too.
"""

import io
import re
from collections.abc import Iterable

import numpy as np
import sentencepiece
import tensorflow as tf

from tfcamp.errors import UserError
from tfcamp.text.viterbi import CPU, ViterbiSegmenter, encode, mark_rows
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID, UNKNOWN_ID

# Stands for a space, and at the beginning of a text for one that is not there, so that a word is
# the same piece wherever it stands.
_SPACE = "▁"
_UNKNOWN_TEXT = " ⁇ "
# 256 bytes, padding, unknown, begin and end.
_NUM_SPECIAL = 260
# kUnkPenalty of SentencePiece's unigram_model.cc.
_UNKNOWN_PENALTY = 10
# Has four bytes in UTF-8, and a malformed sequence has three at most.
_STAND_IN = 0x10FFFF
_REPLACEMENT = 0xFFFD


def train_subwords(
    texts: Iterable[str],
    *,
    vocabulary_size: int = 8000,
    exact: bool = True,
    character_coverage: float = 0.9995,
) -> bytes:
    """Returns a SentencePiece unigram model of the texts; give it training text only.

    Text is not normalised. What is no piece is spelled in bytes, for which 256 ids are set aside,
    so nothing is ever unknown. The same texts give the same model, byte by byte: sums are made by
    one thread.

    Args:
      texts: read once; of both languages, where source and target share the pieces.
      vocabulary_size: the number of ids V: pieces, 256 bytes, padding, unknown, begin and end.
      exact: whether fewer ids are a mistake, where the texts do not yield so many.
      character_coverage: the share of all characters that pieces are made of; the rarest rest is
        left to bytes.

    Returns:
      The model's protocol buffer.

    Raises:
      UserError: an argument is out of its range, the texts yield fewer pieces or have more
        characters than that, or there are none.
    """
    if vocabulary_size <= _NUM_SPECIAL:
        raise UserError(
            f"--vocabulary-size {vocabulary_size}: expected more than {_NUM_SPECIAL}, which the "
            "bytes and the special ids take"
        )
    if not 0.98 <= character_coverage <= 1:
        raise UserError(f"--character-coverage {character_coverage}: expected 0.98 to 1")
    model = io.BytesIO()
    # A list, because SentencePiece turns what is raised while it reads into a RuntimeError.
    texts = list(texts)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary_size,
            character_coverage=character_coverage,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=True,
            remove_extra_whitespaces=False,
            pad_id=PADDING_ID,
            unk_id=UNKNOWN_ID,
            bos_id=BEGIN_ID,
            eos_id=END_ID,
            hard_vocab_limit=False,  # the size is checked below, and the message names the option
            max_sentence_length=2**20,  # longer texts are left out; the default is 4192 bytes
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        if "sentences_.empty()" in str(error):
            raise UserError("subwords: there is no text to learn from") from error
        if needed := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
            raise UserError(
                f"--vocabulary-size {vocabulary_size}: the characters of these texts and the bytes "
                f"alone are {needed[1]} ids; give at least that"
            ) from error
        raise
    size = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    if exact and size < vocabulary_size:
        raise UserError(
            f"--vocabulary-size {vocabulary_size}: these texts yield {size} ids at most; give "
            "that, or more text"
        )
    return model.getvalue()


class SubwordTokenizer(tf.Module):
    """Text to ids and back, with the ids of SentencePiece's ``EncodeAsIds`` (0.2.2 and later).

    A text comes back from its ids unchanged, white space of all kinds included, but for what the
    ids cannot tell: the character "▁" comes back as a space, and each byte that is no UTF-8 as
    U+FFFD.

    >>> model = train_subwords(["tea time", "team tea"] * 5, vocabulary_size=268)
    >>> tokenizer = SubwordTokenizer(model)
    >>> ids = tokenizer(tf.constant(["tea team", "茶"]))
    >>> [[piece.decode() for piece in row] for row in tokenizer.pieces(ids).to_list()]
    [['▁tea', '▁tea', 'm'], ['▁', '<0xE8>', '<0x8C>', '<0xB6>']]
    >>> [text.decode() for text in tokenizer.decode(ids).numpy()]
    ['tea team', '茶']
    """

    def __init__(self, model_proto: bytes) -> None:
        """Builds the tables.

        Args:
          model_proto: what `train_subwords` returned.

        Raises:
          ValueError: it is no SentencePiece model, or one of other settings.
        """
        super().__init__(name="subword_tokenizer")
        self.model_proto = model_proto
        model = _load(model_proto)
        size = model.get_piece_size()
        pieces = [model.id_to_piece(i) for i in range(size)]
        byte_ids = [model.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
        special = {PADDING_ID, UNKNOWN_ID, BEGIN_ID, END_ID, *byte_ids}
        ids = [i for i in range(size) if i not in special]
        scores = np.array([model.get_score(i) for i in ids], np.float32)
        self._viterbi = ViterbiSegmenter(
            [pieces[i] for i in ids],
            scores,
            unknown_score=scores.min() - np.float32(_UNKNOWN_PENALTY),
            unknown_beside_longer=True,
            left_to_right=True,
        )
        texts = [piece.encode() for piece in pieces]
        for i in (PADDING_ID, BEGIN_ID, END_ID):
            texts[i] = b""
        texts[UNKNOWN_ID] = _UNKNOWN_TEXT.encode()
        for byte, i in enumerate(byte_ids):
            texts[i] = bytes([byte])
        with tf.device(CPU):
            self._ids = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    [pieces[i] for i in ids], tf.constant(ids, tf.int32)
                ),
                default_value=UNKNOWN_ID,
            )
            self._byte_ids = tf.constant(byte_ids, tf.int32)
            self._pieces = tf.constant(pieces)
            self._texts = tf.constant(texts)

    def __len__(self) -> int:
        """Returns the number of ids V, bytes and special ones included."""
        return len(self._pieces)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Encodes texts.

        Args:
          texts: string[B], UTF-8.

        Returns:
          RaggedTensor int32[B, None], ids without begin and end; none for an empty text.
        """
        with tf.device(CPU):
            characters, row_splits = _decode_each_byte(tf.where(texts == "", "", _SPACE + texts))
            characters = tf.where(characters == ord(" "), ord(_SPACE), characters)
            starts = self._viterbi.piece_starts(characters, mark_rows(characters, row_splits))
            pieces = encode(characters, row_splits, starts)
            ids = self._ids.lookup(pieces.values)

            # A character that is no piece gives the ids of its bytes; a piece, one id.
            is_piece = ids != UNKNOWN_ID
            spelled = tf.strings.bytes_split(tf.where(is_piece, " ", pieces.values))
            num_ids = spelled.row_lengths()
            byte = tf.reshape(tf.io.decode_raw(spelled.values, tf.uint8), [-1])
            ids = tf.where(
                tf.repeat(is_piece, num_ids),
                tf.repeat(ids, num_ids),
                tf.gather(self._byte_ids, tf.cast(byte, tf.int32)),
            )
            splits = tf.gather(spelled.row_splits, pieces.row_splits)
            return tf.RaggedTensor.from_row_splits(ids, splits, validate=False)

    def decode(self, ids) -> tf.Tensor:
        """Joins pieces to texts, as SentencePiece does.

        Each "▁" becomes a space, and one at the beginning is dropped. Bytes that make no UTF-8 give
        U+FFFD each; the unknown id, which is never read, gives " ⁇ ". Padding, begin and end
        vanish, and with the first end all that follows.

        Args:
          ids: int32[B, T] or RaggedTensor int32[B, None], in [0, V).

        Returns:
          string[B], UTF-8.
        """
        if isinstance(ids, tf.RaggedTensor):
            ids = ids.to_tensor(PADDING_ID)
        return self._decode(tf.convert_to_tensor(ids, tf.int32))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def _decode(self, ids: tf.Tensor) -> tf.Tensor:
        with tf.device(CPU):
            ended = tf.cumsum(tf.cast(ids == END_ID, tf.int32), 1) > 0
            texts = tf.gather(self._texts, tf.where(ended, END_ID, ids))
            characters, row_splits = _decode_each_byte(tf.strings.reduce_join(texts, 1))
            texts = tf.strings.unicode_encode(
                tf.RaggedTensor.from_row_splits(characters, row_splits, validate=False), "UTF-8"
            )
            texts = tf.strings.regex_replace(texts, f"^{_SPACE}", "")
            return tf.strings.regex_replace(texts, _SPACE, " ")

    def pieces(self, ids):
        """Returns the piece of each id as a string, "▁" for a space; same shape as ids."""
        with tf.device(CPU):
            return tf.gather(self._pieces, ids)


def _load(model_proto: bytes) -> sentencepiece.SentencePieceProcessor:
    """Returns the model, of which only what `train_subwords` sets is accepted."""
    try:
        model = sentencepiece.SentencePieceProcessor(model_proto=model_proto)
    except RuntimeError as error:
        raise ValueError(f"no SentencePiece model: {error}") from error
    special_ids = (model.pad_id(), model.unk_id(), model.bos_id(), model.eos_id())
    if special_ids != (PADDING_ID, UNKNOWN_ID, BEGIN_ID, END_ID):
        raise ValueError(f"padding, unknown, begin and end must be 0, 1, 2, 3, got {special_ids}")
    if not model.is_byte(model.piece_to_id("<0x00>")):
        raise ValueError("the model must spell unknown characters in bytes (byte_fallback)")
    if (normalized := model.normalize(" Ａ  ")) != "▁▁Ａ▁▁":
        raise ValueError(
            'text must not be normalised and begin with one more "▁" (identity, add_dummy_prefix, '
            f'no remove_extra_whitespaces), got {normalized!r} for " Ａ  "'
        )
    return model


def _decode_each_byte(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the code points int32[N] of string[B], end to end, and int64[B + 1] row splits.

    Where `viterbi.decode` reads one U+FFFD for a malformed sequence, SentencePiece reads one for
    each of its bytes.
    """
    ragged, offsets = tf.strings.unicode_decode_with_offsets(
        texts, "UTF-8", errors="replace", replacement_char=_STAND_IN
    )
    num_bytes = tf.strings.length(texts, unit="BYTE")
    offset = offsets.values + tf.repeat(
        tf.cumsum(tf.cast(num_bytes, tf.int64), exclusive=True), ragged.row_lengths()
    )
    end = tf.concat([offset, [tf.reduce_sum(tf.cast(num_bytes, tf.int64))]], 0)[1:]
    malformed = (ragged.values == _STAND_IN) & (end - offset < 4)
    repeats = tf.where(malformed, end - offset, 1)
    characters = tf.repeat(tf.where(malformed, _REPLACEMENT, ragged.values), repeats)
    return characters, tf.gather(tf.cumsum(tf.concat([[0], repeats], 0)), ragged.row_splits)
