"""The recurrent models: attention against NumPy, where the decoder starts, what is refused."""

import keras
import numpy as np
import pytest

from tfcamp.models.attention import with_attention
from tfcamp.models.seq2seq import Seq2SeqConfig, SourceAttention, build_seq2seq

SOURCE = np.array([[4, 5, 6, 3], [7, 3, 0, 0]], np.int32)
TARGET = np.array([[2, 8, 9], [2, 7, 0]], np.int32)
BATCH = {"source": SOURCE, "target": TARGET}
MASK = np.array([[True, True, True, True], [True, True, False, False]])


def config(**changes) -> Seq2SeqConfig:
    return Seq2SeqConfig(
        **{"source_vocabulary": 10, "target_vocabulary": 11, "width": 8, **changes}
    )


def build(**changes) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_seq2seq(config(**changes))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("score", ["additive", "dot"])
def test_attention_equals_numpy(score: str) -> None:
    queries, memory = normal(2, 3, 6), normal(2, 4, 6, seed=1)
    layer = SourceAttention(6, score)
    layer(queries, memory, mask=MASK)
    for i, variable in enumerate(layer.weights):
        variable.assign(normal(*variable.shape, seed=i))
    w = {"/".join(v.path.split("/")[-2:]): np.asarray(v.value) for v in layer.weights}
    outputs, shares = layer(queries, memory, mask=MASK)
    assert shares.shape == (2, 1, 3, 4)
    for b, length in enumerate((4, 2)):
        states = memory[b, :length]
        keys = states @ w["key/kernel"]
        for t in range(3):
            if score == "additive":
                query = queries[b, t] @ w["query/kernel"] + w["query/bias"]
                scores = (np.tanh(query + keys) @ w["scorer/kernel"])[:, 0]
            else:
                scores = keys @ queries[b, t] / np.sqrt(6)
            expected = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(shares[b, 0, t, :length], expected, rtol=1e-4, atol=1e-6)
            assert not np.any(shares[b, 0, t, length:])
            both = np.concatenate([expected @ states, queries[b, t]])
            output = np.tanh(both @ w["output/kernel"] + w["output/bias"])
            np.testing.assert_allclose(outputs[b, t], output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_decoder_starts_from_the_encoder_s_last_states(cell: str) -> None:
    """Run by Keras's own layers, layer by layer; without attention nothing else is seen."""
    model = build(cell=cell, attention="none", num_layers=2)

    def layer(name: str) -> keras.layers.Layer:
        return model.get_layer(name)

    x, states = layer("source_embedding")(SOURCE), []
    for i in range(2):
        x, *both = layer(f"encoder_{i}")(x, mask=MASK)
        half = len(both) // 2
        states.append([np.concatenate(it, -1) for it in zip(both[:half], both[half:], strict=True)])
    # The backward half has read the whole text when it is at its first token.
    np.testing.assert_allclose(states[1][0][:, 4:], x[:, 0, 4:], atol=1e-6)
    np.testing.assert_allclose(states[1][0][1, :4], x[1, 1, :4], atol=1e-6)
    x = layer("target_embedding")(TARGET)
    for i in range(2):
        x, *_ = layer(f"decoder_{i}")(x, initial_state=states[i])
    expected = layer("target_embedding")(x, reverse=True)
    np.testing.assert_allclose(model(BATCH), expected, atol=1e-5)


def test_attention_can_be_returned() -> None:
    model = build()
    outputs = with_attention(model)(BATCH)
    np.testing.assert_array_equal(outputs["logits"], model(BATCH))
    attention = outputs["attention"].numpy()
    assert attention.shape == (2, 1, 1, 3, 4)
    np.testing.assert_allclose(attention.sum(-1), 1.0, atol=1e-5)
    assert not attention[1, ..., 2:].any() and attention[1, ..., :2].all()


def test_without_attention_there_is_none_to_return() -> None:
    with pytest.raises(ValueError, match="no layer of model 'seq2seq' attends to a source"):
        with_attention(build(attention="none"))


def test_dropout_is_felt_in_training_only() -> None:
    model = build(dropout=0.5)
    np.testing.assert_array_equal(model(BATCH), model(BATCH))
    layers = [it for it in model._flatten_layers() if isinstance(it, keras.layers.Dropout)]
    assert len(layers) == 5  # both embeddings, encoder, decoder, attention
    for layer in layers:
        layer.rate = 0.0
    still = model(BATCH, training=True)
    for layer in layers:
        layer.rate = 0.5
        assert np.abs(model(BATCH, training=True) - still).max() > 1e-3, layer.path
        layer.rate = 0.0


@pytest.mark.parametrize("use_cudnn", [True, False])
def test_cudnn_can_be_ruled_out(use_cudnn: bool) -> None:
    """Its kernels do not compile with XLA on a GPU."""
    model = build(use_cudnn=use_cudnn)
    cells = [it for it in model._flatten_layers() if isinstance(it, keras.layers.GRU)]
    assert len(cells) == 3
    assert {cell.use_cudnn for cell in cells} == {"auto" if use_cudnn else False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"width": 7}, "two directions need an even width, got 7"),
        ({"cell": "rnn"}, "cell must be 'gru' or 'lstm', got 'rnn'"),
        ({"attention": "local"}, "'none', 'additive' or 'dot', got 'local'"),
        ({"tie_embeddings": "all"}, r"one vocabulary, got sizes \(10, 11\)"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_one_direction_takes_an_odd_width() -> None:
    model = build(width=7, bidirectional=False)
    assert model(BATCH).shape == (2, 3, 11)
