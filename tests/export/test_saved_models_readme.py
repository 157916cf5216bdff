"""What saved_models/README.md says of serving works as it is printed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tests.export import grpc_server, rest_server
from tests.export.servable import Servable
from tfcamp.export.folders import newest_version

SAVED_MODELS = Path(__file__).parents[2] / "saved_models"
README = (SAVED_MODELS / "README.md").read_text("utf-8")
MODELS = {path.parent.parent.name for path in SAVED_MODELS.glob("*/[0-9]*/saved_model.pb")}


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.DOTALL | re.MULTILINE)


def test_models_config_names_each_model() -> None:
    config = text_format.Parse(
        (SAVED_MODELS / "models.config").read_text("utf-8"),
        model_server_config_pb2.ModelServerConfig(),
    )
    models = config.model_config_list.config
    assert {model.name for model in models} == MODELS
    assert all(model.base_path == f"/models/{model.name}" for model in models)
    assert {model.model_platform for model in models} == {"tensorflow"}


def test_docker_mounts_what_is_there() -> None:
    commands = [
        line for line in "".join(blocks("Serve them", "bash")).splitlines() if "docker" in line
    ]
    assert len(commands) == 3
    everything, one, own = (re.findall(r'-v "\$PWD/(\S+):(\S+):ro"', line)[0] for line in commands)
    assert everything == ("saved_models", "/models")
    assert "--model_config_file=/models/models.config" in commands[0]
    assert (SAVED_MODELS.parent / one[0]).is_dir() and one[1] == "/models/news"
    assert own[1] == "/models/mine/1"
    assert "MODEL_NAME=news" in commands[1] and "MODEL_NAME=mine" in commands[2]


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, str]]:
    servables = {name: Servable(newest_version(SAVED_MODELS / name)) for name in MODELS}
    with rest_server.serve(servables) as rest, grpc_server.serve(servables) as grpc:
        yield {"rest": rest, "grpc": grpc}


@pytest.mark.slow
def test_the_commands_work_as_printed(hosts: dict[str, str], tmp_path: Path) -> None:
    """In a folder with nothing but saved_models; docker's servers are those of the test."""
    (tmp_path / "saved_models").symlink_to(SAVED_MODELS)
    lines = "".join(blocks("Serve them", "bash") + blocks("Look inside", "bash")).splitlines()
    answers = {}
    for line in lines:
        if line.startswith("docker"):
            continue
        command = line.replace("localhost:8501", hosts["rest"])
        host = hosts["grpc" if "--grpc" in command else "rest"]
        command = command.replace("client.py ", f"client.py --host {host} ")
        answer = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "no_proxy": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, f"{line}\n{answer.stderr[-2000:]}"
        answers[line] = answer.stdout
    (rows,) = (answer for line, answer in answers.items() if '"instances": ["' in line)
    assert rows.count('"label": "education"') == 1 and rows.count('"label": "stocks"') == 1
    (views,) = (answer for line, answer in answers.items() if line.startswith("echo"))
    assert '"number": "3"' in views
    (last,) = (answer for line, answer in answers.items() if "image=house.npy" in line)
    assert "number:\n[b'3']" in last


@pytest.mark.slow
def test_the_program_works_as_printed(hosts, monkeypatch, capsys) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (program,) = blocks("Serve them", "python")
    exec(program.replace("localhost:8501", hosts["rest"]), {})
    assert capsys.readouterr().out.split()[0] == "education"


@pytest.mark.slow
def test_the_table_names_each_signature(hosts) -> None:
    rows = [row.split("|")[1:-1] for row in section("Serve them").splitlines() if row[:1] == "|"]
    named: dict[str, set[str]] = {}
    model = ""
    for row in rows:
        if len(row) == 4:
            model = row[0].strip() or model
            named.setdefault(model, set()).update(re.findall("`([a-z_]+)`", row[1]))
    for name in ("news", "street_view"):
        signatures = Servable(newest_version(SAVED_MODELS / name)).signatures
        assert named[name] == signatures.keys() - {"__saved_model_init_op"}
