"""Going on from another run: its weights, and a smaller learning rate for what is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfcamp.training.optimizers import RowSparseAdam, is_bias_or_norm


def take_weights(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Gives a model the weights of another one, where name and shape agree.

    Args:
      model: a trunk may come from a model with another head, and keeps its own then.
      arrays: of a checkpoint, as `tfcamp.training.variables.read_variables` names them.

    Returns:
      the paths of the weights for which there was nothing.
    """
    known = {name.partition("/")[2]: value for name, value in arrays.items()}
    left = []
    for weight in model.weights:
        value = known.get(weight.path)
        if value is None or value.shape != tuple(weight.shape):
            left.append(weight.path)
        else:
            weight.assign(value)
    return left


@keras.saving.register_keras_serializable("tfcamp")
class FineTuningAdam(RowSparseAdam):
    """Adam with a smaller learning rate for some of the variables (Howard and Ruder, 2018, 3.2).

    Adam divides a gradient by its own size, so a factor on the gradient would change nothing: it
    must stand at the learning rate.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        *,
        slow_paths: Sequence[str] = (),
        slow_factor: float = 1.0,
        **options: Any,
    ) -> None:
        """Keeps the options.

        Args:
          learning_rate: a number or a schedule.
          slow_paths: paths of the variables that learn more slowly.
          slow_factor: their learning rate as a share of the others'.
          **options: those of `keras.optimizers.Adam`.

        Raises:
          ValueError: slow_factor is not positive.
        """
        if slow_factor <= 0:
            raise ValueError(f"slow_factor must be positive, got {slow_factor}: freeze instead")
        super().__init__(learning_rate, **options)
        self.slow_paths, self.slow_factor = tuple(slow_paths), slow_factor

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the slots."""
        super().build(variables)
        slow = set(self.slow_paths)
        self._factors = [
            self.slow_factor if variable.path in slow else 1.0 for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates one variable in place; see `RowSparseAdam.update_step`."""
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"slow_paths": self.slow_paths, "slow_factor": self.slow_factor}
        return {**super().get_config(), **own}


def build_fine_tuning_optimizer(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    model: keras.Model,
    slow_part: keras.Model,
    *,
    slow_factor: float,
    weight_decay: float = 0.0,
) -> FineTuningAdam:
    """Builds Adam that changes a part of a model more slowly.

    Args:
      learning_rate: a number or a schedule.
      model: the whole; its biases and norms do not decay.
      slow_part: made of layers of the model. It does not decay: it is to stay near where it is.
      slow_factor: its learning rate as a share of the rest's.
      weight_decay: as in `tfcamp.training.optimizers.build_optimizer`.
    """
    slow = {variable.path for variable in slow_part.trainable_variables}
    optimizer = FineTuningAdam(
        learning_rate,
        slow_paths=sorted(slow),
        slow_factor=slow_factor,
        weight_decay=weight_decay or None,
    )
    if weight_decay:
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if variable.path in slow or is_bias_or_norm(variable)
            ]
        )
    return optimizer
