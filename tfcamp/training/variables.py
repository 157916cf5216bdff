"""Variables to arrays and back, under any strategy; and the seeds of dropout on each replica."""

import hashlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

# The golden ratio of 2**32: seeds of neighbouring replicas lie far apart.
_SEED_STRIDE = 2654435769


def read_variables(variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    """Returns copies of the values, by position and path; of the first replica on this host."""
    return {
        f"{index:04d}/{variable.path}": np.array(variable.numpy())
        for index, variable in enumerate(variables)
    }


def assign_variables(variables: Sequence[keras.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Takes back what :func:`read_variables` returned, on all replicas."""
    if len(variables) != len(arrays):
        raise ValueError(f"{len(arrays)} arrays were saved, the model has {len(variables)}")
    for variable, value in zip(variables, arrays.values(), strict=True):
        variable.assign(value)


def weights_sha256(model: keras.Model) -> str:
    """Returns one hash of all weights, to tell whether two runs ended with the same bits."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()


def spread_seeds(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Gives each replica dropout of its own.

    The state of a seed generator is mirrored, so all replicas would drop the same positions. It is
    ``[seed, numbers drawn]``, and each replica counts for itself: so it is enough to add a multiple
    of the replica's number to its seed. The first replica's stays as it is, which makes one
    replica's dropout that of no strategy, and is all that a checkpoint needs to hold.

    Args:
      model: made under the strategy's scope.
      strategy: where it runs.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    numbers = tf.function(lambda: strategy.run(_replica_number))()
    replicas = np.array(strategy.experimental_local_results(numbers))
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            for number, component in zip(
                replicas, strategy.experimental_local_results(variable.value), strict=True
            ):
                seed, drawn = component.numpy().tolist()
                seed = (seed + _SEED_STRIDE * int(number)) % 2**32
                component.assign(tf.constant([seed, drawn], component.dtype))


def _replica_number() -> tf.Tensor:
    return tf.identity(tf.distribute.get_replica_context().replica_id_in_sync_group)
