"""Word vectors trained on the user's own text, by gensim.

Sources: Mikolov et al., 2013, "Efficient Estimation of Word Representations in Vector Space"
(CBOW and skip-gram) and "Distributed Representations of Words and Phrases and their
Compositionality" (negative sampling); Morin and Bengio, 2005 (hierarchical softmax).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from tfcamp.errors import UserError
from tfcamp.text.vector_files import load_word_vectors
from tfcamp.text.word_vectors import Coverage, WordVectors

__all__ = ["Coverage", "WordVectors", "load_word_vectors", "train_word_vectors"]


def train_word_vectors(
    sentences: Iterable[Sequence[str]],
    *,
    size: int = 128,
    window: int = 5,
    algorithm: Literal["cbow", "skipgram"] = "skipgram",
    loss: Literal["negative", "hierarchical"] = "negative",
    min_count: int = 2,
    epochs: int = 5,
    seed: int = 0,
    workers: int = 1,
) -> WordVectors:
    """Returns word vectors trained by gensim on the given sentences; give it training text only.

    With one worker the result is the same, bit by bit, in every process on the same machine,
    whatever PYTHONHASHSEED says. With more it is faster and differs from run to run: threads
    update the same vectors in an order that nobody fixes.

    Args:
      sentences: token lists; iterated `epochs` + 1 times, so a generator will not do. May stream
        from disk. gensim cuts a sentence after 10,000 tokens.
      size: width D of a vector.
      window: farthest distance, in tokens, between a word and its context.
      algorithm: "cbow" predicts a word from its context, "skipgram" the context from the word.
      loss: "negative" sampling with 5 noise words, or "hierarchical" softmax.
      min_count: rarer words get no vector.
      epochs: passes over the sentences.
      seed: of the start values, the samples and the windows.
      workers: threads; more than 1 is not deterministic.

    Returns:
      The vectors of the words seen at least `min_count` times, most frequent first.

    Raises:
      UserError: no word is frequent enough.
      TypeError: `sentences` can be iterated only once, or yields strings in place of lists.
      ValueError: another argument is out of its range.
    """
    if algorithm not in ("cbow", "skipgram"):
        raise ValueError(f'algorithm must be "cbow" or "skipgram", got {algorithm!r}')
    if loss not in ("negative", "hierarchical"):
        raise ValueError(f'loss must be "negative" or "hierarchical", got {loss!r}')
    settings = {"size": size, "window": window, "min_count": min_count, "epochs": epochs}
    for name, value in {**settings, "workers": workers}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if isinstance(sentences, Iterator):
        raise TypeError("sentences must be iterable many times; give a list or a re-iterable")

    # Imported here, because loading saved vectors should not cost gensim's second of start-up.
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=size,
        window=window,
        sg=int(algorithm == "skipgram"),
        hs=int(loss == "hierarchical"),
        negative=5 if loss == "negative" else 0,
        min_count=min_count,
        seed=seed,
        workers=workers,
    )
    corpus = _Corpus(sentences)
    model.build_vocab(corpus)
    corpus.check()
    if not len(model.wv):
        raise UserError(
            f"word vectors: no word stands {min_count} times in the training text; "
            "lower the minimum count or give more text"
        )
    model.train(
        corpus,
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=epochs,
    )
    corpus.check()
    return WordVectors(tuple(model.wv.index_to_key), np.array(model.wv.vectors, np.float32))


class _Corpus:
    """Hands sentences to gensim and keeps the first error that reading them meets.

    While gensim trains, it reads in a thread of its own. An error there would end that thread
    only, and the threads that wait for its sentences would wait for ever.
    """

    def __init__(self, sentences: Iterable[Sequence[str]]) -> None:
        self.sentences = sentences
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Sequence[str]]:
        try:
            for sentence in self.sentences:
                # gensim would take a string for a list of characters.
                if isinstance(sentence, str):
                    raise TypeError(f"a sentence must be a list of tokens, got {sentence!r}")
                yield sentence
        except Exception as error:
            self.error = error

    def check(self) -> None:
        if self.error is not None:
            raise self.error
