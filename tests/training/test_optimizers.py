"""Row-sparse Adam is Adam on the rows of the batch, and leaves the others alone, bit for bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.training.optimizers import (
    InverseSquareRoot,
    RowSparseAdam,
    build_optimizer,
    build_schedule,
    sum_equal_rows,
)

NUM_ROWS, WIDTH = 7, 3


def make_table() -> keras.Variable:
    return keras.Variable(np.random.default_rng(0).normal(size=[NUM_ROWS, WIDTH]), dtype="float32")


def slices_of(rows: list[int], step: int) -> tf.IndexedSlices:
    values = np.random.default_rng([1, step]).normal(size=[len(rows), WIDTH])
    return tf.IndexedSlices(
        tf.constant(values, tf.float32), tf.constant(rows), tf.constant([NUM_ROWS, WIDTH])
    )


def optimize(optimizer: keras.optimizers.Optimizer, gradients) -> keras.Variable:
    table = make_table()
    optimizer.build([table])
    apply = tf.function(lambda gradient: optimizer.apply([gradient]))
    for gradient in gradients:
        apply(gradient)
    return table


def options() -> dict:
    """Not the defaults, which a mistaken constant could equal; epsilon is large enough to show."""
    schedule = InverseSquareRoot(0.1, 3)
    return {"learning_rate": schedule, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2}


def test_equal_rows_are_summed():
    values = tf.constant([[1.0], [2.0], [4.0], [8.0]])
    rows = sum_equal_rows(tf.IndexedSlices(values, tf.constant([3, 0, 3, 5]), tf.constant([6, 1])))
    assert rows.indices.numpy().tolist() == [3, 0, 5]
    assert rows.values.numpy().tolist() == [[5.0], [2.0], [8.0]]
    assert tf.convert_to_tensor(rows).shape == [6, 1]


def test_dense_gradients_make_it_adam():
    gradients = [tf.convert_to_tensor(slices_of(list(range(NUM_ROWS)), step)) for step in range(8)]
    ours = optimize(RowSparseAdam(**options()), gradients)
    np.testing.assert_allclose(
        ours, optimize(keras.optimizers.Adam(**options()), gradients), atol=1e-6
    )


def test_sparse_gradients_of_every_row_make_it_adam():
    """Row 2 stands three times, row 5 twice: their slices are added before they are squared."""
    gradients = [slices_of([2, 0, 5, 1, 2, 3, 6, 4, 5, 2], step) for step in range(8)]
    ours = optimize(RowSparseAdam(**options()), gradients)
    dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
    np.testing.assert_allclose(ours, optimize(keras.optimizers.Adam(**options()), dense), atol=1e-6)


def test_rows_that_a_batch_did_not_use_keep_every_bit():
    optimizer, table = RowSparseAdam(0.1), make_table()
    optimizer.build([table])
    everything = [table, *optimizer._momentums, *optimizer._velocities]
    optimizer.apply([slices_of(list(range(NUM_ROWS)), step=0)])
    before = [variable.numpy().copy() for variable in everything]
    optimizer.apply([slices_of([1, 4, 1], step=1)])
    untouched = [0, 2, 3, 5, 6]
    for variable, old in zip(everything, before, strict=True):
        np.testing.assert_array_equal(variable.numpy()[untouched], old[untouched])
        assert np.all(variable.numpy()[[1, 4]] != old[[1, 4]])
    assert int(optimizer.iterations.numpy()) == 2


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="amsgrad"):
        optimize(RowSparseAdam(0.1, amsgrad=True), [slices_of([0], 0)])


def rates(schedule, steps: tuple[int, ...]) -> list[float]:
    return [float(schedule(step)) for step in steps]


def test_constant():
    assert build_schedule("constant", 0.5, warmup_steps=10, total_steps=20) == 0.5


def test_warm_up_and_cosine():
    schedule = build_schedule("cosine", 2.0, warmup_steps=100, total_steps=500)
    golden = [0.0, 1.0, 2.0, 1.0 + 0.5**0.5, 1.0, 0.0, 0.0]
    assert rates(schedule, (0, 50, 100, 200, 300, 500, 900)) == pytest.approx(golden, abs=1e-6)


def test_inverse_square_root():
    """Steps count from 0, so step 3 is the fourth."""
    schedule = build_schedule("inverse_sqrt", 2.0, warmup_steps=4, total_steps=100)
    golden = [0.5, 1.0, 2.0, 1.0, 0.5]
    assert rates(schedule, (0, 1, 3, 15, 63)) == pytest.approx(golden, rel=1e-6)


def test_schedules_without_warm_up_are_finite_from_the_start():
    for name in ("cosine", "inverse_sqrt"):
        schedule = build_schedule(name, 1.0, warmup_steps=0, total_steps=1)
        assert np.isfinite(rates(schedule, (0, 1, 2))).all()


def test_cosine_without_warm_up_begins_at_its_peak():
    schedule = build_schedule("cosine", 2.0, warmup_steps=0, total_steps=100)
    assert rates(schedule, (0, 50, 100)) == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="cosin'"):
        build_schedule("cosin", 1.0, warmup_steps=1, total_steps=2)
    with pytest.raises(ValueError, match="adamm"):
        build_optimizer("adamm", 0.1, make_model())
    with pytest.raises(ValueError, match="0"):
        InverseSquareRoot(1.0, 0)


def make_model() -> keras.Model:
    ids = keras.Input([4], dtype="int32")
    features = keras.layers.GRU(2, bias_initializer="ones")(keras.layers.Embedding(10, 3)(ids))
    features = keras.layers.LayerNormalization()(features)
    return keras.Model(ids, keras.layers.Dense(2, bias_initializer="ones")(features))


@pytest.mark.parametrize("name", ["adam", "row_sparse_adam"])
def test_weight_decay_spares_embeddings_biases_and_norms(name):
    model = make_model()
    optimizer = build_optimizer(name, 0.1, model, weight_decay=0.5)
    optimizer.build(model.trainable_variables)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    optimizer.apply([tf.zeros(variable.shape) for variable in model.trainable_variables])
    shrinking = [path for path in before if path.endswith("kernel")]
    assert len(shrinking) == 3 and len(before) == 8
    for variable in model.trainable_variables:
        factor = 1 - 0.1 * 0.5 if variable.path in shrinking else 1.0
        np.testing.assert_allclose(variable.numpy(), factor * before[variable.path], rtol=1e-6)


def test_config_survives():
    optimizer = RowSparseAdam(InverseSquareRoot(0.2, 50), beta_1=0.7, weight_decay=0.01)
    loaded = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(loaded) is RowSparseAdam
    assert loaded.get_config() == optimizer.get_config()
    assert rates(loaded._learning_rate, (0, 7, 400)) == rates(optimizer._learning_rate, (0, 7, 400))
