"""Text classifiers: padding, order, embeddings, and their recurrence against NumPy."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.catalogue import TEXT_LABELS, TEXTS, tiny_text_config
from tfcamp.losses import cross_entropy
from tfcamp.models.ngrams import NGramBuckets
from tfcamp.models.text_classifier import BUILDERS, TextClassifierConfig, build_text_classifier

every_builder = pytest.mark.parametrize("model", BUILDERS)
STREAMS = ("word", "char")


@cache
def dynamic_model(name: str, *streams: str) -> keras.Model:
    """A model of any length whose weights, biases too, are far from zero."""
    model = build_text_classifier(name, tiny_text_config(*streams, num_layers=2))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


@cache
def compiled_model(name: str, *streams: str):
    """The same as one graph for batches of any size and length."""
    signature = {stream: tf.TensorSpec([None, None], tf.int32) for stream in streams}
    return tf.function(dynamic_model(name, *streams), input_signature=[signature])


def same_ids(streams: tuple[str, ...], ids: np.ndarray) -> dict[str, np.ndarray]:
    return {stream: ids for stream in streams}


# Rows of 0 to 6 ids; a row of none is an empty text.
rows_of_ids = st.lists(st.lists(st.integers(1, 11), max_size=6), min_size=1, max_size=4)


@settings(max_examples=10, deadline=None)
@given(rows_of_ids, st.integers(1, 4))
@every_builder
def test_padding_changes_no_logit(model: str, rows: list[list[int]], padding: int) -> None:
    """Nor do the other rows of the batch: each text alone, unpadded, gives the same."""
    classifier = compiled_model(model, *STREAMS)
    length = max(1, *map(len, rows))
    ids = np.array([row + [0] * (length - len(row)) for row in rows], np.int32)
    logits = classifier(same_ids(STREAMS, ids)).numpy()
    assert np.isfinite(logits).all()
    padded = classifier(same_ids(STREAMS, np.pad(ids, ((0, 0), (0, padding)))))
    np.testing.assert_allclose(padded, logits, rtol=1e-4, atol=1e-5)
    alone = classifier(same_ids(STREAMS, np.array([rows[0] or [0]], np.int32)))
    np.testing.assert_allclose(alone[0], logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["bilstm", "transformer"])
def test_softmax_in_a_graph_of_unknown_shapes(model: str) -> None:
    """As the exported signature does it, against NumPy on the eager model's logits."""
    graph = compiled_model(model, *STREAMS)
    served = tf.function(lambda ids: tf.nn.softmax(graph(same_ids(STREAMS, ids))))
    exponents = np.exp(dynamic_model(model, *STREAMS)(same_ids(STREAMS, TEXTS)).numpy())
    expected = exponents / exponents.sum(-1, keepdims=True)
    np.testing.assert_allclose(served(tf.constant(TEXTS)), expected, rtol=1e-4)


@every_builder
def test_rows_are_independent_of_their_order(model: str) -> None:
    classifier, order = dynamic_model(model, "word"), [2, 0, 3, 1]
    np.testing.assert_allclose(
        classifier({"word": TEXTS[order]}),
        classifier({"word": TEXTS}).numpy()[order],
        rtol=1e-4,
        atol=1e-5,
    )


@every_builder
def test_one_token_is_enough(model: str) -> None:
    """Without a warning: Keras's softmax complains of an axis of one."""
    assert np.isfinite(dynamic_model(model, "word")({"word": TEXTS[:, :1]})).all()


@every_builder
def test_word_order_matters_to_all_but_the_bag(model: str) -> None:
    classifier = dynamic_model(model, "word")
    forwards, backwards = classifier({"word": np.array([[2, 3, 4], [4, 3, 2]], np.int32)}).numpy()
    assert np.allclose(forwards, backwards, atol=1e-4) == (model == "bow")


@every_builder
def test_every_stream_matters(model: str) -> None:
    classifier = dynamic_model(model, *STREAMS)
    ids, other = np.array([[2, 3, 4]], np.int32), np.array([[2, 5, 4]], np.int32)
    logits = classifier({"word": ids, "char": ids})
    assert not np.allclose(classifier({"word": other, "char": ids}), logits, atol=1e-4)
    assert not np.allclose(classifier({"word": ids, "char": other}), logits, atol=1e-4)


@every_builder
def test_embedding_gradients_are_row_sparse(model: str) -> None:
    """The optimizer updates only the rows of a batch; the padding's row is not among the moved."""
    classifier = dynamic_model(model, *STREAMS)
    with tf.GradientTape() as tape:
        logits = classifier(same_ids(STREAMS, TEXTS[:3]))
        loss = cross_entropy(TEXT_LABELS[:3], logits).total
    tables = {v.path: v for v in classifier.trainable_variables if "embeddings" in v.path}
    assert len(tables) == (3 if model in ("fasttext", "bilstm", "bigru") else 2)
    for path, gradient in tape.gradient(loss, tables).items():
        assert isinstance(gradient, tf.IndexedSlices), path
        dense = tf.convert_to_tensor(gradient).numpy()
        assert dense[2:].any(), path
        # Row 0 of the n-grams is no padding: it says that no n-gram starts here.
        assert path.startswith("ngram") or not dense[0].any(), path


@every_builder
def test_an_empty_text_has_a_gradient_without_nan(model: str) -> None:
    classifier = dynamic_model(model, "word")
    with tf.GradientTape() as tape:
        logits = classifier({"word": np.zeros((2, 3), np.int32)}, training=True)
        loss = cross_entropy([0, 1], logits).mean()
    for gradient in tape.gradient(loss, classifier.trainable_variables):
        assert gradient is None or np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_recurrent_layers_get_masks_that_cudnn_accepts() -> None:
    """Contiguous True from the left, at least one of them."""
    model = dynamic_model("bilstm", "word")
    mask = keras.Model(model.inputs, model.get_layer("word_mask").output)({"word": TEXTS})
    mask = np.asarray(mask)
    assert mask[:, 0].all()
    assert (np.diff(mask.astype(int), axis=1) <= 0).all()
    layer = model.get_layer("recurrent_0").forward_layer
    assert layer.activation is keras.activations.tanh
    assert layer.recurrent_activation is keras.activations.sigmoid
    assert layer.recurrent_dropout == 0 and not layer.unroll and layer.use_bias


def test_cudnn_can_be_switched_off_for_xla() -> None:
    for cudnn, expected in ((True, "auto"), (False, False)):
        model = build_text_classifier("bigru", tiny_text_config(use_cudnn=cudnn))
        layer = model.get_layer("recurrent_0")
        assert layer.forward_layer.use_cudnn == layer.backward_layer.use_cudnn == expected


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_step(x, h, c, kernel, recurrent, bias):
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, c, kernel, recurrent, bias):
    z_x, r_x, g_x = np.split(x @ kernel + bias[0], 3)
    z_h, r_h, g_h = np.split(h @ recurrent + bias[1], 3)
    z, r = sigmoid(z_x + z_h), sigmoid(r_x + r_h)
    return z * h + (1 - z) * np.tanh(g_x + r * g_h), c


@pytest.mark.parametrize(("model", "step"), [("bilstm", lstm_step), ("bigru", gru_step)])
def test_recurrent_classifier_equals_numpy(model: str, step) -> None:
    """From ids to logits, one token at a time, in float64."""
    config = tiny_text_config("word", pooling=("last", "mean", "max"))
    classifier = build_text_classifier(model, config)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=w.shape) * 0.5 for w in classifier.get_weights()]
    classifier.set_weights(weights)
    table, *recurrent, kernel, bias = weights
    logits = classifier({"word": TEXTS})
    for row, length, result in zip(TEXTS, (5, 2, 3, 1), logits, strict=True):
        x = table[row[:length]]
        directions = []
        for cell, order in ((recurrent[:3], 1), (recurrent[3:], -1)):
            h, c, states = np.zeros(8), np.zeros(8), []
            for token in x[::order]:
                h, c = step(token, h, c, *cell)
                states.append(h)
            directions.append((h, np.array(states)[::order]))
        (forwards, left), (backwards, right) = directions
        states = np.concatenate([left, right], axis=-1)
        pooled = np.concatenate([forwards, backwards, states.mean(0), states.max(0)])
        np.testing.assert_allclose(result, pooled @ kernel + bias, rtol=1e-4, atol=1e-4)


def test_textcnn_equals_numpy() -> None:
    """Filters of one and two tokens, the longer one reaching over the end into zeros."""
    classifier = build_text_classifier("textcnn", tiny_text_config("word", kernel_sizes=(1, 2)))
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=w.shape) for w in classifier.get_weights()]
    classifier.set_weights(weights)
    table, one, one_bias, two, two_bias, kernel, bias = weights
    x = np.concatenate([table[[6, 5]], np.zeros((1, 6))])
    features = [
        np.maximum(x[:2] @ one[0] + one_bias, 0).max(0),
        np.maximum(x[:2] @ two[0] + x[1:] @ two[1] + two_bias, 0).max(0),
    ]
    expected = np.concatenate(features) @ kernel + bias
    np.testing.assert_allclose(classifier({"word": TEXTS})[1], expected, rtol=1e-4, atol=1e-4)


def test_bags_equal_numpy() -> None:
    bow = dynamic_model("bow", "word")
    table, kernel, bias = bow.get_weights()
    expected = table[[7, 2, 3]].mean(0) @ kernel + bias
    np.testing.assert_allclose(bow({"word": TEXTS})[2], expected, rtol=1e-4, atol=1e-4)

    fasttext = dynamic_model("fasttext", "word")
    pairs, triples = (fasttext.get_layer(f"word_{n}grams")(TEXTS)[2].numpy() for n in (2, 3))
    assert (pairs > 0).tolist() == [True, True, False, False, False]
    assert (triples > 0).tolist() == [True, False, False, False, False]
    buckets = [*pairs[:2], triples[0]]
    vectors = [
        *fasttext.get_layer("word_embedding").embeddings.numpy()[[7, 2, 3]],
        *fasttext.get_layer("ngram_embedding").embeddings.numpy()[buckets],
    ]
    kernel, bias = fasttext.get_layer("logits").get_weights()
    expected = np.mean(vectors, axis=0) @ kernel + bias
    np.testing.assert_allclose(fasttext({"word": TEXTS})[2], expected, rtol=1e-4, atol=1e-4)


def test_rcnn_context_of_a_token_excludes_it() -> None:
    classifier = build_text_classifier("rcnn", tiny_text_config("word"))
    left, right = keras.Model(classifier.inputs, classifier.get_layer("contexts").output)(
        {"word": np.array([[2, 3, 4], [2, 9, 4]], np.int32)}
    )
    np.testing.assert_allclose(left[0, :2], left[1, :2], atol=1e-7)
    np.testing.assert_allclose(right[0, 1:], right[1, 1:], atol=1e-7)
    assert not np.allclose(left[0, 2], left[1, 2], atol=1e-5)
    assert not np.allclose(right[0, 0], right[1, 0], atol=1e-5)


@every_builder
def test_given_embeddings_are_the_start(model: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    for trained in (True, False):
        config = tiny_text_config(*STREAMS, train_embeddings=trained)
        classifier = build_text_classifier(model, config, {"word": vectors})
        table = classifier.get_layer("word_embedding").embeddings
        np.testing.assert_array_equal(table, vectors)
        assert any(v is table for v in classifier.trainable_variables) == trained


def test_spatial_dropout_drops_whole_channels() -> None:
    model = build_text_classifier("bow", tiny_text_config("word", spatial_dropout=0.5))
    dropped = keras.Model(model.inputs, model.get_layer("spatial_dropout").output)
    rows = dropped({"word": np.tile(TEXTS[:1], (20, 1))}, training=True).numpy()
    is_zero = rows == 0
    assert (is_zero.all(axis=1) == is_zero.any(axis=1)).all()
    assert 0.3 < is_zero.mean() < 0.7


@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_streams_and_ngrams_are_combined_at_each_position(combine) -> None:
    config = tiny_text_config(*STREAMS, combine=combine, ngrams={"char": (2,)})
    model = build_text_classifier("textcnn", config)
    x = keras.Model(model.inputs, model.get_layer("embeddings").output)(same_ids(STREAMS, TEXTS))
    words, chars = (model.get_layer(f"{s}_embedding").embeddings.numpy()[TEXTS] for s in STREAMS)
    buckets = model.get_layer("char_2grams")(TEXTS).numpy()
    pairs = model.get_layer("ngram_embedding").embeddings.numpy()[buckets]
    parts = [words, chars, pairs]
    expected = sum(parts) if combine == "sum" else np.concatenate(parts, axis=-1)
    np.testing.assert_allclose(x, expected, atol=1e-6)


def test_which_builders_choose_ngrams_for_themselves() -> None:
    def sizes(model: str, **changes) -> dict[str, int]:
        layers = build_text_classifier(model, tiny_text_config(*STREAMS, **changes)).layers
        return {layer.name: layer.size for layer in layers if isinstance(layer, NGramBuckets)}

    assert sizes("bilstm") == sizes("bigru") == {"char_2grams": 2, "char_3grams": 3}
    assert sizes("bilstm", ngrams={}) == sizes("rcnn") == sizes("bow") == {}
    assert set(sizes("fasttext")) == {f"{s}_{n}grams" for s in STREAMS for n in (2, 3)}
    assert sizes("fasttext", ngrams={"word": (4,)}) == {"word_4grams": 4}


def test_ngrams_never_seen_add_nothing() -> None:
    model = build_text_classifier("bilstm", tiny_text_config("char"))
    assert not model.get_layer("ngram_embedding").embeddings.numpy().any()
    assert model.get_layer("char_embedding").embeddings.numpy().any()


def test_token_dropout_hides_tokens_and_ngrams_in_training_only() -> None:
    model = build_text_classifier("bow", tiny_text_config(token_dropout=0.5, ngrams={"word": (2,)}))
    for name, hidden in (("word_dropout", 1), ("word_2grams_dropout", 0)):
        part = keras.Model(model.inputs, model.get_layer(name).output)
        ids = {"word": np.tile(TEXTS[:1], (50, 1))}
        whole, thinned = part(ids).numpy(), part(ids, training=True).numpy()
        changed = thinned != whole
        assert 0.2 < changed.mean() < 0.7
        assert (thinned[changed] == hidden).all()


def test_length_is_static_where_given() -> None:
    assert build_text_classifier("bow", tiny_text_config(length=5)).inputs[0].shape == (None, 5)
    assert build_text_classifier("bow", tiny_text_config()).inputs[0].shape == (None, None)


def test_inputs_are_named_like_the_streams() -> None:
    model = build_text_classifier("textcnn", tiny_text_config(*STREAMS))
    assert {i.name: i.dtype for i in model.inputs} == {"word": "int32", "char": "int32"}
    assert model.output.shape == (None, 3) and model.output.dtype == "float32"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tiny_text_config(num_classes=0), "num_classes .* 0"),
        (lambda: tiny_text_config(length=0), "length .* 0"),
        (lambda: tiny_text_config(dropout=1.0), r"dropout .* 1\.0"),
        (lambda: tiny_text_config(token_dropout=-0.1), r"token_dropout .* -0\.1"),
        (lambda: tiny_text_config(ngrams={"char": (2,)}), r"some of \['word'\], got {'char'"),
        (lambda: tiny_text_config(ngrams={"word": (0,)}), "positive lengths"),
        (lambda: tiny_text_config(combine="mean"), "combine .* 'mean'"),
        (lambda: TextClassifierConfig(streams={}, num_classes=2), "streams"),
        (lambda: TextClassifierConfig(streams={"word": 1}, num_classes=2), "2 or more"),
        (lambda: build_text_classifier("bert", tiny_text_config()), "bow, .*, got 'bert'"),
        (
            lambda: build_text_classifier("bow", tiny_text_config(), {"char": np.zeros((12, 6))}),
            r"vectors for 'char', but the streams are \['word'\]",
        ),
        (
            lambda: build_text_classifier("bow", tiny_text_config(), {"word": np.zeros((12, 5))}),
            r"\(12, 6\), got \(12, 5\)",
        ),
        (
            lambda: build_text_classifier("transformer", tiny_text_config(pooling=("last",))),
            "no last state",
        ),
        (lambda: build_text_classifier("transformer", tiny_text_config(num_heads=3)), "8 and 3"),
        (lambda: build_text_classifier("bilstm", tiny_text_config(pooling=("sum",))), "sum"),
    ],
)
def test_mistakes_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
