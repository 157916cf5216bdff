"""The Transformer against NumPy, its parts against the paper, what its configuration refuses."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.losses import cross_entropy
from tfcamp.models.attention import with_attention
from tfcamp.models.positions import sinusoidal_positions
from tfcamp.models.transformer import (
    SIZES,
    TransformerConfig,
    build_transformer,
    transformer_steps,
)

SOURCE = np.array([[4, 5, 6, 3], [7, 3, 0, 0]], np.int32)
TARGET = np.array([[2, 8, 9], [2, 7, 0]], np.int32)
BATCH = {"source": SOURCE, "target": TARGET}


def config(**changes) -> TransformerConfig:
    options = {
        "source_vocabulary": 10,
        "target_vocabulary": 11,
        "width": 8,
        "num_heads": 2,
        "inner_width": 12,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
    }
    return TransformerConfig(**{**options, **changes})


def build(**changes) -> keras.Model:
    """A model whose biases and scales are not all zero and one."""
    keras.utils.set_random_seed(1)
    model = build_transformer(config(**changes))
    for variable in model.trainable_variables:
        variable.assign(variable.value + 0.2 * keras.random.normal(variable.shape))
    return model


class NumpyTransformer:
    """Fig. 1 and eq. 1 of the paper, one row and one head at a time, without padding."""

    def __init__(self, model: keras.Model, config: TransformerConfig) -> None:
        self.config = config
        self.weights = {v.path: np.asarray(v.value, np.float64) for v in model.trainable_variables}

    def dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}/kernel"] + self.weights.get(f"{name}/bias", 0.0)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * self.weights[f"{name}/gamma"] + self.weights[f"{name}/beta"]

    def attention(self, x: np.ndarray, memory: np.ndarray, name: str, causal: bool) -> np.ndarray:
        query, key, value = (
            self.dense(states, f"{name}/{part}")
            for states, part in ((x, "query"), (memory, "key"), (memory, "value"))
        )
        size = self.config.width // self.config.num_heads
        heads = []
        for start in range(0, self.config.width, size):
            h = slice(start, start + size)
            head = np.zeros((len(x), size))
            for t in range(len(x)):
                seen = slice(0, t + 1) if causal else slice(None)
                scores = np.exp(key[seen, h] @ query[t, h] / math.sqrt(size))
                head[t] = scores / scores.sum() @ value[seen, h]
            heads.append(head)
        return self.dense(np.concatenate(heads, axis=-1), f"{name}/output")

    def feed_forward(self, x: np.ndarray, name: str) -> np.ndarray:
        return self.dense(np.maximum(self.dense(x, f"{name}inner"), 0.0), f"{name}outer")

    def residual(self, x: np.ndarray, sublayer, name: str) -> np.ndarray:
        if self.config.norm == "pre":
            return x + sublayer(self.norm(x, name))
        return self.norm(x + sublayer(x), name)

    def embed(self, ids: np.ndarray, name: str) -> np.ndarray:
        joint = self.config.tie_embeddings == "all"
        table = self.weights[f"{'joint' if joint else name}_embedding/embeddings"]
        if self.config.positions == "learned":
            positions = self.weights[f"{name}_positions/table"][: len(ids)]
        else:
            positions = np.asarray(sinusoidal_positions(range(len(ids)), self.config.width))
        return table[ids] * math.sqrt(self.config.width) + positions

    def __call__(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        x = self.embed(source, "source")
        for name in (f"encoder_{i}_" for i in range(self.config.num_encoder_layers)):
            attention = f"{name}attention"
            x = self.residual(
                x, lambda x, a=attention: self.attention(x, x, a, False), f"{name}attention_norm"
            )
            x = self.residual(
                x, lambda x, n=name: self.feed_forward(x, n), f"{name}feed_forward_norm"
            )
        memory = self.norm(x, "memory") if self.config.norm == "pre" else x
        x = self.embed(target, "target")
        for name in (f"decoder_{i}/" for i in range(self.config.num_decoder_layers)):
            sublayers = {
                "self_attention": lambda x, n: self.attention(x, x, n, True),
                "cross_attention": lambda x, n: self.attention(x, memory, n, False),
                "feed_forward": lambda x, n: self.feed_forward(x, n.removesuffix("feed_forward")),
            }
            for part, sublayer in sublayers.items():
                x = self.residual(
                    x, lambda x, s=sublayer, n=name + part: s(x, n), f"{name}{part}_norm"
                )
        x = self.norm(x, "decoded") if self.config.norm == "pre" else x
        output = {"none": "output", "target": "target", "all": "joint"}[self.config.tie_embeddings]
        return x @ self.weights[f"{output}_embedding/embeddings"].T


@pytest.mark.parametrize(
    "changes",
    [
        {"num_encoder_layers": 2, "num_decoder_layers": 2},
        {"norm": "post", "tie_embeddings": "all", "source_vocabulary": 11},
        {"positions": "learned", "max_length": 5, "tie_embeddings": "none"},
    ],
    ids=["pre", "post, joint", "learned, untied"],
)
def test_equals_numpy(changes: dict) -> None:
    model = build(**changes)
    reference = NumpyTransformer(model, config(**changes))
    logits = model(BATCH)
    np.testing.assert_allclose(logits[0], reference(SOURCE[0], TARGET[0]), atol=1e-4)
    np.testing.assert_allclose(logits[1, :2], reference(SOURCE[1, :2], TARGET[1, :2]), atol=1e-4)


def test_base_has_as_many_parameters_as_the_paper_says() -> None:
    """65 million, table 3, with a joint vocabulary of 37,000."""
    model = build_transformer(
        TransformerConfig(
            **SIZES["base"],
            source_vocabulary=37_000,
            target_vocabulary=37_000,
            tie_embeddings="all",
            norm="post",
        )
    )
    d, inner, layers = 512, 2048, 6
    attention = 4 * d * d + 3 * d  # keys have no bias
    feed_forward = d * inner + inner + inner * d + d
    norm = 2 * d
    encoder = layers * (attention + feed_forward + 2 * norm)
    decoder = layers * (2 * attention + feed_forward + 3 * norm)
    expected = 37_000 * d + encoder + decoder
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == expected == 63_073_280


@pytest.mark.parametrize(
    ("tied", "num_tables"), [("none", 3), ("target", 2), ("all", 1)], ids=["none", "target", "all"]
)
def test_tied_embeddings_are_one_variable(tied: str, num_tables: int) -> None:
    model = build(tie_embeddings=tied, source_vocabulary=11)
    tables = [v for v in model.trainable_variables if v.path.endswith("/embeddings")]
    assert len(tables) == num_tables
    with tf.GradientTape() as tape:
        loss = cross_entropy(TARGET, model(BATCH)).total
    for gradient in tape.gradient(loss, tables):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0


def test_loss_starts_like_that_of_an_even_guess() -> None:
    keras.utils.set_random_seed(0)
    model = build_transformer(
        config(width=64, num_heads=4, source_vocabulary=500, target_vocabulary=500)
    )
    random = np.random.default_rng(0)
    source, target, labels = random.integers(4, 500, (3, 16, 9))
    loss = cross_entropy(labels, model({"source": source, "target": target}))
    assert float(loss.mean()) == pytest.approx(math.log(500) + 0.5, abs=0.2)


def test_dropout_stands_at_every_site_of_the_paper() -> None:
    """Embeddings with positions, and each sublayer's output: sec. 5.4."""
    model = build(dropout=0.25, attention_dropout=0.375, inner_dropout=0.5)
    rates = {}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            rates.setdefault(layer.rate, []).append(layer.path)
    # 2 embeddings; an encoder block of 2 sublayers; a decoder block of 3.
    assert len(rates[0.25]) == 2 + 2 + 3
    assert len(rates[0.375]) == 1 + 2
    assert len(rates[0.5]) == 1 + 1
    assert set(rates) == {0.25, 0.375, 0.5}


def test_each_dropout_layer_is_felt_in_training_only() -> None:
    """One that is built and never called would drop nothing."""
    model = build(dropout=0.5, attention_dropout=0.5, inner_dropout=0.5)
    np.testing.assert_array_equal(model(BATCH, training=False), model(BATCH, training=False))
    layers = [it for it in model._flatten_layers() if isinstance(it, keras.layers.Dropout)]
    for layer in layers:
        layer.rate = 0.0
    still = model(BATCH, training=True)
    for layer in layers:
        layer.rate = 0.5
        assert np.abs(model(BATCH, training=True) - still).max() > 0.01, layer.path
        layer.rate = 0.0


def test_attention_can_be_returned() -> None:
    model = build()
    outputs = with_attention(model)(BATCH)
    np.testing.assert_array_equal(outputs["logits"], model(BATCH))
    attention = outputs["attention"].numpy()
    assert attention.shape == (2, 1, 2, 3, 4) and attention.dtype == np.float32
    np.testing.assert_allclose(attention.sum(-1), 1.0, atol=1e-5)
    assert not attention[1, ..., 2:].any() and attention[1, ..., :2].all()


def test_logits_are_float32_and_the_product_is_not() -> None:
    """The largest product of the model runs in bfloat16; the loss needs more."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    graph = tf.function(lambda batch: model(batch)).get_concrete_function(BATCH).graph
    largest = [op for op in graph.get_operations() if op.type == "MatMul"][-1]
    assert largest.outputs[0].shape[-1] == 11 and largest.outputs[0].dtype == tf.bfloat16
    steps = transformer_steps(model)
    memory, cache = steps.begin(tf.constant(SOURCE), 3)
    assert {it.dtype for it in tf.nest.flatten(cache)} == {tf.bfloat16}
    for position in range(3):
        logits, cache = steps.next(
            tf.constant(TARGET[:, position]), tf.constant(position), memory, cache
        )
        assert logits.dtype == tf.float32
        np.testing.assert_allclose(logits[0], model(BATCH)[0, position], atol=0.1)


def test_too_long_for_learned_positions() -> None:
    model = build(positions="learned", max_length=3)
    with pytest.raises(ValueError, match="only 3 positions were learned, got 4"):
        model(BATCH)


@pytest.mark.parametrize("size", SIZES)
def test_named_sizes_fit(size: str) -> None:
    options = SIZES[size]
    assert options["width"] % options["num_heads"] == 0
    TransformerConfig(**options, source_vocabulary=10, target_vocabulary=10)
    assert options.keys() < {field.name for field in dataclasses.fields(TransformerConfig)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"num_decoder_layers": 0}, "num_decoder_layers must be at least 1, got 0"),
        ({"norm": "both"}, "norm must be 'pre' or 'post', got 'both'"),
        ({"positions": "rotary"}, "positions must be 'sinusoidal' or 'learned', got 'rotary'"),
        ({"positions": "learned"}, "learned positions need a max_length, got None"),
        ({"tie_embeddings": "source"}, "'none', 'target' or 'all', got 'source'"),
        ({"tie_embeddings": "all"}, r"one vocabulary, got sizes \(10, 11\)"),
        ({"source_vocabulary": 3}, r"at least 4 ids, got \(3, 11\)"),
        ({"inner_dropout": 1.0}, r"inner_dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="got 8 and 3"):
        build_transformer(config(num_heads=3))
