"""What a look at the machine comes to: findings, and how they are printed."""

import textwrap
from dataclasses import dataclass
from typing import Literal

_NAME_WIDTH = 13
_STATUS_WIDTH = 9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
      name: what it was, in a word or two.
      status: ``ok``; ``note``, which training survives; or ``problem``, with which it fails.
      message: one line that says what there is.
      remedy: what to do, a command where there is one; None if and only if the status is ok.
    """

    name: str
    status: Literal["ok", "note", "problem"]
    message: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        """Makes sure that nobody is left alone with a problem.

        Raises:
          ValueError: a remedy is missing, or for nothing.
        """
        if (self.status == "ok") != (self.remedy is None):
            raise ValueError(f"status {self.status!r} with remedy {self.remedy!r}")

    def lines(self, width: int = 80) -> list[str]:
        """Returns the finding as lines; the remedy is never broken, so that it can be copied.

        >>> for line in Finding("disk", "note", "only 1 GB left", "rm -r runs").lines():
        ...     print(line)
        note     disk         only 1 GB left
                              -> rm -r runs
        """
        head = f"{self.status:<{_STATUS_WIDTH}}{self.name:<{_NAME_WIDTH}}"
        indent = " " * len(head)
        lines = textwrap.wrap(
            self.message,
            max(width, 2 * len(head)),
            initial_indent=head,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        return lines if self.remedy is None else [*lines, f"{indent}-> {self.remedy}"]


def ok(name: str, message: str) -> Finding:
    """Returns a finding that asks for nothing."""
    return Finding(name, "ok", message)


def note(name: str, message: str, remedy: str) -> Finding:
    """Returns a finding that training survives."""
    return Finding(name, "note", message, remedy)


def problem(name: str, message: str, remedy: str) -> Finding:
    """Returns a finding with which training fails."""
    return Finding(name, "problem", message, remedy)
