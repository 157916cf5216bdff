"""Models small enough to list all that they may write, and models that write what a test wants."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcamp.models.steps import Steps
from tfcamp.text.vocabulary import BEGIN_ID, END_ID

FIRST_WORD = END_ID + 1
Text = tuple[int, ...]


class ToyModel:
    """A random model whose next token depends on the source and on all that was written.

    Its cache holds what the two families of models hold: a state that is replaced at every step,
    and a row of static length of which each step fills one place.
    """

    def __init__(self, seed: int, *, num_words: int, scale: float = 3.0, width: int = 8) -> None:
        random = np.random.default_rng(seed)
        self.num_words, self.num_tokens = num_words, FIRST_WORD + num_words
        self._tokens = random.normal(size=(self.num_tokens, width))
        self._memories = random.normal(size=(self.num_tokens, width))
        self._sources = random.normal(size=(100, width))
        self._state = random.normal(size=(width, width)) / width**0.5
        self._output = scale * random.normal(size=(width, self.num_tokens)) / width**0.5

    def steps(self) -> Steps:
        tables = (self._tokens, self._memories, self._sources, self._state, self._output)
        tokens, memories, sources, state, output = (tf.constant(it, tf.float32) for it in tables)

        def begin(source: Any, max_length: int) -> tuple[Any, Any]:
            zeros = tf.zeros_like(source[:, 0])[:, None]
            cache = {
                "state": tf.repeat(tf.cast(zeros, tf.float32), state.shape[0], axis=1),
                "written": tf.repeat(zeros, max_length, axis=1),
            }
            return tf.gather(sources, source[:, 0]), cache

        def next_token(ids: Any, position: Any, memory: Any, cache: Any) -> tuple[Any, Any]:
            num_neighbours = tf.shape(ids)[0] // tf.maximum(tf.shape(memory)[0], 1)
            hint = tf.repeat(memory, num_neighbours, axis=0)
            places = tf.range(cache["written"].shape[1])
            written = tf.where(places == position, ids[:, None], cache["written"])
            new = tf.tanh(cache["state"] @ state + tf.gather(tokens, ids) + hint)
            seen = tf.where((places <= position)[:, None], tf.gather(memories, written), 0.0)
            logits = (new + tf.reduce_sum(seen, axis=1)) @ output
            return logits, {"state": new, "written": written}

        return Steps(begin, next_token)

    def log_probabilities(self, source: int, text: Text) -> np.ndarray:
        """Those of each token, and of what may follow: float64[n + 1, V]."""
        state, seen, rows = np.zeros(len(self._state)), 0.0, []
        for token in (BEGIN_ID, *text):
            state = np.tanh(state @ self._state + self._tokens[token] + self._sources[source])
            seen = seen + self._memories[token]
            logits = (state + seen) @ self._output
            rows.append(logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
        return np.stack(rows)

    def log_probability(self, source: int, text: Text) -> float:
        """Of a whole text, its end included, token by token."""
        rows = self.log_probabilities(source, text[:-1])
        return float(sum(row[token] for row, token in zip(rows, text, strict=True)))

    def every_text(self, limit: int) -> Iterator[Text]:
        """All texts of at most `limit` tokens, the end included."""
        words = range(FIRST_WORD, self.num_tokens)
        beginnings: list[Text] = [()]
        for _ in range(limit):
            yield from ((*beginning, END_ID) for beginning in beginnings)
            beginnings = [(*beginning, word) for beginning in beginnings for word in words]

    def search(self, source: int, beam_size: int, limit: int, alpha: float) -> list[Text]:
        """Beam search without an early stop, in plain Python: the best K texts, best first."""
        open_texts: list[tuple[float, Text]] = [(0.0, ())]
        ended: list[tuple[float, Text]] = []
        for position in range(limit):
            ways = [
                (total + row[token], (*text, token))
                for total, text in open_texts
                for row in [self.log_probabilities(source, text)[-1]]
                for token in range(END_ID, self.num_tokens)
                if token == END_ID or position < limit - 1
            ]
            best = sorted(ways, reverse=True)[:beam_size]
            open_texts = [(total, text) for total, text in best if text[-1] != END_ID]
            ended += [way for way in best if way[1][-1] == END_ID]
        ended.sort(key=lambda way: -normalised(way[0], len(way[1]), alpha))
        return [text for _, text in ended[:beam_size]]


def normalised(log_probability: float, num_tokens: int, alpha: float) -> float:
    return log_probability / ((5 + num_tokens) / 6) ** alpha


def texts_of(ids: Any) -> list[Text]:
    """The texts in int[..., T], in order; of a place that holds none the empty one."""
    return [
        tuple(int(token) for token in row if token) for row in np.reshape(ids, [-1, ids.shape[-1]])
    ]


def table_steps(table: dict[int, dict[int, float]], num_tokens: int) -> Steps:
    """A model whose next token depends on the last one: its probabilities, all others 0."""
    probabilities = np.zeros((num_tokens, num_tokens), np.float32)
    for token, row in table.items():
        for follower, probability in row.items():
            probabilities[token, follower] = probability
    with np.errstate(divide="ignore"):
        logits = tf.constant(np.log(probabilities))  # -inf where nothing may follow

    def next_token(ids: Any, position: Any, memory: Any, cache: Any) -> tuple[Any, Any]:
        return tf.gather(logits, ids), cache

    return Steps(lambda source, max_length: (source, source[:, :1]), next_token)


def spelling_steps(words: Sequence[str], max_length: int) -> Steps:
    """A model that is sure of a word for each row; its ids are code points."""
    texts = [[*map(ord, word), END_ID] for word in words]
    target = np.array([text + [END_ID] * (max_length - len(text)) for text in texts], np.int32)

    def next_token(ids: Any, position: Any, memory: Any, cache: Any) -> tuple[Any, Any]:
        wanted = tf.repeat(
            tf.gather(tf.constant(target), position, axis=1), ids.shape[0] // len(words)
        )
        return 20.0 * tf.one_hot(wanted, 128), cache

    return Steps(lambda source, max_length: (source, source[:, :1]), next_token)
