"""Several real processes that train together, as a cluster's scheduler would start them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfcamp.launch import free_ports

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """What is left of a process: its exit status (-n for signal n) and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def run_workers(
    script: Path | str,
    arguments: Sequence[object] = (),
    *,
    workers: int = 2,
    start: Iterable[int] | None = None,
    seconds: float = 1200,
    environ: Mapping[str, str] | None = None,
    meanwhile: Callable[[list[subprocess.Popen]], None] | None = None,
) -> list[Ended]:
    """Runs a Python script as the workers of one cluster, and returns how each ended.

    Args:
      script: its path, absolute or from the root of the checkout.
      arguments: its arguments, the same for all.
      workers: how many workers TF_CONFIG names, on free ports of this machine.
      start: which of them are started; all if not given.
      seconds: all are killed after this time, and the test fails.
      environ: further environment variables.
      meanwhile: called with the processes once they are started.

    Returns:
      One for each worker that was started, in the order of their numbers.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    processes = []
    for index in range(workers) if start is None else start:
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, str(script), *map(str, arguments)],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "TF_CONFIG": json.dumps(config),
                    **(environ or {}),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    if meanwhile is not None:
        meanwhile(processes)
    # Their output fits into a pipe, so they may be waited for in turn.
    deadline = time.monotonic() + seconds
    late = False
    ended = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            late = True
            process.send_signal(signal.SIGKILL)  # inside TensorFlow, SIGTERM may not be heard
            out, err = process.communicate()
        ended.append(Ended(process.returncode, out, err))
    assert not late, f"not ended after {seconds} s: {ended}"
    return ended
