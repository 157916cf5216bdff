"""Every mistake of the user's is one line on stderr and exit status 2, and loses nothing."""

import builtins
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from projects.news import train
from projects.news.config import MAY_DIFFER, NewsConfig
from tests.disk import full_disk
from tests.projects.conftest import FinishedRun
from tests.projects.tiny import as_arguments, tiny_config
from tfcamp.data.sources import load_text_dataset
from tfcamp.runs import Run

TRAIN = "股市大涨\t财经\n主场告捷\t体育\n央行降息\t财经\n客场失利\t体育\n"
DEV = "收盘\t财经\n"


@pytest.fixture
def refused(command, tmp_path) -> Callable[..., str]:
    """Runs train.py, which must refuse; returns its one line without "error: "."""

    def run(*arguments: object, run_dir: Path = tmp_path / "run") -> str:
        options = as_arguments(tiny_config(run_dir))
        answer = command(train.main, NewsConfig, *options, *arguments)
        assert answer.status == 2
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1, answer.err
        assert not (run_dir / "metrics.json").exists()
        return answer.err.removeprefix("error: ").rstrip("\n")

    return run


def sample_sha256() -> str:
    return load_text_dataset("sample", data_dir=None, seed=0).sha256


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class TestRows:
    def test_a_missing_file(self, refused, tmp_path):
        path = tmp_path / "missing.tsv"
        assert refused("--dataset", path) == f"{path}: no such file or folder"

    def test_a_misspelt_data_set(self, refused):
        assert "did you mean 'thucnews'?" in refused("--dataset", "thucnew")

    def test_an_empty_file(self, refused, tmp_path):
        path = write(tmp_path / "rows.tsv", "")
        assert refused("--dataset", path).startswith(f"{path}: has no rows")

    def test_a_wrong_number_of_columns(self, refused, tmp_path):
        path = write(tmp_path / "rows.tsv", TRAIN + "没有标签,财经\n")
        assert refused("--dataset", path) == f'{path}:5: expected "text<TAB>label", got 1 column'

    def test_an_unknown_label_in_validation(self, refused, tmp_path):
        write(tmp_path / "rows/train.tsv", TRAIN)
        dev = write(tmp_path / "rows/dev.tsv", DEV + "大奖\t彩票\n")
        assert refused("--dataset", dev.parent).startswith(f"{dev}:2: label '彩票' is not in ")

    def test_a_single_class(self, refused, tmp_path):
        path = write(tmp_path / "rows.tsv", "一\t财经\n二\t财经\n")
        assert "all 2 rows have the label '财经'" in refused("--dataset", path)

    def test_not_utf_8(self, refused, tmp_path):
        path = write(tmp_path / "rows.tsv", TRAIN.encode() + "股市\t财经\n".encode("gb18030"))
        line = refused("--dataset", path)
        assert f"not UTF-8 at byte {len(TRAIN.encode())} (0xb9)" in line
        assert "iconv -f gb18030" in line

    def test_a_folder_without_known_files(self, refused, tmp_path):
        folder = write(tmp_path / "rows/readme.md", "#").parent
        assert refused("--dataset", folder).startswith(f"{folder}: has no train file")

    def test_files_that_changed_since_the_run_began(self, refused, bow_run, tmp_path):
        """Other rows would give other ids to the words that the weights know."""
        folder = tmp_path / "run"
        shutil.copytree(bow_run.folder, folder)
        (folder / "metrics.json").unlink()
        assert (folder / "dataset.sha256").read_text() == sample_sha256()
        (folder / "dataset.sha256").write_text("0" * 64)
        assert "holds a run on other rows: sample has changed" in refused()
        # Before the first step nothing depends on them, and what was fitted on them goes.
        assert (folder / "data").exists()
        shutil.rmtree(folder / "checkpoints")
        with Run.open(tiny_config(folder), "news", may_differ=MAY_DIFFER) as run:
            run.compare_rows("sample", "1" * 64)
            assert not (folder / "data").exists()
            run.compare_rows("sample", "1" * 64)


class TestOptions:
    @pytest.mark.parametrize(
        ("option", "value", "expected"),
        [
            ("--epochs", 0, "at least 1"),
            ("--batch-size", 0, "at least 1"),
            ("--learning-rate", -1, "above 0"),
            ("--dropout", 1, "[0, 1)"),
            ("--seed", -1, "at least 0"),
            ("--seed", 2**32, "below 2**32"),
        ],
    )
    def test_a_value_that_cannot_work(self, refused, tmp_path, option, value, expected):
        line = refused(option, value)
        assert line.startswith(f"{option} {value}") and expected in line
        assert not (tmp_path / "run").exists()

    def test_a_width_that_the_transformer_cannot_share(self, refused):
        assert refused("--model", "transformer", "--width", 130).startswith("--width 130: ")

    def test_a_misspelt_option(self, command, tmp_path):
        answer = command(train.main, NewsConfig, "--run-dir", tmp_path / "run", "--epoch", 3)
        assert answer.status == 2 and "Traceback" not in answer.err
        assert "--epoch" in answer.err and "--epochs" in answer.err
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("option", ["--vectors", "--stop-words", "--user-dictionary"])
    @pytest.mark.parametrize("name", ["missing.txt", "."])
    def test_a_file_that_cannot_be_read(self, refused, tmp_path, option, name):
        tokens = ("--tokens", "word") if option == "--user-dictionary" else ()
        assert str(tmp_path / name) in refused(option, tmp_path / name, *tokens)

    def test_words_for_a_segmenter_that_there_is_none(self, refused, tmp_path):
        line = refused("--tokens", "char", "--user-dictionary", tmp_path / "words.txt")
        assert line.endswith("expected --tokens word or word+char beside it")

    def test_stop_words_that_have_changed(self, refused, bow_run: FinishedRun, tmp_path):
        path = write(tmp_path / "stop.txt", "的\n")
        folder = tmp_path / "run"
        shutil.copytree(bow_run.folder, folder)
        (folder / "metrics.json").unlink()
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config["options"]["stop_words"] = str(path)  # as if it had begun with others there
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        line = refused("--stop-words", path, run_dir=folder)
        assert f"sample or {path} has changed since" in line

    def test_stop_words_that_are_not_utf_8(self, refused, tmp_path):
        path = write(tmp_path / "stop.txt", "的\n".encode("gb18030"))
        assert "byte 0 is not UTF-8; is it gb18030?" in refused("--stop-words", path)

    def test_vectors_of_another_width(self, refused, tmp_path):
        path = write(tmp_path / "vectors.txt", "2 3\n中 1 2 3\n国 1 2 3\n")
        line = refused("--vectors", path)
        assert "are 3 wide" in line and "--embedding-dim 3" in line


class TestFolders:
    def test_the_run_folder_of_another_config(self, refused, bow_run: FinishedRun, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(bow_run.folder, folder)
        (folder / "metrics.json").unlink()
        config = (folder / "config.json").read_bytes()
        line = refused("--width", 16, run_dir=folder)
        assert "holds a run with --width 8, not 16" in line
        assert (folder / "config.json").read_bytes() == config

    def test_a_run_folder_of_something_else(self, refused, tmp_path):
        thesis = write(tmp_path / "run/thesis.tex", "precious")
        assert "holds no run" in refused()
        assert list(thesis.parent.iterdir()) == [thesis]

    def test_a_run_folder_that_is_a_file(self, refused, tmp_path):
        path = write(tmp_path / "file", "precious")
        assert str(path) in refused(run_dir=path)
        assert path.read_text() == "precious"

    def test_an_export_folder_of_something_else(self, refused, tmp_path):
        """It is refused before the training, not after it."""
        thesis = write(tmp_path / "out/thesis.tex", "precious")
        assert "name another folder" in refused("--export-dir", thesis.parent)
        assert thesis.read_text() == "precious" and not (tmp_path / "run").exists()

    def test_an_export_folder_that_cannot_be_made(self, refused, tmp_path):
        path = write(tmp_path / "file", "precious")
        line = refused("--export-dir", path / "model")
        assert f"--export-dir {path / 'model'}: a folder cannot be made in {path}" in line

    def test_an_export_into_the_run_folder_itself(self, refused, tmp_path):
        assert "is the run folder" in refused("--export-dir", tmp_path / "run")


@contextmanager
def refusing_disk(folder: Path, number: int, *, only: str = "") -> Iterator[None]:
    """Lets every attempt to write a file below a folder, or to make one, fail with an OSError."""
    opened, made = builtins.open, os.mkdir

    def check(path: int | str | Path) -> None:
        if isinstance(path, int):  # a file that is open already
            return
        if folder in Path(path).parents and only in Path(path).name:
            raise OSError(number, os.strerror(number), str(path))

    def open_file(path, mode="r", *arguments, **options):
        if set(mode) & set("wax+"):
            check(path)
        return opened(path, mode, *arguments, **options)

    def make_folder(path, *arguments, **options):
        check(path)
        made(path, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "open", open_file)
        patch.setattr(io, "open", open_file)  # pathlib's
        patch.setattr(os, "mkdir", make_folder)
        yield


class TestDisk:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
    def test_a_run_that_cannot_begin(self, refused, tmp_path, number):
        with refusing_disk(tmp_path, number):
            line = refused()
        assert str(tmp_path / "run") in line and os.strerror(number) in line
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
    def test_rows_that_cannot_be_packed(self, refused, tmp_path, number):
        with refusing_disk(tmp_path, number, only="ids.bin"):
            line = refused()
        assert "ids.bin" in line and os.strerror(number) in line

    def test_a_disk_that_fills_while_training(self, bow_run, tmp_path, command):
        """What was saved before is kept, and the same command goes on from there."""
        folder = tmp_path / "run"
        shutil.copytree(bow_run.folder, folder)
        arguments = as_arguments(tiny_config(folder, epochs=2))
        (checkpoint,) = (folder / "checkpoints").glob("step-*.npz")
        step = int(checkpoint.stem.removeprefix("step-"))
        with refusing_disk(tmp_path, errno.ENOSPC, only=f"step-{2 * step:08d}"):
            answer = command(train.main, NewsConfig, *arguments)
        assert answer.status == 2 and answer.err.splitlines()[-1].startswith("error: ")
        assert "No space left on device" in answer.err.splitlines()[-1]
        assert checkpoint.exists()
        assert list((folder / "checkpoints").glob("*.partial")) == []

        answer = command(train.main, NewsConfig, *arguments)
        assert answer.status == 0 and f"resumed at step {step}" in answer.out
        assert (folder / "metrics.json").exists()

    @pytest.mark.parametrize("place", ["export_text_classifier", "TensorBoard"])
    def test_a_disk_that_is_full_for_tensorflow(
        self, bow_run, tmp_path, monkeypatch, command, place
    ):
        """TensorFlow writes the SavedModel and TensorBoard's events, and raises its own errors."""
        folder = tmp_path / "run"
        shutil.copytree(bow_run.folder, folder)
        (folder / "metrics.json").unlink()
        if place == "TensorBoard":
            append = train.TensorBoard.append

            def act(*arguments) -> None:
                with full_disk(16):
                    append(*arguments)

            monkeypatch.setattr(train.TensorBoard, "append", act)
            shutil.rmtree(folder / "checkpoints")
        else:
            write_model = train.export_text_classifier

            def act(*arguments) -> None:
                with full_disk(3000):
                    write_model(*arguments)

            monkeypatch.setattr(train, place, act)
        answer = command(train.main, NewsConfig, *as_arguments(tiny_config(folder)))
        assert answer.status == 2 and answer.err.splitlines()[-1].startswith("error: ")
        assert "is the disk full or read-only?" in answer.err.splitlines()[-1]
        assert not (folder / "metrics.json").exists()
        if place == "export_text_classifier":
            assert (folder / "saved_model/saved_model.pb").exists(), "the older one is kept"
