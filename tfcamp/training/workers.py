"""What the workers of a cluster tell each other before training; on one device they are one."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfcamp.errors import UserError
from tfcamp.training.variables import assign_variables, read_variables


def check_same_step(strategy: tf.distribute.Strategy, step: int) -> None:
    """Makes sure that all workers go on from the same step.

    Raises:
      UserError: they see different checkpoints.
    """
    if strategy.num_replicas_in_sync == 1:
        return  # nor is anything compiled, again for each model of a search

    @tf.function
    def gather(step) -> tf.Tensor:
        rows = strategy.run(lambda: tf.reshape(step, [1]))
        return strategy.gather(rows, axis=0)

    steps = gather(tf.constant(step)).numpy().tolist()
    if len(set(steps)) > 1:
        raise UserError(
            f"the workers see different checkpoints, of the steps {steps}: --run-dir must be a "
            "folder that all workers share"
        )


def take_from_chief(strategy: tf.distribute.Strategy, variables: Sequence[keras.Variable]) -> None:
    """Gives all workers the values of the first.

    Each has made its own, and what stands in them, word vectors for example, may differ from one
    machine to another.

    Args:
      strategy: under whose scope the variables were made.
      variables: the same on all workers, but for their values.
    """

    @tf.function
    def share(*arrays) -> list[tf.Tensor]:
        def on_replica() -> list[tf.Tensor]:
            replica = tf.distribute.get_replica_context()
            is_first = tf.equal(replica.replica_id_in_sync_group, 0)
            own = [tf.where(is_first, array, tf.zeros_like(array)) for array in arrays]
            # One by one: several at once would have to be of one dtype.
            return [replica.all_reduce(tf.distribute.ReduceOp.SUM, array) for array in own]

        return [strategy.experimental_local_results(array)[0] for array in strategy.run(on_replica)]

    own = read_variables(variables)
    # No sum is made of uint32 between machines.
    arrays = [
        value.astype(np.int64) if value.dtype.kind in "iu" else value for value in own.values()
    ]
    shared = [array.numpy() for array in share(*map(tf.constant, arrays))]
    assign_variables(variables, dict(zip(own, shared, strict=True)))
