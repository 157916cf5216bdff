"""Where the computation runs."""

import tensorflow as tf

from tfcamp.errors import UserError


def choose_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy under whose scope a model is built and trained.

    Args:
      name: ``one`` for the default device; ``auto`` for the best that this machine offers, which
        is one device for now.

    Raises:
      UserError: an unknown name.
    """
    if name not in {"auto", "one"}:
        raise UserError(f"--strategy {name}: expected auto or one")
    return tf.distribute.get_strategy()
