"""``tfcamp launch``: several processes, one output, one end."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tfcamp.errors import UserError
from tfcamp.launch import _copy, _Output, _signal_all, _start, free_ports, launch

ROOT = Path(__file__).parents[1]
TFCAMP = [sys.executable, "-c", "from tfcamp.cli import main; main()"]


def python(program: str) -> list[str]:
    """The command that runs a program which knows its own index."""
    head = "import json, os, signal, sys, time\n"
    head += "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
    return [sys.executable, "-c", head + program]


def test_each_worker_knows_the_cluster_and_its_place(capfd):
    assert launch(python("print(os.environ['TF_CONFIG'])"), workers=3) == 0
    out, err = capfd.readouterr()
    configs = {}
    for line in out.splitlines():
        prefix, _, text = line.partition("] ")
        configs[prefix] = json.loads(text)
    assert sorted(configs) == ["[worker 0", "[worker 1", "[worker 2"]
    assert [configs[f"[worker {i}"]["task"]["index"] for i in range(3)] == [0, 1, 2]
    workers = {tuple(config["cluster"]["worker"]) for config in configs.values()}
    assert len(workers) == 1 and len(set(workers.pop())) == 3
    assert err == ""


def test_ports_are_counted_from_the_one_that_is_given(capfd):
    (first,) = free_ports(1)
    assert launch(python("print(os.environ['TF_CONFIG'])"), workers=1, port=first) == 0
    assert f'"127.0.0.1:{first}"' in capfd.readouterr().out


def test_a_port_in_use_is_one_line():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is not free"):
            launch(python(""), workers=1, port=port)


def test_stdout_and_stderr_stay_apart(capfd):
    program = "print('你好 out'); print('err', file=sys.stderr); sys.stdout.write('no line end')"
    assert launch(python(program), workers=1) == 0
    out, err = capfd.readouterr()
    assert out == "[worker 0] 你好 out\n[worker 0] no line end\n"
    assert err == "[worker 0] err\n"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(3)", 3),
        ("sys.exit('a message')", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
    ],
)
def test_when_one_fails_all_end_with_its_status(capfd, end, status):
    program = f"if index == 1: {end}\ntime.sleep(600)"
    assert launch(python(program), workers=3) == status
    assert f"[launch] worker 1 ended with {status}" in capfd.readouterr().err


def test_the_status_is_the_first_failure(capfd):
    program = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    program += "if index == 0: time.sleep(600)\nsys.exit(3)"
    assert launch(python(program), workers=2) == 3


def test_who_does_not_end_in_time_is_killed(capfd, tmp_path):
    # Worker 1 fails when worker 0 has stopped listening to SIGTERM.
    deaf = tmp_path / "deaf"
    program = f"""
if index == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open({str(deaf)!r}, "w").close()
    time.sleep(600)
while not os.path.exists({str(deaf)!r}): time.sleep(0.01)
sys.exit(3)
"""
    assert launch(python(program), workers=2, grace_seconds=0.1) == 3
    assert "killing them" in capfd.readouterr().err


def test_a_worker_that_ends_well_leaves_the_others_alone(capfd):
    program = "if index == 0: time.sleep(0.5)\nprint('end')"
    assert launch(python(program), workers=2) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == ["[worker 0] end", "[worker 1] end"]


SAVES = """
def save(number, _):
    signal.signal(number, lambda *_: print('a second signal'))
    time.sleep(0.3)
    print(f'saved after {number}')
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, save)
print('ready')
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once_and_all_may_save(number):
    launcher = subprocess.Popen(
        [*TFCAMP, "launch", "--workers", "2", "--", *python(SAVES)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    ready = {launcher.stdout.readline() for _ in range(2)}
    assert ready == {"[worker 0] ready\n", "[worker 1] ready\n"}
    launcher.send_signal(number)
    out, err = launcher.communicate(timeout=600)
    saved = {f"[worker {i}] saved after {int(number)}" for i in range(2)}
    assert (launcher.returncode, set(out.splitlines()), err) == (128 + number, saved, "")


def test_a_signal_that_comes_while_they_are_started_reaches_all_once(monkeypatch):
    signals = []

    def start(command: list[str], addresses: list[str], index: int) -> subprocess.Popen:
        process = _start(command, addresses, index)
        if index == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return process

    def signal_all(processes: list[subprocess.Popen], number: int) -> None:
        signals.append((len(processes), number))
        _signal_all(processes, number)

    monkeypatch.setattr("tfcamp.launch._start", start)
    monkeypatch.setattr("tfcamp.launch._signal_all", signal_all)
    assert launch(python("time.sleep(600)"), workers=3) == 128 + signal.SIGTERM
    assert signals == [(3, signal.SIGTERM), (3, signal.SIGKILL)]  # the last one cleans up


def run_tfcamp(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*TFCAMP, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_that_is_not_there_is_one_line():
    ended = run_tfcamp("launch", "--workers", "2", "--", "pyhton", "train.py")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: pyhton: ") and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("--workers", "0", "--", "true")])
def test_what_makes_no_sense_is_one_line(arguments):
    ended = run_tfcamp("launch", *arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1


def test_options_after_the_dashes_are_the_commands(capfd):
    ended = run_tfcamp("launch", "--workers", "1", "--", *python("print(sys.argv[1:])"), "--port")
    assert (ended.returncode, ended.stdout) == (0, "[worker 0] ['--port']\n")


def test_help_teaches():
    ended = run_tfcamp("launch", "--help")
    assert ended.returncode == 0
    assert "tfcamp launch --workers 2 -- python projects/news/train.py" in ended.stdout


def test_output_that_nobody_reads_on_ends_the_workers():
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [*TFCAMP, "launch", "--workers", "2", "--", *python("while True: print('a headline')")],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=600,
    )
    os.close(writer)
    assert ended.returncode != 0


class Terminal(io.StringIO):
    """A terminal's stderr."""

    def isatty(self) -> bool:
        return True


BAR = b"\rstep 1\rstep 2\rstep 3\nepoch 1\r\n"


def copied(sink: io.StringIO, index: int, chunks: list[bytes]) -> str:
    """What a sink shows of what a worker writes, one chunk at a time."""

    class Stream(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return chunks.pop(0) if chunks else b""

    _copy(Stream(), sink, index, _Output())  # pyright: ignore[reportArgumentType]
    return sink.getvalue()


@pytest.mark.parametrize(("sink", "index"), [(io.StringIO(), 0), (Terminal(), 1)])
def test_of_a_progress_bar_a_file_and_other_workers_show_the_end(sink, index):
    prefix = f"[worker {index}] "
    assert copied(sink, index, [BAR]) == f"{prefix}step 3\n{prefix}epoch 1\n"


def test_lines_may_come_in_pieces():
    pieces = [bytes([byte]) for byte in "\r一步\r二步\n纪元\r\n".encode()]
    assert copied(io.StringIO(), 1, pieces) == "[worker 1] 二步\n[worker 1] 纪元\n"


def test_the_chiefs_bar_moves_on_a_terminal():
    shown = copied(Terminal(), 0, [b"\rstep 1", b"\rstep 2", b"\rstep 2\nend\n"])
    clear = "\r\x1b[K"
    assert shown == (
        f"[worker 0] step 1{clear}[worker 0] step 2{clear}[worker 0] step 2\n[worker 0] end\n"
    )


def test_a_line_of_another_worker_does_not_run_into_the_bar():
    terminal, output = Terminal(), _Output()
    output.show_bar("[worker 0] step 1", terminal)
    output.write("[worker 1] hello", terminal)
    assert terminal.getvalue() == "[worker 0] step 1\r\x1b[K[worker 1] hello\n"
