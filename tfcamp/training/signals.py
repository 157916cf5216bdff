"""Ctrl-C and SIGTERM, put off until the loop can stop in good order."""

import signal
import threading
from types import FrameType


class DeferredSignals:
    """Remembers the first Ctrl-C or SIGTERM, so that the loop can save its state and stop.

    The second one raises KeyboardInterrupt at once. One that nobody took arrives, late, when the
    loop has ended.

    Attributes:
      received: the number of the first signal; None while there was none.
    """

    received: int | None = None
    _taken: bool = False

    def __enter__(self) -> "DeferredSignals":
        """Begins to listen."""
        self._previous = {}
        if threading.current_thread() is threading.main_thread():  # only there handlers can be set
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt  # the second one will not wait
        self.received = number

    def take(self) -> int:
        """Returns the signal, SIGTERM if it came to another process, and counts it as heeded."""
        self._taken = True
        return self.received or signal.SIGTERM

    def __exit__(self, *exception) -> None:
        """Gives the signals back to whoever had them."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self.received is not None and not self._taken:
            signal.raise_signal(self.received)
