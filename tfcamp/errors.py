"""The exceptions that end a program in good order."""

import signal
from typing import Any


class UserError(Exception):
    """A mistake that the user can mend: shown as one line, exit status 2, no traceback.

    The message names the thing, what was expected and what to do, for example
    ``train.tsv:17: expected "text<TAB>label", got 1 column; is the file comma-separated? then
    name it .csv``.
    """


def require(config: Any, name: str, holds: bool, expected: str) -> None:
    """Makes sure that an option can work.

    Args:
      config: the options.
      name: of the field.
      holds: whether it can.
      expected: what can.

    Raises:
      UserError: it cannot.
    """
    if not holds:
        option = "--" + name.replace("_", "-")
        raise UserError(f"{option} {getattr(config, name)}: expected {expected}")


class Diverged(UserError):
    """The loss or a weight is not finite: the same options would come to the same end."""


class Interrupted(Exception):
    """Training was asked to stop, and has saved its state."""

    def __init__(self, signal_number: int, step: int) -> None:
        """Keeps the signal and the step at which the run goes on."""
        super().__init__(f"stopped by {signal.Signals(signal_number).name} at step {step}")
        self.signal_number = signal_number
        self.step = step
