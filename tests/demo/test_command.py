"""The command ``tfcamp demo``: where it listens, and what it says when it cannot."""

import contextlib
import importlib.util
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.demo.process import ROOT, STAND_INS, Demo, running
from tfcamp import cli
from tfcamp.demo import server


@pytest.fixture
def refused(gradio: None, monkeypatch, capsys):
    """Runs the command, which must end with status 2, and returns its one line."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tfcamp", "demo", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def test_a_port_that_is_taken_is_named(refused):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused("--port", str(port))
    assert line.startswith(f"error: --host 127.0.0.1 --port {port}: ")
    assert "--port 0 takes any" in line


@pytest.mark.parametrize("port", ["-1", "70000"])
def test_a_port_that_is_none_is_named(refused, port: str):
    assert refused("--port", port) == f"error: --port {port}: expected 0 to 65535"


@pytest.mark.parametrize("host", ["not a host", "203.0.113.7"])
def test_a_host_that_is_not_this_machine_is_named(refused, host: str):
    line = refused("--host", host, "--port", "0")
    assert line == f"error: --host {host}: expected an address of this machine"


def test_a_folder_without_models_is_named(refused, tmp_path: Path):
    line = refused("--port", "0", "--saved-models", str(tmp_path / "nowhere"))
    assert line.startswith(f"error: {tmp_path}/nowhere: expected a folder with models")


def test_without_gradio_the_command_that_installs_it_is_named(refused, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert refused() == 'error: tfcamp demo needs gradio: pip install -e ".[demo]"'


def test_models_are_those_of_the_checkout_unless_told_otherwise(gradio, monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr(server, "serve_demo", lambda folder, **_: served.append(folder))
    for arguments in ([], ["--saved-models", str(tmp_path)]):
        monkeypatch.setattr(sys, "argv", ["tfcamp", "demo", *arguments])
        with contextlib.suppress(SystemExit):
            cli.main()
    assert served == [ROOT / "saved_models", tmp_path]


def test_it_listens_on_this_machine_alone(demo: Demo):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", demo.url)
    listening = subprocess.run(
        [sys.executable, "-c", LISTENING, str(demo.process.pid)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert listening.stdout.split() == ["127.0.0.1"]


LISTENING = """
import sys, psutil
for connection in psutil.Process(int(sys.argv[1])).net_connections("inet"):
    if connection.status == psutil.CONN_LISTEN:
        print(connection.laddr.ip)
"""


@pytest.mark.slow  # it starts a demo of its own
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to_although_a_page_is_open(
    gradio, tmp_path: Path, monkeypatch, number
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    with running((*STAND_INS, "stand-ins"), tmp_path) as demo:
        with urllib.request.urlopen(f"{demo.url}/gradio_api/heartbeat/abc", timeout=600):
            demo.process.send_signal(number)
            status = demo.process.wait(timeout=600)
        said = demo.log.read_text("utf-8")
    assert status == 128 + number
    assert list((tmp_path / "temporary").iterdir()) == []
    assert said.splitlines() == (["stopped"] if number == signal.SIGINT else [])
