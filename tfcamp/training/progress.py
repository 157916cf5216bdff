"""What the loop tells while it trains."""

from typing import NamedTuple

from tfcamp.losses import WeightedSum


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


class EpochTotals(NamedTuple):
    """The loss of the epoch so far, added up in float64 on the host.

    >>> totals = EpochTotals().plus(WeightedSum(6.0, 4.0)).plus(WeightedSum(3.0, 2.0))
    >>> totals, totals.mean
    (EpochTotals(loss=9.0, weight=6.0), 1.5)
    """

    loss: float = 0.0
    weight: float = 0.0

    def plus(self, more: WeightedSum) -> "EpochTotals":
        """Returns the totals after one more call."""
        loss, weight = more
        return EpochTotals(self.loss + float(loss), self.weight + float(weight))

    @property
    def mean(self) -> float:
        """The loss in nats per unit of weight."""
        return self.loss / max(self.weight, 1e-9)
