"""Text classifiers: eight builders from ids to logits, from the plainest to a Transformer.

Each is a function ``TextClassifierConfig -> keras.Model``. The model's inputs are named like the
streams, ``int32[B, T]`` each, T >= 1, right-padded with id 0; its output is logits, float32[B, C]
under every precision policy, with no softmax: the loss takes logits.

Several streams, ``{"word": ..., "char": ..., "char2": ...}``, are aligned over characters:
``word[b, t]`` is the word in which character t stands, ``char2[b, t]`` the pair that it begins.
Their embeddings are added, or concatenated, at each position; those of hashed n-grams may join.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfcamp.models.blocks import Contexts, MaskedMax, MaskedMean, encoder_block, pool
from tfcamp.models.masking import ZeroPadding
from tfcamp.models.positions import SinusoidalPositions
from tfcamp.models.text_embedding import TextClassifierConfig, embed, look_up, text_inputs

__all__ = ["BUILDERS", "TextClassifierConfig", "build_text_classifier"]


def build_bow(config: TextClassifierConfig) -> keras.Model:
    """Builds a bag of words: the mean of the embeddings, classified linearly.

    This is the deep averaging network of Iyyer et al. (2015), eq. 1-2, without hidden layers.
    """
    inputs = text_inputs(config)
    x, mask = embed(config, inputs)
    return _classifier(config, inputs, MaskedMean(name="mean")(x, mask=mask), "bow")


def build_fasttext(config: TextClassifierConfig) -> keras.Model:
    """Builds fastText: the mean of the embeddings of tokens and of their hashed n-grams.

    Joulin et al. (2016), sec. 2: logits = B A x, where x counts tokens and n-grams, each divided by
    their number. A character stream gives character n-grams, a word stream word n-grams; all share
    one table, as they do in the paper.
    """
    inputs = text_inputs(config)
    ngrams = {stream: (2, 3) for stream in inputs} if config.ngrams is None else config.ngrams
    features, masks = zip(*look_up(config, inputs, ngrams), strict=True)
    x, mask = features[0], masks[0]
    if len(features) > 1:
        x = keras.layers.Concatenate(axis=1, name="features")(features)
        mask = keras.layers.Concatenate(axis=1, name="feature_mask")(masks)
    x = keras.layers.SpatialDropout1D(config.spatial_dropout, name="spatial_dropout")(x)
    return _classifier(config, inputs, MaskedMean(name="mean")(x, mask=mask), "fasttext")


def build_textcnn(config: TextClassifierConfig) -> keras.Model:
    """Builds a convolutional network with filters of several lengths (Kim, 2014, eq. 2-4).

    c_t = relu(w . x_(t:t+h-1) + b), then the maximum over t. Filters may reach over both ends of
    the text, where they see zeros, so a text shorter than a filter has features too.
    """
    inputs = text_inputs(config)
    x, mask = embed(config, inputs)
    x = ZeroPadding(name="zero_padding")(x, mask=mask)
    maxima = []
    for size in config.kernel_sizes:
        convolution = keras.layers.Conv1D(
            config.width, size, padding="same", activation="relu", name=f"conv_{size}"
        )
        maxima.append(MaskedMax(name=f"max_{size}")(convolution(x), mask=mask))
    features = keras.layers.Concatenate(name="features")(maxima) if len(maxima) > 1 else maxima[0]
    return _classifier(config, inputs, features, "textcnn")


def build_bilstm(config: TextClassifierConfig) -> keras.Model:
    """Builds a bidirectional LSTM whose states are pooled by maximum and mean, or as configured.

    LSTM of Hochreiter and Schmidhuber (1997) with the forget gates of Gers et al. (2000), read in
    both directions (Graves and Schmidhuber, 2005); max pooling as in Conneau et al. (2017), sec.
    3.2.2. With the gates' pre-activations [i, f, g, o] = W x_t + U h_(t-1) + b:

        c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g)        h_t = sigmoid(o) tanh(c_t)
    """
    return _recurrent_classifier(config, keras.layers.LSTM, "bilstm")


def build_bigru(config: TextClassifierConfig) -> keras.Model:
    """Builds a bidirectional GRU (Cho et al., 2014, eq. 5-8), pooled like `build_bilstm`.

        h_t = z h_(t-1) + (1 - z) tanh(W x_t + r (U h_(t-1) + b'))

    with the update gate z and the reset gate r, each a sigmoid of W x_t + U h_(t-1) + b. Resetting
    after the product with U is cuDNN's variant.
    """
    return _recurrent_classifier(config, keras.layers.GRU, "bigru")


def build_rnn_attention(config: TextClassifierConfig) -> keras.Model:
    """Builds a bidirectional LSTM pooled by additive attention (Yang et al., 2016, eq. 5-7).

    For its equation see `AdditiveAttentionPooling`.
    """
    inputs = text_inputs(config)
    x, mask = embed(config, inputs)
    x = pool(
        _recurrent(config, keras.layers.LSTM, x, mask), mask, ("attention",), width=config.width
    )
    return _classifier(config, inputs, x, "rnn_attention")


def build_rcnn(config: TextClassifierConfig) -> keras.Model:
    """Builds a recurrent convolutional network (Lai et al., 2015, eq. 1-5).

    Each token stands between its contexts, y_t = tanh(W [left_t; x_t; right_t] + b), and the
    features are the maximum over t. The contexts come from an LSTM in each direction instead of
    the paper's plain recurrence; with more than one layer, the upper ones read both sides.
    """
    inputs = text_inputs(config)
    x, mask = embed(config, inputs)
    left, right = Contexts(name="contexts")(_recurrent(config, keras.layers.LSTM, x, mask))
    x = keras.layers.Concatenate(name="in_context")([left, x, right])
    x = keras.layers.Dense(config.width, activation="tanh", name="latent")(x)
    return _classifier(config, inputs, MaskedMax(name="max")(x, mask=mask), "rcnn")


def build_transformer(config: TextClassifierConfig) -> keras.Model:
    """Builds a pre-norm Transformer encoder, its states averaged or pooled as configured.

    Vaswani et al. (2017), sec. 3.1, with the normalisation inside the branches; see
    `encoder_block`. The embeddings are projected to the model's width and normalised, so that the
    positions weigh the same whether vectors were drawn at random or given.

    Raises:
      ValueError: width is odd or no multiple of num_heads, or pooling holds "last", which names the
        end states of an RNN.
    """
    kinds = config.pooling or ("mean",)
    if "last" in kinds:
        raise ValueError(f"a transformer has no last state to pool, got pooling={tuple(kinds)}")
    inputs = text_inputs(config)
    x, mask = embed(config, inputs)
    x = keras.layers.Dense(config.width, name="projection")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="embedding_norm")(x)
    x = SinusoidalPositions(name="positions")(x)
    for i in range(config.num_layers or 2):
        x = encoder_block(
            x,
            mask,
            num_heads=config.num_heads,
            dropout=config.layer_dropout,
            name=f"block_{i}",
        )
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="final_norm")(x)
    return _classifier(config, inputs, pool(x, mask, kinds, width=config.width), "transformer")


BUILDERS: dict[str, Callable[[TextClassifierConfig], keras.Model]] = {
    "bow": build_bow,
    "fasttext": build_fasttext,
    "textcnn": build_textcnn,
    "bilstm": build_bilstm,
    "bigru": build_bigru,
    "rnn_attention": build_rnn_attention,
    "rcnn": build_rcnn,
    "transformer": build_transformer,
}


def build_text_classifier(
    model: str,
    config: TextClassifierConfig,
    embeddings: Mapping[str, np.ndarray] | None = None,
) -> keras.Model:
    """Builds a text classifier by name, its embeddings starting from given vectors.

    Which weights are trained depends on the config alone, never on whether vectors are at hand, so
    a model that is built again to restore a checkpoint has the same variables.

    Args:
      model: a key of `BUILDERS`.
      config: sizes and choices.
      embeddings: float32[V, embedding_dim] for any of the streams; others start at random.

    Returns:
      A functional model, ``{stream: int32[B, T]}`` to ``logits: float32[B, C]``.

    Raises:
      ValueError: an unknown model or stream, or vectors of another shape.

    >>> config = TextClassifierConfig(streams={"word": 100}, num_classes=3)
    >>> build_text_classifier("bow", config).output.shape
    (None, 3)
    """
    if model not in BUILDERS:
        raise ValueError(f"model must be one of {', '.join(BUILDERS)}, got {model!r}")
    built = BUILDERS[model](config)
    for stream, vectors in (embeddings or {}).items():
        if stream not in config.streams:
            raise ValueError(f"vectors for {stream!r}, but the streams are {list(config.streams)}")
        expected = (config.streams[stream], config.embedding_dim)
        if vectors.shape != expected:
            raise ValueError(f"vectors of {stream!r} must be {expected}, got {vectors.shape}")
        built.get_layer(f"{stream}_embedding").set_weights([vectors])
    return built


def _recurrent(config: TextClassifierConfig, cell: Any, x: Any, mask: Any) -> Any:
    """Runs bidirectional recurrent layers, float[B, T, 2 * width], zero at padding.

    tanh and sigmoid, no recurrent dropout, right padding: what cuDNN's kernels can do.
    """
    for i in range(config.num_layers or 1):
        if i > 0:
            x = keras.layers.Dropout(config.layer_dropout, name=f"recurrent_dropout_{i}")(x)
        layer = cell(
            config.width, return_sequences=True, use_cudnn="auto" if config.use_cudnn else False
        )
        x = keras.layers.Bidirectional(layer, name=f"recurrent_{i}")(x, mask=mask)
    return x


def _recurrent_classifier(config: TextClassifierConfig, cell: Any, name: str) -> keras.Model:
    inputs = text_inputs(config)
    ngrams = {"char": (2, 3)} if "char" in config.streams else {}
    x, mask = embed(config, inputs, default_ngrams=ngrams)
    x = _recurrent(config, cell, x, mask)
    x = pool(x, mask, config.pooling or ("max", "mean"), width=config.width)
    return _classifier(config, inputs, x, name)


def _classifier(
    config: TextClassifierConfig, inputs: Mapping[str, Any], features: Any, name: str
) -> keras.Model:
    """Ends a model with dropout and a linear layer, in float32 whatever the policy."""
    x = keras.layers.Dropout(config.dropout, name="dropout")(features)
    logits = keras.layers.Dense(config.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(dict(inputs), logits, name=name)
