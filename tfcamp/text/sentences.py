"""From raw sentences to what a translation model reads: the same code in training and serving."""

import tensorflow as tf

from tfcamp.text.subword import SubwordTokenizer
from tfcamp.text.vocabulary import END_ID

# The longest piece that SentencePiece trains; so many characters for each token always fill a row.
CHARACTERS_PER_TOKEN = 16


def encode_sentences(
    tokenizer: SubwordTokenizer, sentences, *, max_tokens: int | None = None
) -> tf.RaggedTensor:
    """Returns the ids of sentences, each ended by `END_ID`.

    Args:
      tokenizer: cuts them into pieces.
      sentences: string[B].
      max_tokens: the largest number of ids of a row, the end included; what is longer is cut, and
        its characters beyond are not even looked at, so that the work is bounded. None for all.

    Returns:
      RaggedTensor int32[B, None].
    """
    sentences = tf.convert_to_tensor(sentences, tf.string)
    if max_tokens is not None:
        sentences = tf.strings.substr(sentences, 0, 4 * CHARACTERS_PER_TOKEN * max_tokens)
    ids = tokenizer(sentences)
    if max_tokens is not None:
        ids = ids[:, : max_tokens - 1]
    end = tf.fill([ids.nrows(), 1], END_ID)
    return tf.concat([ids, tf.RaggedTensor.from_tensor(end)], axis=1)
