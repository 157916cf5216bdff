"""The notebooks: valid and without outputs, and each runs from top to bottom in a fresh kernel."""

import ast
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from traitlets.config import Config

from tests.projects.street import write_competition
from tests.projects.translation import write_pairs

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {path.parent.name: path for path in sorted(ROOT.glob("projects/*/colab.ipynb"))}
every_notebook = pytest.mark.parametrize("project", NOTEBOOKS)


class Tiny(NamedTuple):
    """A run of seconds of a project, and what of it a notebook shows.

    Attributes:
      write_data: writes a small data set into a folder; the sample where there is none.
      model: the builder.
      options: of train.py.
      score: a line of the table that train.py prints.
      answers: what each of the three predictions contains.
      program: the cell that runs the program beside the export.
      mark: what tells an answer from TensorFlow's notes on the same screen.
    """

    write_data: Callable[[Path], Path] | None
    model: str
    options: str
    score: str
    answers: tuple[str, str, str]
    program: str
    mark: str = "%"


TINY = {
    "news": Tiny(
        None,
        "bow",
        "--tokens char --vectors none --max-steps 8 --batch-size 64 --embedding-dim 8 --width 8",
        "macro F1",
        ("央行宣布下调存款准备金率", "主队客场逆转夺冠", "新款手机开售首日售罄"),
        "classify",
    ),
    "street_view": Tiny(
        write_competition,
        "multihead",
        "--max-steps 8 --batch-size 16 --trunk lenet5 --width-multiplier 0.5",
        "digit accuracy",
        ("0-shows-", "1-shows-", "2-shows-"),
        "read",
    ),
    "translation": Tiny(
        write_pairs,
        "transformer",
        "--max-steps 8 --width 16 --num-layers 1 --num-heads 2 --inner-width 32 --max-tokens 24 "
        "--vocabulary-size 480 --character-coverage 0.98",
        "BLEU",
        ("Good morning. →", "How much is this? →", "See you tomorrow. →"),
        "translate",
        "→",
    ),
}


def read(project: str) -> NotebookNode:
    # nbformat warns of what it would have to mend, which fails the test.
    return nbformat.read(NOTEBOOKS[project], as_version=4)


def cell(notebook: NotebookNode, name: str) -> NotebookNode:
    (found,) = [cell for cell in notebook.cells if cell.id == name]
    return found


def as_python(cell: NotebookNode) -> str:
    """The cell as Python sees it: IPython turns ``!`` and ``%`` into calls of its own."""
    return TransformerManager().transform_cell(cell.source)


def execute(
    notebook: NotebookNode, folder: Path, *, until: str | None = None, **settings: Any
) -> None:
    """Runs a notebook in a fresh kernel, with other settings, as if it was opened in a folder."""
    names = [cell.id for cell in notebook.cells]
    if until is not None:
        del notebook.cells[names.index(until) + 1 :]
    changes = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
    notebook.cells.insert(names.index("settings") + 1, new_code_cell(changes))
    # Ports would have to be free twice, when they are chosen and when the kernel listens there.
    with tempfile.TemporaryDirectory() as sockets:
        client = NotebookClient(
            notebook,
            timeout=3600,
            startup_timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}),
        )
        client.execute()


def printed(cell: NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def answers_in(cell: NotebookNode, mark: str) -> list[str]:
    """The lines of a cell's output that have a mark."""
    return [line for line in printed(cell).splitlines() if mark in line]


@every_notebook
def test_is_valid_and_written_the_way_that_nbformat_writes(project: str) -> None:
    notebook = read(project)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert NOTEBOOKS[project].read_text("utf-8") == nbformat.writes(notebook) + "\n"


@every_notebook
def test_holds_no_outputs(project: str) -> None:
    for cell in read(project).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, cell.id


@every_notebook
def test_code_compiles(project: str) -> None:
    code = [cell for cell in read(project).cells if cell.cell_type == "code"]
    assert code[0].id == "settings" and code[0].metadata.tags == ["parameters"]
    for cell in code:
        ast.parse(as_python(cell), cell.id)
        magic, _, body = cell.source.partition("\n")
        if magic.startswith("%%writefile"):
            ast.parse(body, cell.id)


@every_notebook
def test_each_heading_has_a_chinese_line(project: str) -> None:
    texts = [cell.source for cell in read(project).cells if cell.cell_type == "markdown"]
    assert len(texts) > 5
    for text in texts:
        heading, _, line = text.split("\n")[:3]
        assert heading.startswith("#") and line.startswith("**") and line.endswith("。**"), heading


class Recorder:
    """Stands for IPython in a cell that is run without it; remembers commands instead of giving
    them.
    """

    def __init__(self) -> None:
        self.commands: list[str] = []

    def run_line_magic(self, name: str, line: str) -> None:
        self.commands.append(f"{name} {line}")

    def system(self, command: str) -> None:
        self.commands.append(command)


@every_notebook
class TestInstall:
    """The pip commands for hardware that is not there."""

    @pytest.fixture
    def install(self, project, monkeypatch):
        """Runs the install cell on pretended hardware with some packages installed."""

        def install(hardware: str, *installed: str) -> list[str]:
            def version(package: str) -> str:
                if package not in installed:
                    raise metadata.PackageNotFoundError(package)
                return "1"

            from importlib import metadata

            monkeypatch.setattr(metadata, "version", version)
            monkeypatch.setattr("glob.glob", lambda pattern: [])
            monkeypatch.setattr("shutil.which", lambda name: "true" if hardware == "GPU" else None)
            monkeypatch.setenv("PATH", os.environ["PATH"])  # the cell changes it
            monkeypatch.delenv("COLAB_TPU_ADDR", raising=False)
            monkeypatch.delenv("TPU_NAME", raising=False)
            if hardware == "TPU":
                monkeypatch.setenv("TPU_NAME", "local")
            shell = Recorder()
            source = as_python(cell(read(project), "install"))
            exec(source, {"os": os, "get_ipython": lambda: shell})
            assert shell.commands.pop() == "tfcamp doctor"
            return shell.commands

        return install

    def test_cpu(self, install) -> None:
        assert install("CPU") == ["pip install -q -e ."]

    def test_gpu(self, install) -> None:
        assert install("GPU") == ['pip install -q -e ".[gpu]"']

    def test_the_tpu_build_comes_last_and_alone(self, install) -> None:
        first, removal, last = install("TPU")
        assert first == "pip install -q -e ."
        assert removal.split()[1:] == ["uninstall", "-q", "-y", "tensorflow", "tensorflow-tpu"]
        assert last.startswith('pip install -q "tensorflow-tpu==2.20.*" -f https://')

    def test_a_tpu_beside_which_the_ordinary_build_is_installed(self, install) -> None:
        assert len(install("TPU", "tfcamp", "tensorflow")) == 3
        assert len(install("TPU", "tfcamp", "tensorflow", "tensorflow-tpu")) == 3

    def test_nothing_to_do(self, install) -> None:
        assert install("CPU", "tfcamp", "tensorflow") == []
        assert install("TPU", "tfcamp", "tensorflow-tpu") == []


@pytest.mark.slow
@every_notebook
class TestProject:
    def test_without_an_address(self, project: str, tmp_path: Path) -> None:
        with pytest.raises(CellExecutionError) as caught:
            execute(read(project), tmp_path, until="project")
        assert caught.value.evalue.startswith("REPOSITORY is empty: write the address")

    def test_an_address_without_a_project(self, project: str, tmp_path: Path) -> None:
        address = str(tmp_path / "nowhere")
        notebook = read(project)
        with pytest.raises(CellExecutionError) as caught:
            execute(notebook, tmp_path, until="project", REPOSITORY=address)
        assert caught.value.evalue.startswith(f"no project came from {address}: ")
        assert "fatal: " in printed(cell(notebook, "project"))

    def test_is_cloned(self, project: str, tmp_path: Path) -> None:
        repository, folder = tmp_path / "origin", tmp_path / "content"
        script = repository / "projects" / project / "train.py"
        script.parent.mkdir(parents=True)
        script.touch()
        folder.mkdir()
        git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "Begin"], check=True)
        notebook = read(project)
        execute(notebook, folder, until="project", REPOSITORY=repository.as_uri())
        assert f"project {folder / 'tfcamp'}\n" in printed(cell(notebook, "project"))


@pytest.mark.slow
@every_notebook
class TestRun:
    def test_from_top_to_bottom(self, project: str, tmp_path: Path) -> None:
        notebook, run, tiny = read(project), tmp_path / "run", TINY[project]
        execute(
            notebook,
            NOTEBOOKS[project].parent,
            DATASET=str(tiny.write_data(tmp_path / "data")) if tiny.write_data else "sample",
            RUN_DIR=str(run),
            MODEL=tiny.model,
            OPTIONS=tiny.options,
        )
        assert f"project {ROOT}\n" in printed(cell(notebook, "project"))
        install = printed(cell(notebook, "install"))
        assert "installed already" in install and " keras " in install

        train = printed(cell(notebook, "train"))
        assert "step/s" in train or "steps/s" in train or "examples/s" in train, "a progress bar"
        assert tiny.score in train and str(run / "report.html") in train
        assert (run / "saved_model/saved_model.pb").exists()

        figures = cell(notebook, "figures").outputs
        assert len(figures) == len(list((run / "figures").glob("*.svg"))) >= 4
        assert all("<svg" in figure.data["image/svg+xml"] for figure in figures)

        predicted = answers_in(cell(notebook, "predict"), tiny.mark)
        assert len(predicted) == 3
        for answer, line in zip(tiny.answers, predicted, strict=True):
            assert answer in line
        program = f"{tiny.program}.py"
        assert (run / program).exists()
        alone = answers_in(cell(notebook, tiny.program), tiny.mark)
        assert [line.split() for line in alone] == [line.split() for line in predicted]

        archive = run / f"{project}.zip"
        assert f"archive {archive}" in printed(cell(notebook, "download"))
        names = set(zipfile.ZipFile(archive).namelist())
        assert {program, "report.html", "saved_model/saved_model.pb"} <= names

    def test_a_training_that_fails_stops_the_notebook(self, project: str, tmp_path: Path) -> None:
        notebook = read(project)
        install = cell(notebook, "install")
        install.source = install.source.removesuffix("!tfcamp doctor")  # which takes a while
        folder, run = NOTEBOOKS[project].parent, tmp_path / "run"
        with pytest.raises(CellExecutionError) as caught:
            execute(notebook, folder, RUN_DIR=str(run), OPTIONS="--epochs 0")
        assert caught.value.evalue.startswith("the training is not finished")
        assert "error: --epochs 0: expected at least 1" in printed(cell(notebook, "train"))
        assert cell(notebook, "figures").outputs == []
