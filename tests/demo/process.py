"""A demo in a process of its own."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
STAND_INS = (sys.executable, "-m", "tests.demo.serve_stand_ins")
TFCAMP = (sys.executable, "-c", "from tfcamp.cli import main; main()")


class Demo(NamedTuple):
    """A running demo.

    Attributes:
      url: of the page.
      process: that serves it.
      log: file with what it wrote on standard error.
    """

    url: str
    process: subprocess.Popen
    log: Path


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, *options: str) -> Iterator[Demo]:
    """Runs ``tfcamp demo`` on any port and ends it; folder takes what it prints."""
    printed, log = folder / "printed.txt", folder / "log.txt"
    with open(printed, "wb") as out, open(log, "wb") as err:
        process = subprocess.Popen(
            [*command, "demo", "--port", "0", *options], cwd=ROOT, stdout=out, stderr=err
        )
    try:
        while not (url := re.search(r"http://\S+", printed.read_text("utf-8"))):
            assert process.poll() is None, log.read_text("utf-8")
            time.sleep(0.05)
        yield Demo(url[0], process, log)
    finally:
        process.terminate()
        process.wait()
