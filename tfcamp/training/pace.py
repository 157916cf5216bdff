"""How many cores there are, how many steps fill a call, and when a checkpoint is due."""

import contextlib
import os
import time
from collections.abc import Iterator

# A call of about a second: progress is shown, and a signal heeded, as often.
_CALL_SECONDS = 1.0
_LONGEST_CALL = 256
# Checkpoints hold the loop up for at most this share of the time.
_CHECKPOINT_SHARE = 0.02


def count_cores() -> int:
    """Returns how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CallPace:
    """Chooses the number of steps of a call, the same on all workers, whose clocks differ.

    So each worker reports with a call what its call before took, and all of them learn the mean.

    Attributes:
      steps: of the next call.
      seconds: that the last call took here.
    """

    def __init__(self, steps_per_call: int | None) -> None:
        """Keeps the number, or begins with 1 where it is None, for as many as take a second."""
        self.steps = steps_per_call or 1
        self.seconds = 0.0
        self._chooses = steps_per_call is None
        self._taken = 0

    def update(self, taken: int, seconds: float, mean_before: float) -> None:
        """Takes note of a call.

        Args:
          taken: its steps.
          seconds: that it took here.
          mean_before: the mean over all workers of the seconds that the call before it took.

        >>> pace = CallPace(None)
        >>> for mean in (0.0, 9.0, 0.1, 0.1, 0.4):  # the first call compiles
        ...     pace.update(pace.steps, 0.1, mean)
        ...     print(pace.steps, end=" ")
        1 1 4 4 10
        """
        if self._chooses and self._taken:
            wanted = round(_CALL_SECONDS * self._taken / max(mean_before, 1e-3))
            self.steps = max(1, min(wanted, 4 * self._taken, _LONGEST_CALL))
        self._taken, self.seconds = taken, seconds


class CheckpointPace:
    """Tells when a checkpoint is due.

    They are farther apart where writing them would take more than 2 % of the time.
    """

    def __init__(self, seconds: float) -> None:
        """Starts the clock.

        Args:
          seconds: the least time between two checkpoints; 0 for always.
        """
        self._seconds = seconds
        self._last = time.monotonic()
        self._stalled = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        pause = max(self._seconds, self._stalled / _CHECKPOINT_SHARE) if self._seconds else 0.0
        return time.monotonic() - self._last >= pause

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Takes the time for which writing one holds the loop up."""
        self._last = time.monotonic()
        yield
        self._stalled = time.monotonic() - self._last
