"""What real workers do when another is late, leaves, dies or is told to stop."""

import re
import signal
import subprocess
import sys

import pytest

from tests.distributed.processes import ROOT, Ended, run_workers

pytestmark = pytest.mark.slow

WORKER = "tests/distributed/worker.py"


def last_line(ended: Ended) -> str:
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_sum_and_one_is_the_chief(workers):
    total = sum(range(1, workers + 1))
    times = set()
    for index, ended in enumerate(run_workers(WORKER, workers=workers)):
        assert ended.returncode == 0, ended.stderr
        chief, time, *rest = ended.stdout.splitlines()
        assert (chief, rest) == (f"chief {index == 0}", [f"sum {total}", "end"])
        assert re.fullmatch("time None" if workers == 1 else r"time 20\d{6}-\d{6}", time)
        times.add(time)
        assert "WARNING:tensorflow" not in ended.stderr
    assert len(times) == 1


@pytest.mark.parametrize(("started", "missing"), [(0, 1), (1, 0)])
def test_the_worker_that_never_comes_is_named_in_one_line(started, missing):
    (ended,) = run_workers(WORKER, start=[started], environ={"TFCAMP_WORKER_WAIT": "2"})
    assert (ended.returncode, ended.stdout) == (2, "")
    error = ended.stderr[ended.stderr.index("error: ") :]
    assert error.startswith(f"error: worker {missing} (127.0.0.1:")
    assert "did not come within 2 s" in error and error.count("\n") == 1
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("slow_one", [0, 1])
def test_who_is_ready_waits_for_the_others_and_nobody_complains(slow_one):
    for ended in run_workers(WORKER, ["linger", slow_one]):
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.endswith("end\n")
        assert "StartAbort" not in ended.stderr and "Traceback" not in ended.stderr


def test_without_waiting_tensorflow_reports_a_crash():
    # Why wait_for_workers exists. When this fails, it may be needed no longer.
    chief, other = run_workers(WORKER, ["leave", 1])
    assert (chief.returncode, other.returncode) == (0, 0)
    assert "The tasks have crashed" in chief.stderr


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize(
    ("behaviour", "status"), [("die", -signal.SIGKILL), ("stop", 5), ("heed_sigterm", -15)]
)
def test_a_lost_worker_is_named_and_the_other_ends(behaviour, status, lost):
    ended = run_workers(WORKER, [behaviour, lost])
    assert ended[lost].returncode == status, ended[lost].stderr
    other = ended[1 - lost]
    assert other.returncode == 2, other.stderr
    assert last_line(other).startswith(f"error: lost worker {lost} (127.0.0.1:")
    assert "Traceback" not in other.stderr


def test_launch_ends_with_the_status_of_the_worker_that_died():
    program = "from tfcamp.cli import main; main()"
    command = [sys.executable, "-c", program, "launch", "--workers", "2", "--"]
    ended = subprocess.run(
        [*command, sys.executable, WORKER, "die", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert ended.returncode == 128 + signal.SIGKILL, ended.stderr
    assert "[worker 0] chief True\n" in ended.stdout
    assert "[launch] worker 1 ended with 137" in ended.stderr
    assert "Traceback" not in ended.stderr
