"""What the loop tells while it trains."""

from typing import NamedTuple


class Progress(NamedTuple):
    """What an observer sees after each call, and the loop's owner after each epoch.

    Attributes:
      step: steps taken since the training began.
      total_steps: steps of the whole training.
      epoch: epochs begun.
      loss: mean training loss of the epoch so far, in nats per unit of weight.
      learning_rate: of the next step.
      seconds: that this process's part of the epoch took so far.
      examples_per_second: of all replicas together, over that time.
      data_wait: share of that time, in [0, 1], during which the loop waited for data.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    learning_rate: float
    seconds: float
    examples_per_second: float
    data_wait: float
