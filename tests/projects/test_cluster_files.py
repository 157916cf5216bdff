"""The files that start training on clusters: they parse, and name what exists."""

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from projects.news.config import NewsConfig
from tfcamp.training.cluster import read_tf_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "projects" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
README = ROOT / "projects" / "README.md"


def load(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def test_every_file_is_explained():
    for path in FOLDER.iterdir():
        assert path.name in README.read_text("utf-8"), path.name
        assert len(re.findall(r"# \w", path.read_text("utf-8"))) > 1, path.name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(path):
    subprocess.run(["bash", "-n", path], check=True)
    assert "set -euo pipefail" in path.read_text("utf-8")


def options(command: str) -> list[tuple[str, str]]:
    """The options of a command for train.py, each with its value."""
    found = re.findall(r"--([a-z][a-z-]+)[= ]([^\s\"']+|\"[^\"]*\")", command)
    return [(name, value.strip('"')) for name, value in found]


def commands() -> dict[str, str]:
    """Everything that is given to the news project's train.py, by file."""
    found = {}
    for path in SCRIPTS:
        text = path.read_text("utf-8").replace("\\\n", " ")
        found[path.name] = re.split(r"train\.py\s+(?=--)", text)[-1].splitlines()[0]
    kubernetes, vertex = load("kubernetes.yaml"), load("vertex_ai.yaml")
    (container,) = containers(kubernetes)
    found["kubernetes.yaml"] = " ".join(container["command"])
    for pool in vertex["workerPoolSpecs"]:
        found["vertex_ai.yaml"] = " ".join(pool["containerSpec"]["command"])
    return found


def containers(manifest: dict) -> list[dict]:
    return manifest["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]


def all_commands() -> list[tuple[str, str]]:
    """Also those of the scripts' comments and the README."""
    texts = [*commands().items()]
    for path in (*SCRIPTS, README):
        for line in path.read_text("utf-8").replace("\\\n", " ").splitlines():
            if "projects/news/train.py" in line or "sbatch" in line:
                texts.append((path.name, line.partition(".py" if ".py" in line else ".sh")[2]))
    return texts


@pytest.mark.parametrize(("name", "command"), all_commands())
def test_options_exist_and_take_such_values(name, command):
    hints = get_type_hints(NewsConfig)
    fields = {field.name for field in dataclasses.fields(NewsConfig)}
    for option, value in options(command):
        if option == "config":  # of every script, not of the config
            continue
        field = option.replace("-", "_")
        assert field in fields, f"{name}: --{option}"
        choices = [choice for choice in get_args(hints[field]) if isinstance(choice, str)]
        assert not choices or value in choices, f"{name}: --{option} {value}"


def test_each_names_its_strategy_and_a_run_folder():
    for name, command in commands().items():
        given = dict(options(command))
        assert given["strategy"] == ("tpu" if name == "tpu_vm.sh" else "multi_worker"), name
        assert "run-dir" in given, name


def test_slurm_starts_one_task_on_each_machine():
    text = (FOLDER / "slurm.sh").read_text("utf-8")
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", text, re.MULTILINE))
    assert directives["ntasks-per-node"] == "1"
    assert int(directives["nodes"]) > 1
    assert directives["signal"].startswith("TERM@")  # to the processes, not to the script alone
    assert re.search(r"^srun .*\\\n  python projects/news/train.py", text, re.MULTILINE)


def test_kubernetes_manifest_is_a_tfjob():
    manifest = load("kubernetes.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert re.fullmatch(r"[a-z][a-z0-9-]*", manifest["metadata"]["name"])
    assert manifest["spec"].keys() == {"runPolicy", "tfReplicaSpecs"}
    assert manifest["spec"]["tfReplicaSpecs"].keys() == {"Worker"}
    worker = manifest["spec"]["tfReplicaSpecs"]["Worker"]
    assert worker["replicas"] > 1 and worker["restartPolicy"] == "OnFailure"
    (container,) = containers(manifest)
    assert container["name"] == "tensorflow" and container["image"]
    pod = worker["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    run_dir = dict(options(" ".join(container["command"])))["run-dir"]
    assert any(run_dir.startswith(mount["mountPath"]) for mount in container["volumeMounts"])


def test_vertex_has_one_chief_and_equal_workers():
    config = load("vertex_ai.yaml")
    assert config.keys() == {"workerPoolSpecs", "scheduling"}
    chief, workers = config["workerPoolSpecs"]
    assert chief["replicaCount"] == 1
    assert {**chief, "replicaCount": 3} == workers
    assert chief["containerSpec"]["imageUri"]


def test_the_tf_config_of_the_readme_is_read():
    text = README.read_text("utf-8")
    (config,) = re.findall(r"TF_CONFIG='(\{.*?\})'", text, re.DOTALL)
    cluster = read_tf_config(config)
    assert cluster is not None and len(cluster) == 2


def test_the_data_service_of_the_readme_runs():
    text = README.read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(program, names)
    assert sorted(names["batches"].unbatch().as_numpy_iterator()) == [0, 1, 4, 9, 16, 25, 36, 49]
