"""Imports point one way, and the command line does not wait for TensorFlow."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room may import from its own group and from those above it.
GROUPS = (
    {"data", "text", "vision"},
    {"models", "losses", "metrics"},
    {"training", "decoding"},
    {
        "export",
        "figures",
        "runs",
        "run_options",
        "training_run",
        "environment",
        "bench",
        "launch",
        "tuning",
        "config_files",
    },
    {"cli", "data_cli", "demo", "doctor", "projects"},
)
LEVEL = {room: level for level, group in enumerate(GROUPS) for room in group}
# What needs nothing of the house may be used in all of it.
FOUNDATION = {"errors"}


def rooms_of(module: str) -> set[str]:
    """The rooms that the dotted name of a module stands for."""
    package, _, rest = module.partition(".")
    if package == "projects":
        return {"projects"}
    return {rest.partition(".")[0]} if package == "tfcamp" and rest else set()


def imported_rooms(source: str) -> set[str]:
    """The rooms that a file imports, also where it does so inside a function."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            rooms |= rooms_of(node.module or "")
            if node.module == "tfcamp":
                rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms = rooms.union(*(rooms_of(alias.name) for alias in node.names))
    return rooms


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "projects" if parts[0] == "projects" else parts[1]


FILES = sorted(
    path
    for folder in ("tfcamp", "projects")
    for path in (ROOT / folder).rglob("*.py")
    if path != ROOT / "tfcamp" / "__init__.py"
)


def wrong_imports(room: str, source: str) -> set[str]:
    imported = imported_rooms(source) - FOUNDATION - {"__version__"}
    if room in FOUNDATION:
        return imported
    return {other for other in imported if LEVEL[other] > LEVEL[room]}


def test_every_room_stands_in_the_order():
    assert {room_of(path) for path in FILES} <= LEVEL.keys() | FOUNDATION


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_imports_from_a_room_to_its_right(path):
    assert wrong_imports(room_of(path), path.read_text("utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import tfcamp.training.trainer",
        "from tfcamp.training import step",
        "from tfcamp import training",
        "def f():\n    from tfcamp.training.step import Loss",
    ],
)
def test_the_rule_sees_every_form_of_import(source):
    assert wrong_imports("data", source) == {"training"}
    assert wrong_imports("runs", source) == set()
    assert wrong_imports("errors", source) == {"training"}


@pytest.mark.parametrize(
    "module", ["tfcamp", "tfcamp.cli", "tfcamp.demo.server", "tfcamp.demo.views"]
)
def test_tensorflow_is_not_imported_before_it_is_needed(module):
    program = f"import sys, {module}; print(sorted({{'tensorflow', 'keras'}} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize("script", sorted(ROOT.glob("projects/*/*.py")), ids=lambda path: path.stem)
def test_scripts_choose_the_backend_before_keras_is_imported(script, tmp_path):
    """Whatever the user's shell or ~/.keras/keras.json says."""
    for name in ("keras", "tensorflow"):  # the second of which imports the first
        (tmp_path / f"{name}.py").write_text(
            "import os; raise SystemExit(os.environ['KERAS_BACKEND'])"
        )
    answer = subprocess.run(
        [sys.executable, script, "--help"],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0 or answer.stderr.endswith("tensorflow\n")
