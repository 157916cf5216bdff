"""Several workers on this machine: a rehearsal of a cluster, or a node's share of one.

Each worker is a process with its own TF_CONFIG, as a cluster's scheduler would start it. Nothing
here needs TensorFlow.
"""

import codecs
import contextlib
import io
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from tfcamp.errors import UserError

# The system hands out ports from 32768 on for outgoing connections, which must not take a
# worker's port before it listens there.
_PORTS = range(20_000, 32_000)


def launch(
    command: Sequence[str], *, workers: int, port: int | None = None, grace_seconds: float = 30.0
) -> int:
    """Runs a command as several workers of one cluster, and returns when all have ended.

    Ctrl-C and SIGTERM are passed on to all workers, once, and these may take as long as they want
    to save; a second one kills them. When a worker fails, the others are asked to end.

    Args:
      command: the program and its arguments.
      workers: how many processes; worker 0 is the chief.
      port: the workers listen on this port and those that follow; free ones if not given.
      grace_seconds: how long the others may take to end when one has failed.

    Returns:
      The exit status of the worker that failed first, 128 + n if signal n ended it; else 0.

    Raises:
      UserError: no such command, or a port is in use.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: expected at least 1")
    if not command:
        raise UserError("no command: tfcamp launch --workers 2 -- python projects/news/train.py …")
    ports = free_ports(workers) if port is None else _check_ports(port, workers)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    output = _Output()
    ended: queue.Queue[tuple[int, int]] = queue.Queue()
    processes: list[subprocess.Popen] = []
    readers: list[threading.Thread] = []
    received: list[int] = []
    all_started = threading.Event()

    def pass_on(number: int, _) -> None:
        received.append(number)
        if all_started.is_set():
            _signal_all(processes, number if len(received) == 1 else signal.SIGKILL)

    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, pass_on)
        for index in range(workers):
            process = _start(command, addresses, index)
            processes.append(process)
            for stream, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                readers.append(_in_thread(_copy, stream, sink, index, output))
            _in_thread(lambda i, p: ended.put((i, p.wait())), index, process)
        all_started.set()
        if received:  # before that
            _signal_all(processes, received[0] if len(received) == 1 else signal.SIGKILL)
        first, status = _next_failure(ended, workers)
        others = [process for process in processes if process.poll() is None]
        if others and not received:  # a signal that was passed on is not followed by another
            output.write(f"[launch] worker {first} ended with {status}: ending all", sys.stderr)
            _signal_all(others, signal.SIGTERM)
            _kill_after(grace_seconds, others, output)
        for process in processes:
            process.wait()
    finally:
        _signal_all(processes, signal.SIGKILL)  # whom an error here left behind
        for number, handler in previous.items():
            signal.signal(number, handler)
    deadline = time.monotonic() + 10  # a process that a worker left behind may hold its output open
    for reader in readers:
        reader.join(max(0.0, deadline - time.monotonic()))
    return status


def _next_failure(ended: "queue.Queue[tuple[int, int]]", workers: int) -> tuple[int, int]:
    """Waits until a worker fails or all have ended well, and returns which, and its status."""
    index = status = 0
    for _ in range(workers):
        index, status = ended.get()
        if status:
            break
    return index, 128 - status if status < 0 else status


def _kill_after(seconds: float, processes: list[subprocess.Popen], output: "_Output") -> None:
    deadline = time.monotonic() + seconds
    try:
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        output.write("[launch] some have not ended: killing them", sys.stderr)
        _signal_all(processes, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Returns ports of this machine on which nothing listens."""
    chosen: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(chosen) < count and _is_free(port):
            chosen.append(port)
    return chosen


def _check_ports(first: int, count: int) -> range:
    for port in range(first, first + count):
        if not 1 <= port < 2**16 or not _is_free(port):
            raise UserError(f"--port {first}: port {port} is not free; without --port I choose")
    return range(first, first + count)


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True


def _start(command: Sequence[str], addresses: list[str], index: int) -> subprocess.Popen:
    task = {"type": "worker", "index": index}
    columns, lines = shutil.get_terminal_size()
    environ = {
        **os.environ,
        "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task}),
        "PYTHONUNBUFFERED": "1",
        # Progress bars shall leave room for the prefix.
        "COLUMNS": str(columns - len(_prefix(index))),
        "LINES": str(lines),
    }
    try:
        return subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Of its own, or the terminal would send Ctrl-C to the workers a second time.
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"{command[0]}: {error.strerror}; is it spelt right?") from error


def _signal_all(processes: list[subprocess.Popen], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # ended meanwhile
                os.killpg(process.pid, number)  # it, and what it has started itself


def _in_thread(function, *arguments) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _prefix(index: int) -> str:
    return f"[worker {index}] "


class _Output:
    """Lines of several processes on one terminal, and the chief's progress bar."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bar: TextIO | None = None

    def write(self, line: str, sink: TextIO) -> None:
        """Shows a line where a bar was; the bar's next update shows it again, below."""
        with self._lock:
            self._clear()
            print(line, file=sink, flush=True)

    def show_bar(self, text: str, sink: TextIO) -> None:
        """Shows a bar in place of the last one."""
        with self._lock:
            self._clear()
            print(text, end="", file=sink, flush=True)
            self._bar = sink

    def _clear(self) -> None:
        if self._bar is not None:
            print("\r\x1b[K", end="", file=self._bar, flush=True)
            self._bar = None


def _copy(stream: io.BufferedReader, sink: TextIO, index: int, output: _Output) -> None:
    r"""Copies what a worker writes, line by line, with its prefix.

    A progress bar begins or ends its updates with \r. Only the chief's are shown, and only on a
    terminal; a bar's last state ends with \n and is a line like any other.
    """
    shows_bar = index == 0 and sink.isatty()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    # If nobody reads this program's output, leaving closes the worker's, who notices in its turn.
    with stream, contextlib.suppress(BrokenPipeError):
        rest = ""
        while chunk := stream.read1():
            # A \r at the end may be half of a \r\n.
            *lines, rest = re.split(r"(?<=\n)|(?<=\r)(?!\n|\Z)", rest + decoder.decode(chunk))
            for line in lines:
                if line.endswith("\n"):
                    output.write(_prefix(index) + line.rstrip("\r\n"), sink)
            if shows_bar and rest.strip():
                output.show_bar(_prefix(index) + rest.rstrip("\r"), sink)
        if rest.strip():
            output.write(_prefix(index) + rest.rstrip("\r"), sink)
