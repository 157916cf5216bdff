"""A checkpoint is whole or not there, and damage is found, named and passed over."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tests.disk import full_disk
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
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_reads_what_was_written(tmp_path):
    write_checkpoint(tmp_path / "a.npz", ARRAYS, STATE)
    assert_is_whole(read_checkpoint(tmp_path / "a.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


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


def test_the_last_ones_are_kept(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    write_checkpoint(folder.best_path, ARRAYS, STATE)
    for step in (9, 10, 100, 1000):
        assert folder.save(step, ARRAYS, STATE).exists()
    assert folder.steps() == [100, 1000]
    assert folder.best_path.exists()


def test_nothing_to_restore(tmp_path):
    assert CheckpointFolder(tmp_path).restore() == (None, [])


@pytest.mark.parametrize("damage", [truncate, lambda path: flip_a_byte(path, 300)])
def test_the_one_before_a_damaged_checkpoint_is_restored_and_named(tmp_path, damage):
    folder = CheckpointFolder(tmp_path)
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
