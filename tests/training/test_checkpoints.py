"""A checkpoint is whole or not there, and damage is found, named and passed over."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.disk import full_disk, memory_bucket
from tfcamp.errors import UserError
from tfcamp.training import checkpoints
from tfcamp.training.checkpoints import (
    Checkpoint,
    CheckpointFolder,
    read_checkpoint,
    write_checkpoint,
)

ARRAYS = {
    "0000/embedding/table": np.arange(12, dtype=np.float32).reshape(3, 4),
    "0001/seed": np.array([3, 4], np.uint32),
    "0002/iterations": np.array(7),
}
STATE = {"step": 7, "stateful": {"stopping": {"best": 0.5, "waited": 2}}}
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path) -> Iterator[Path]:
    """Where checkpoints may go."""
    if request.param == "disk":
        yield tmp_path / "run"
    else:
        with memory_bucket() as bucket:
            yield bucket / "run"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_is_whole(checkpoint: Checkpoint | None) -> None:
    assert checkpoint is not None
    assert checkpoint.state == STATE
    assert list(checkpoint.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert checkpoint.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(checkpoint.arrays[name], array)


def flip_a_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    replace(path, bytes(content))


def truncate(path: Path) -> None:
    replace(path, path.read_bytes()[:-100])


def replace(path: Path, content: bytes) -> None:
    path.unlink()  # ram:// appends to a file that is there
    path.write_bytes(content)


def test_reads_what_was_written(place):
    place.mkdir()
    write_checkpoint(place / "a.npz", ARRAYS, STATE)
    assert_is_whole(read_checkpoint(place / "a.npz"))
    assert names_in(place) == ["a.npz"]


def test_numpy_reads_it_too(tmp_path):
    write_checkpoint(tmp_path / "a.npz", ARRAYS, STATE)
    with np.load(tmp_path / "a.npz") as archive:
        assert [*archive.files] == ["state.json", *ARRAYS]
        np.testing.assert_array_equal(archive["0001/seed"], ARRAYS["0001/seed"])


def test_every_truncation_is_found(tmp_path):
    write_checkpoint(tmp_path / "a.npz", ARRAYS, STATE)
    content = (tmp_path / "a.npz").read_bytes()
    for size in range(len(content)):
        (tmp_path / "a.npz").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"a\.npz is damaged"):
            read_checkpoint(tmp_path / "a.npz")


def test_a_flipped_bit_in_any_byte_is_found_or_harmless(tmp_path):
    """Of a zip archive some bytes are never read, dates for example."""
    write_checkpoint(tmp_path / "a.npz", ARRAYS, STATE)
    content = (tmp_path / "a.npz").read_bytes()
    num_found = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            assert_is_whole(read_checkpoint(tmp_path / "a.npz"))
        except ValueError as error:
            assert "a.npz is damaged" in str(error)
            num_found += 1
    assert num_found > sum(array.nbytes for array in ARRAYS.values())


def test_flips_at_random_places_of_a_larger_file_are_found_or_harmless(tmp_path):
    draw = random.Random(0)
    path = tmp_path / "a.npz"
    arrays = {f"{i:04}": np.random.default_rng(i).normal(size=(9, i)) for i in range(40)}
    write_checkpoint(path, arrays, STATE)
    content = path.read_bytes()
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 1, 1, 3])):
            damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            checkpoint = read_checkpoint(path)
        except ValueError as error:
            assert "a.npz is damaged" in str(error)
        else:
            assert checkpoint.state == STATE
            np.testing.assert_equal(checkpoint.arrays, arrays)


@pytest.mark.parametrize("method", [8, 12, 14, 99])
def test_a_compression_method_that_was_flipped_is_found(tmp_path, method):
    """Each method's decoder has an exception of its own."""
    write_checkpoint(tmp_path / "a.npz", {"weights": np.ones((3000, 4))}, STATE)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    entry = content.rindex(b"PK\1\2")  # the last one of the table of contents
    assert content[entry + 10] == 0
    content[entry + 10] = method
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is damaged"):
        read_checkpoint(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", [b"(2000, 4)", b"(3000( 4)"])
def test_a_shape_that_was_flipped_is_found(tmp_path, shape):
    """NumPy alone would read the rows of the first, and never meet the CRC at the array's end."""
    write_checkpoint(tmp_path / "a.npz", {"weights": np.ones((3000, 4))}, STATE)
    content = (tmp_path / "a.npz").read_bytes()
    assert content.count(b"(3000, 4)") == 1
    (tmp_path / "a.npz").write_bytes(content.replace(b"(3000, 4)", shape))
    with pytest.raises(ValueError, match=r"a\.npz is damaged: Bad CRC"):
        read_checkpoint(tmp_path / "a.npz")


def test_the_last_ones_are_kept(place):
    folder = CheckpointFolder(place / "checkpoints", keep=2)
    folder.save_best(ARRAYS, STATE)
    for step in (9, 10, 100, 1000):
        assert folder.save(step, ARRAYS, STATE).exists()
    assert folder.steps() == [100, 1000]
    assert folder.best_path.exists()


def test_nothing_to_restore(place):
    assert CheckpointFolder(place).restore() == (None, [])


@pytest.mark.parametrize("damage", [truncate, lambda path: flip_a_byte(path, 300)])
def test_the_one_before_a_damaged_checkpoint_is_restored_and_named(place, damage):
    folder = CheckpointFolder(place)
    folder.save(7, ARRAYS, STATE)
    damage(folder.save(8, {}, {"step": 8, "padding": "x" * 1000}))
    checkpoint, lines = folder.restore()
    assert_is_whole(checkpoint)
    assert len(lines) == 1 and "step-00000008.npz is damaged" in lines[0]


def test_damaged_checkpoints_do_not_push_new_ones_out(tmp_path):
    """All were damaged, so training began anew at step 0: its checkpoints are the older ones."""
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (100, 200):
        truncate(folder.save(step, ARRAYS, STATE))
    assert folder.restore()[0] is None
    assert folder.save(7, ARRAYS, STATE).exists()
    checkpoint, lines = folder.restore()
    assert_is_whole(checkpoint)
    assert lines == []


def test_a_full_disk_leaves_the_older_checkpoint_and_nothing_else(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(7, ARRAYS, STATE)
    with full_disk(4096), pytest.raises(OSError) as caught:
        folder.save(8, {"large": np.zeros(10_000)}, {"step": 8})
    assert caught.value.errno is not None
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007.npz"]
    assert_is_whole(folder.restore()[0])


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_disk_that_is_full_or_read_only_at_the_last_moment(tmp_path, monkeypatch, name):
    folder = CheckpointFolder(tmp_path)
    folder.save(7, ARRAYS, STATE)

    def fail(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(OSError, match="No space left"):
        folder.save(8, ARRAYS, {"step": 8})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007.npz"]
    assert_is_whole(folder.restore()[0])


KILLED_AT = """
import os, signal, sys
from pathlib import Path
import numpy as np
from tfcamp.training.checkpoints import CheckpointFolder

folder = CheckpointFolder(Path(sys.argv[1]), keep=1)
folder.save(7, {"weights": np.arange(9)}, {"step": 7})
def kill(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
{place} = kill
folder.save(8, {"weights": np.arange(9) + 1}, {"step": 8}, wait={wait})
folder.wait()
"""


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(
    ("place", "step", "left"),
    [
        # Before it is flushed, before it is renamed, and before the old one is removed.
        ("os.fsync", 7, ["step-00000007.npz", "step-00000008.npz.partial"]),
        ("os.replace", 7, ["step-00000007.npz", "step-00000008.npz.partial"]),
        ("Path.unlink", 8, ["step-00000007.npz", "step-00000008.npz"]),
    ],
)
def test_a_process_that_is_killed_while_it_saves(tmp_path, place, step, left, wait):
    program = KILLED_AT.replace("{place}", place).replace("{wait}", str(wait))
    answer = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT)
    assert answer.returncode == -signal.SIGKILL
    assert names_in(tmp_path) == left

    checkpoint, lines = CheckpointFolder(tmp_path, writes=False).restore()
    assert checkpoint is not None and checkpoint.state == {"step": step} and lines == []
    assert names_in(tmp_path) == left, "of no business to who only reads"

    folder = CheckpointFolder(tmp_path, keep=1)
    assert names_in(tmp_path) == [name for name in left if name.endswith(".npz")]
    folder.save(9, ARRAYS, STATE)
    assert names_in(tmp_path) == ["step-00000009.npz"]


def test_a_crash_while_writing_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    folder.save(7, ARRAYS, STATE)

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            folder.save(8, ARRAYS, {"step": 8})
    assert folder.steps() == [7]
    assert_is_whole(folder.restore()[0])
    folder.save(8, ARRAYS, STATE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000007.npz",
        "step-00000008.npz",
    ]


@contextmanager
def held_up(monkeypatch) -> Iterator[threading.Event]:
    """Lets no file be begun until the event is set."""
    gate = threading.Event()

    def wait_and_write(*arguments) -> None:
        assert gate.wait(timeout=600)
        write_checkpoint(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_checkpoint", wait_and_write)
        try:
            yield gate
        finally:
            gate.set()


class TestBackground:
    def test_the_caller_goes_on_while_the_file_is_written(self, tmp_path, monkeypatch):
        folder = CheckpointFolder(tmp_path)
        with held_up(monkeypatch) as gate:
            state = {**STATE}
            folder.save(7, ARRAYS, state, wait=False)
            assert folder.steps() == [], "it cannot be there yet"
            state["step"] = 8  # the loop goes on
            gate.set()
            folder.wait()
        assert folder.steps() == [7]
        assert_is_whole(folder.restore()[0])

    def test_one_is_written_at_a_time(self, tmp_path, monkeypatch):
        folder = CheckpointFolder(tmp_path)
        with held_up(monkeypatch) as gate:
            folder.save(7, ARRAYS, STATE, wait=False)
            timer = threading.Timer(0.05, gate.set)
            timer.start()
            folder.save(8, ARRAYS, STATE, wait=False)
            assert folder.path(7).exists(), "the second save waits for the first"
            timer.join()
        folder.wait()
        assert folder.steps() == [7, 8]

    def test_old_ones_are_removed_there_too(self, place):
        folder = CheckpointFolder(place, keep=1)
        for step in (7, 8, 9):
            folder.save(step, ARRAYS, STATE, wait=False)
        assert_is_whole(folder.restore()[0])  # waits
        assert names_in(place) == ["step-00000009.npz"]

    def test_the_best_is_there_before_the_checkpoint_that_speaks_of_it(self, tmp_path, monkeypatch):
        folder = CheckpointFolder(tmp_path)
        folder.save_best(ARRAYS, {"step": 1})
        monkeypatch.setattr(os, "fsync", lambda file: fail_with(errno.ENOSPC))
        folder.save_best(ARRAYS, {"step": 7}, wait=False)
        with pytest.raises(OSError, match="No space left"):
            folder.save(7, ARRAYS, STATE, wait=False)
        folder.wait()
        assert names_in(tmp_path) == ["best.npz"]
        assert folder.read_best().state == {"step": 1}

    @pytest.mark.parametrize("call", ["wait", "save", "save_best", "restore", "read_best"])
    def test_a_full_disk_is_told_by_the_next_call(self, tmp_path, call):
        folder = CheckpointFolder(tmp_path)
        folder.save(7, ARRAYS, STATE)
        arguments = {"save": (9, ARRAYS, STATE), "save_best": (ARRAYS, STATE)}.get(call, ())
        with full_disk(4096):
            folder.save(8, {"large": np.zeros(10_000)}, {"step": 8}, wait=False)
            with pytest.raises(OSError) as caught:
                getattr(folder, call)(*arguments)
        assert caught.value.errno is not None
        assert names_in(tmp_path) == ["step-00000007.npz"]
        assert_is_whole(folder.restore()[0])
        folder.save(8, ARRAYS, STATE, wait=False)  # there is room again
        folder.wait()
        assert folder.steps() == [7, 8]

    def test_the_end_of_the_process_waits(self, tmp_path):
        program = """
import os, sys, threading, time
from pathlib import Path
import numpy as np
from tfcamp.training.checkpoints import CheckpointFolder

last_line = threading.Event()
os.fsync = lambda file: last_line.wait(600) and time.sleep(0.3)
CheckpointFolder(Path(sys.argv[1])).save(7, {"weights": np.arange(9)}, {"step": 7}, wait=False)
assert not list(Path(sys.argv[1]).glob("*.npz"))
last_line.set()
"""
        subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, check=True)
        checkpoint, _ = CheckpointFolder(tmp_path).restore()
        assert checkpoint is not None and checkpoint.state == {"step": 7}


def fail_with(number: int) -> None:
    raise OSError(number, os.strerror(number))


def delete(folder: Path) -> None:
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.rmtree()


class TestDeletedFolder:
    @pytest.mark.parametrize("wait", [True, False])
    def test_it_is_told_in_one_line_and_not_made_anew(self, place, wait):
        folder = CheckpointFolder(place / "checkpoints")
        folder.save(7, ARRAYS, STATE)
        delete(place)
        with pytest.raises(UserError, match=r"run/checkpoints is gone") as caught:
            folder.save(8, ARRAYS, STATE, wait=wait)
            folder.wait()
        assert "\n" not in str(caught.value)
        assert not place.exists()
        assert folder.steps() == []

    def test_at_the_last_moment(self, tmp_path, monkeypatch):
        folder = CheckpointFolder(tmp_path / "run/checkpoints")
        monkeypatch.setattr(os, "fsync", lambda file: shutil.rmtree(tmp_path / "run"))
        with pytest.raises(UserError, match="is gone"):
            folder.save(7, ARRAYS, STATE)
        assert not (tmp_path / "run").exists()


class TestBest:
    def test_reads_what_was_written(self, place):
        folder = CheckpointFolder(place)
        folder.save_best({"old": np.zeros(3)}, {})
        folder.save_best(ARRAYS, STATE, wait=False)
        assert_is_whole(folder.read_best())
        assert folder.steps() == []

    def test_missing(self, place):
        with pytest.raises(UserError, match="no epoch was measured yet; give more --max-steps"):
            CheckpointFolder(place).read_best()

    def test_damaged(self, place):
        folder = CheckpointFolder(place)
        folder.save_best(ARRAYS, STATE)
        truncate(folder.best_path)
        with pytest.raises(UserError, match=r"best\.npz is damaged: .+; train again") as caught:
            folder.read_best()
        assert "\n" not in str(caught.value)


class TestReadOnly:
    def test_it_needs_no_folder_and_makes_none(self, place):
        folder = CheckpointFolder(place, writes=False)
        assert folder.restore() == (None, []) and folder.steps() == []
        folder.save(7, ARRAYS, STATE)
        folder.save(8, ARRAYS, STATE, wait=False)
        folder.save_best(ARRAYS, STATE)
        folder.wait()
        assert not place.exists()

    def test_it_reads_what_the_chief_writes(self, place):
        chief, worker = CheckpointFolder(place), CheckpointFolder(place, writes=False, keep=1)
        chief.save(7, ARRAYS, STATE)
        chief.save(8, ARRAYS, STATE)
        chief.save_best(ARRAYS, STATE)
        assert_is_whole(worker.restore()[0])
        assert_is_whole(worker.read_best())
        worker.save(9, ARRAYS, STATE)
        assert names_in(place) == ["best.npz", "step-00000007.npz", "step-00000008.npz"]
