"""Subwords, model and beam search as SavedModel signatures of raw sentences."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcamp.decoding.beam import decode_by_beam
from tfcamp.decoding.hypotheses import LOG_ZERO, Hypotheses, length_limits
from tfcamp.export.folders import open_saved_model, without_cudnn, write_saved_model
from tfcamp.export.half_precision import HalfPrecisionWeights
from tfcamp.models.attention import with_attention
from tfcamp.models.steps import steps_of
from tfcamp.text.sentences import encode_sentences
from tfcamp.text.subword import SubwordTokenizer
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID

# The beam of each signature: its shapes are part of a compiled function.
BEAM_SIZES = {"greedy": 1, "serving_default": 4, "nbest": 8}

# A text is counted up to so many times the tokens that are translated.
COUNTED_LENGTHS = 4

_TEXT = [tf.TensorSpec([None], tf.string, name="text")]


class TranslationService(tf.Module):
    """Raw sentences in, translations out."""

    def __init__(
        self,
        source: SubwordTokenizer,
        target: SubwordTokenizer,
        model: keras.Model,
        *,
        max_tokens: int,
        length_penalty: float,
    ) -> None:
        """Keeps the parts.

        Args:
          source: cuts sentences into pieces.
          target: joins pieces to translations; the same one with a joint vocabulary.
          model: of a family that `steps_of` knows.
          max_tokens: the longest sentence that is read, and written; both with their end.
          length_penalty: see `tfcamp.decoding.hypotheses.length_normalised`.
        """
        super().__init__(name="translation")
        self._source, self._target = source, target
        self._weights = HalfPrecisionWeights(without_cudnn(model))
        # As functions, so that the model's own weights are not found and saved.
        steps = steps_of(model)
        self._steps = lambda: steps
        self.attention = None
        with contextlib.suppress(ValueError):  # a model that does not look back at its source
            seeing = with_attention(model)
            self._look = lambda inputs: seeing(inputs, training=False)["attention"]
            self.attention = tf.function(self._attention, input_signature=_TEXT)
        self._max_tokens = max_tokens
        self._length_penalty = length_penalty

    @tf.function(input_signature=_TEXT)
    def translate(self, text):
        """Translates string[B].

        Returns:
          ``translation`` string[B] and ``score`` float32[B], the length-normalised log-probability;
          "" and 0 for a sentence without any token.
        """
        return self._best(text, BEAM_SIZES["serving_default"])

    @tf.function(input_signature=_TEXT)
    def translate_greedily(self, text):
        """Does what ``translate`` does, faster and a little worse."""
        return self._best(text, BEAM_SIZES["greedy"])

    @tf.function(input_signature=_TEXT)
    def n_best(self, text):
        """Returns ``translations`` string[B, 8] and ``scores`` float32[B, 8], the best first.

        Where fewer are found, the last ones are "", with a score of -1e30.
        """
        with self._weights.in_place():
            found = self._search(text, self._encode(text), BEAM_SIZES["nbest"], num_best=None)
        flat = tf.reshape(found.ids, [-1, self._max_tokens])
        translations = tf.reshape(self._target.decode(flat), tf.shape(found.score))
        return {"translations": translations, "scores": found.score}

    def _attention(self, text):
        """Shows at which piece of string[B] the model looked when it wrote which piece.

        Returns:
          ``translation`` string[B]; ``source_pieces`` string[B, S] and ``target_pieces``
          string[B, T], with their ends, "" beyond; ``attention`` float32[B, T, S], the mean over
          layers and heads: each row of it sums to 1 over the real pieces.
        """
        source = self._encode(text)
        with self._weights.in_place():
            written = self._search(text, source, BEAM_SIZES["serving_default"]).ids[:, 0]
            longest = tf.reduce_max(tf.reduce_sum(tf.cast(written != PADDING_ID, tf.int32), axis=1))
            written = written[:, :longest]
            begun = tf.pad(written[:, :-1], [[0, 0], [1, 0]], constant_values=BEGIN_ID)
            heads = self._look({"source": source, "target": begun})
        return {
            "translation": self._target.decode(written),
            "source_pieces": tf.where(source == PADDING_ID, "", self._source.pieces(source)),
            "target_pieces": tf.where(written == PADDING_ID, "", self._target.pieces(written)),
            "attention": tf.reduce_mean(heads, axis=[1, 2]),
        }

    @tf.function(input_signature=_TEXT)
    def count_tokens(self, text):
        """Returns ``num_tokens`` int32[B] of each text, and ``max_tokens`` int32[].

        A text of more tokens than that, its end included, is translated in part. Nobody is told
        how much longer than four times that a text is, so that the work is bounded.
        """
        counted = COUNTED_LENGTHS * self._max_tokens
        counts = encode_sentences(self._source, text, max_tokens=counted).row_lengths()
        return {
            "num_tokens": tf.cast(counts, tf.int32),
            "max_tokens": tf.constant(self._max_tokens),
        }

    def _encode(self, text) -> tf.Tensor:
        ids = encode_sentences(self._source, text, max_tokens=self._max_tokens)
        return ids.to_tensor(PADDING_ID)

    def _search(self, text, source, beam_size: int, num_best: int | None = 1) -> Hypotheses:
        """Returns what is found; of a text with nothing to translate the end alone, score 0."""
        found = decode_by_beam(
            self._steps(),
            source,
            beam_size=beam_size,
            max_length=self._max_tokens,
            limits=length_limits(source, self._max_tokens),
            length_penalty=self._length_penalty,
            num_best=num_best,
        )
        # White space, and what shows nothing at all, a zero-width space say.
        is_empty = tf.strings.regex_full_match(text, r"[\s\pZ\p{Cc}\p{Cf}]*")[:, tf.newaxis]
        end_alone = tf.one_hot(0, self._max_tokens, END_ID, PADDING_ID)
        return found._replace(
            ids=tf.where(is_empty[..., tf.newaxis], end_alone, found.ids),
            score=tf.where(is_empty, 0.0, found.score),
        )

    def _best(self, text, beam_size: int) -> dict[str, tf.Tensor]:
        with self._weights.in_place():
            found = self._search(text, self._encode(text), beam_size)
        return {"translation": self._target.decode(found.ids[:, 0]), "score": found.score[:, 0]}


def export_translation_model(
    folder: Path,
    source: SubwordTokenizer,
    target: SubwordTokenizer,
    model: keras.Model,
    *,
    max_tokens: int,
    length_penalty: float = 1.0,
) -> None:
    """Writes a SavedModel that needs TensorFlow and nothing else.

    Weights are stored in half precision; `tfcamp.export.half_precision.round_weights` gives the
    training process the same numbers. Arguments are those of `TranslationService`.

    Raises:
      UserError: the folder holds something else, or cannot be written.
    """
    service = TranslationService(
        source, target, model, max_tokens=max_tokens, length_penalty=length_penalty
    )
    signatures = {
        "serving_default": service.translate,
        "greedy": service.translate_greedily,
        "nbest": service.n_best,
        "count_tokens": service.count_tokens,
    }
    if service.attention is not None:
        signatures["attention"] = service.attention
    write_saved_model(folder, service, signatures)


class Attention(NamedTuple):
    """Where the model looked.

    Attributes:
      source: the S pieces of the sentence, its end last.
      target: the T pieces of the translation, its end last.
      shares: float32[T, S], each row sums to 1.
    """

    source: list[str]
    target: list[str]
    shares: np.ndarray


class ServedTranslator:
    """A loaded SavedModel, called through its signatures like any client would.

    Attributes:
      counted_lengths: tokens are counted up to so many times those that are translated.
    """

    counted_lengths = COUNTED_LENGTHS

    def __init__(self, folder: Path) -> None:
        """Loads the SavedModel."""
        self._signatures = tf.saved_model.load(str(folder)).signatures
        self._beams = {size: self._signatures[name] for name, size in BEAM_SIZES.items()}

    def __call__(self, texts: Sequence[str], *, beam_size: int = 4) -> tuple[list[str], np.ndarray]:
        """Returns the translations and their scores float32[B].

        Args:
          texts: sentences.
          beam_size: one of `BEAM_SIZES`.

        Raises:
          ValueError: there is no signature of this beam.
        """
        if beam_size not in self._beams:
            raise ValueError(f"beam_size must be one of {sorted(self._beams)}, got {beam_size}")
        answer = self._answer(self._beams[beam_size], texts)
        if "translations" in answer:
            return _strings(answer["translations"][:, 0]), answer["scores"][:, 0]
        return _strings(answer["translation"]), answer["score"]

    def n_best(self, texts: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        """Returns up to so many translations of each text with their scores, the best first.

        Other pieces may make the same text: it counts once, with the best of its scores.
        """
        answer = self._answer(self._signatures["nbest"], texts)
        result = []
        for row, scores in zip(answer["translations"], answer["scores"], strict=True):
            best: dict[str, float] = {}
            for text, score in zip(_strings(row), scores.tolist(), strict=True):
                if score > LOG_ZERO / 2:  # else fewer were found
                    best.setdefault(text, score)
            result.append(list(best.items())[:count])
        return result

    def attention(self, texts: Sequence[str]) -> list[Attention] | None:
        """Returns where the model looked when it translated each text; None if it has no eyes."""
        if "attention" not in self._signatures:
            return None
        answer = self._answer(self._signatures["attention"], texts)
        parts = zip(
            answer["source_pieces"], answer["target_pieces"], answer["attention"], strict=True
        )
        result = []
        for source_row, target_row, shares in parts:
            source = [piece for piece in _strings(source_row) if piece]
            target = [piece for piece in _strings(target_row) if piece]
            result.append(Attention(source, target, shares[: len(target), : len(source)]))
        return result

    def count_tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Returns the number of tokens of each text, int32[B], and how many are translated."""
        answer = self._answer(self._signatures["count_tokens"], texts)
        return answer["num_tokens"], int(answer["max_tokens"])

    def _answer(self, signature: Any, texts: Sequence[str]) -> dict[str, np.ndarray]:
        answer = signature(tf.constant(list(texts), tf.string, shape=[len(texts)]))
        return {name: value.numpy() for name, value in answer.items()}


def load_translation_model(folder: Path) -> ServedTranslator:
    """Loads a SavedModel that `export_translation_model` wrote.

    Raises:
      UserError: there is none, or it is damaged or of another kind.
    """
    return open_saved_model(folder, "a translator", ServedTranslator)


def _strings(values: np.ndarray) -> list[str]:
    return [value.decode() for value in values]
