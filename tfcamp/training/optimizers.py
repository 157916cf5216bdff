"""Adam that touches only the embedding rows a batch used, and learning-rate schedules."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def sum_equal_rows(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """Adds up the slices of equal index, so that each row stands once.

    A token that occurs k times in a batch yields k slices. Squaring them one by one (a norm, Adam's
    second moment) is wrong: the square of a sum is not the sum of squares.

    Args:
      gradient: values float[N, ...], indices int[N].

    Returns:
      slices with distinct indices, in the order of their first occurrence.
    """
    indices, positions = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, positions, tf.size(indices))
    return tf.IndexedSlices(values, indices, gradient.dense_shape)


@keras.saving.register_keras_serializable("tfcamp")
class RowSparseAdam(keras.optimizers.Adam):
    """Adam whose embedding updates cost as much as the rows a batch used, not the vocabulary.

    For dense gradients this is Adam (Kingma and Ba, 2015) with Keras's epsilon, in one fused
    kernel. For the row-sparse gradient of an embedding, only the rows of the batch and their
    moments are read and written. A row that a batch did not use keeps its moments, where Adam
    would decay them and move the row on along its old momentum; accuracy does not suffer
    (measured in ``projects/news/README.md``).

    Decaying every row of an embedding at each step would cost what this class saves, so exclude
    embeddings from weight decay, as :func:`build_optimizer` does.
    """

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates one variable in place.

        Args:
          gradient: float[shape of the variable], or IndexedSlices over its first axis.
          variable: tf.Variable.
          learning_rate: float[].
        """
        if self.amsgrad:
            raise ValueError("RowSparseAdam has no amsgrad: use keras.optimizers.Adam")
        index = self._get_variable_index(variable)
        momentum = self._momentums[index].value
        velocity = self._velocities[index].value
        dtype = variable.dtype
        rate = tf.cast(learning_rate, dtype)
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        epsilon = tf.constant(self.epsilon, dtype)
        beta_1_power, beta_2_power = tf.pow(beta_1, step), tf.pow(beta_2, step)

        if not isinstance(gradient, tf.IndexedSlices):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=momentum.handle,
                v=velocity.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=epsilon,
                grad=tf.cast(gradient, dtype),
            )
            return

        rows = sum_equal_rows(gradient)
        values = tf.cast(rows.values, dtype)
        new_momentum = beta_1 * tf.gather(momentum, rows.indices) + (1 - beta_1) * values
        new_velocity = beta_2 * tf.gather(velocity, rows.indices) + (1 - beta_2) * values**2
        momentum.scatter_update(tf.IndexedSlices(new_momentum, rows.indices))
        velocity.scatter_update(tf.IndexedSlices(new_velocity, rows.indices))
        rate *= tf.sqrt(1 - beta_2_power) / (1 - beta_1_power)
        change = rate * new_momentum / (tf.sqrt(new_velocity) + epsilon)
        variable.scatter_sub(tf.IndexedSlices(change, rows.indices))


# What Keras's optimizers do before gradients are added up over the replicas, or not at all then.
_DONE_BY_THE_STEP = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "gradient_accumulation_steps",
    "loss_scale_factor",
)


def check_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses an optimizer that would clip, average, accumulate or scale by itself.

    Raises:
      ValueError: it names what belongs into ``StepOptions`` or ``Trainer`` instead.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "LossScaleOptimizer looks at one replica only: the trainer scales the loss"
        )
    for name in _DONE_BY_THE_STEP:
        if getattr(optimizer, name, None):
            raise ValueError(
                f"the optimizer's {name}={getattr(optimizer, name)!r} is wrong with several "
                "replicas: use StepOptions(clip_norm=..., accumulate=...) or "
                "Trainer(average_decay=...)"
            )


def apply_gradients(
    strategy: tf.distribute.Strategy,
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence,
    variables: Sequence[keras.Variable],
) -> None:
    """Takes the optimizer's step with gradients that are added up already; across replicas.

    ``optimizer.apply`` adds them up itself, so nothing could be done between the sum and the step.

    Args:
      strategy: under whose scope the variables were made.
      optimizer: built on the variables.
      gradients: one for each variable, dense or IndexedSlices, the same on each replica.
      variables: what is updated.
    """
    learning_rate = optimizer.learning_rate

    def update(variable, gradient, learning_rate) -> None:
        if optimizer.weight_decay is not None and optimizer._use_weight_decay(variable):
            shrinkage = tf.cast(learning_rate * optimizer.weight_decay, variable.dtype)
            variable.assign_sub(variable * shrinkage)
        optimizer.update_step(gradient, variable, learning_rate)

    for variable, gradient in zip(variables, gradients, strict=True):
        strategy.extended.update(
            variable.value, update, args=(gradient, learning_rate), group=False
        )
        if variable.constraint is not None:
            variable.assign(variable.constraint(variable.value))
    optimizer.iterations.assign_add(1)


@keras.saving.register_keras_serializable("tfcamp")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly for ``warmup_steps``, then falls with 1/sqrt(step) (Vaswani et al., 2017)."""

    def __init__(self, peak: float, warmup_steps: int) -> None:
        """Keeps the parameters.

        Args:
          peak: the largest learning rate, reached at the end of the warm-up.
          warmup_steps: steps of the warm-up, at least 1.
        """
        if warmup_steps < 1:
            raise ValueError(f"warmup_steps must be at least 1, got {warmup_steps}")
        self.peak = peak
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """Returns the learning rate float32[] at a step (steps already taken)."""
        step = tf.cast(step, tf.float32) + 1.0
        warmup = tf.cast(self.warmup_steps, tf.float32)
        return self.peak * tf.minimum(step / warmup, tf.sqrt(warmup / step))

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


def build_schedule(
    name: str, peak: float, *, warmup_steps: int, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Builds a learning-rate schedule.

    Args:
      name: ``constant``; ``cosine``: warm-up, then half a cosine down to zero at ``total_steps``
        (Loshchilov and Hutter, 2017); ``inverse_sqrt``: see :class:`InverseSquareRoot`.
      peak: the largest learning rate.
      warmup_steps: steps of the linear rise; ``constant`` ignores it.
      total_steps: steps of the whole training.

    >>> schedule = build_schedule("cosine", 1.0, warmup_steps=10, total_steps=110)
    >>> [round(float(schedule(step)), 2) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if name == "constant":
        return peak
    if name == "cosine" and warmup_steps < 1:
        return keras.optimizers.schedules.CosineDecay(peak, decay_steps=max(1, total_steps))
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=max(1, total_steps - warmup_steps),
            warmup_target=peak,
            warmup_steps=warmup_steps,
        )
    if name == "inverse_sqrt":
        return InverseSquareRoot(peak, max(1, warmup_steps))
    raise ValueError(f"schedule must be constant, cosine or inverse_sqrt, got {name!r}")


def is_bias_or_norm(variable: keras.Variable) -> bool:
    """Tells which variables do not decay: those of one axis, and a GRU's bias, which has two."""
    return len(variable.shape) < 2 or variable.name == "bias"


def build_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    model: keras.Model,
    *,
    weight_decay: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Builds an optimizer whose weight decay spares what should not decay.

    Args:
      name: ``row_sparse_adam``, or ``adam`` for Keras's own.
      learning_rate: a number or a schedule.
      model: its embeddings, biases and norms are excluded from the decay.
      weight_decay: decoupled (Loshchilov and Hutter, 2019): weights shrink by this times the
        learning rate at each step.

    Raises:
      ValueError: unknown name.
    """
    kinds = {"row_sparse_adam": RowSparseAdam, "adam": keras.optimizers.Adam}
    if name not in kinds:
        raise ValueError(f"optimizer must be one of {sorted(kinds)}, got {name!r}")
    optimizer = kinds[name](learning_rate, weight_decay=weight_decay or None)
    if weight_decay:
        embeddings = {
            id(layer.embeddings)
            for layer in model.layers
            if isinstance(layer, keras.layers.Embedding)
        }
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if id(variable) in embeddings or is_bias_or_norm(variable)
            ]
        )
    return optimizer
