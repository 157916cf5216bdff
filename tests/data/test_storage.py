"""A file is whole or not there, on a disk and in a bucket."""

import errno
import os
from pathlib import Path

import pytest

from tests.disk import memory_bucket
from tfcamp.data.storage import as_path, bring_here, is_remote, open_to_read, whole_file
from tfcamp.errors import UserError


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path):
    if request.param == "disk":
        yield tmp_path
    else:
        with memory_bucket() as bucket:
            yield bucket


@pytest.mark.parametrize("text", ["runs/news", "/data/x", ".", "../gs", "a:b/c", "C:/data", "gs:"])
def test_a_path_on_a_disk(text):
    path = as_path(text)
    assert path == Path(text) and isinstance(path, Path) and not is_remote(path)


@pytest.mark.parametrize("text", ["gs://bucket/run", "s3://bucket/run"])
def test_an_address_whatever_it_has_been_through(text):
    for place in (text, Path(text), as_path(text), Path(str(Path(text)))):
        path = as_path(place)
        assert is_remote(path) and str(path) == text
        assert str(path / "log.txt") == f"{text}/log.txt"


def test_an_unknown_scheme():
    with pytest.raises(UserError, match="ftp://host/run: expected a path, or an address"):
        as_path("ftp://host/run")


@pytest.mark.parametrize("content", [b"", b"new", bytes(40_000_000)], ids=len)
def test_a_file_is_replaced_and_read(place, content):
    for old in (b"older", b"old", content):
        with whole_file(place / "a.txt") as file:
            file.write(old)
    with open_to_read(place / "a.txt") as file:
        assert file.read() == content
    assert [path.name for path in place.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file(place, error):
    (place / "a.txt").write_bytes(b"old")
    with pytest.raises(type(error)), whole_file(place / "a.txt") as file:
        file.write(b"half of the ne")
        raise error
    assert (place / "a.txt").read_bytes() == b"old"
    assert [path.name for path in place.iterdir()] == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    flush, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("fsync"), flush(file)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("replace"), rename(*names)))
    with whole_file(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert order == ["fsync", "replace"]


def test_a_data_set_in_a_bucket_is_copied_to_this_machine(tmp_path):
    with memory_bucket() as bucket:
        folder = bucket / "mine" / "deeper"
        folder.mkdir(parents=True)
        (bucket / "mine" / "train.tsv").write_text("一\t二\n")
        (folder / "more.txt").write_text("三")
        dataset, data_dir = bring_here("mine", bucket)
        assert dataset == "mine" and data_dir is not None
        assert (data_dir / "mine/train.tsv").read_text("utf-8") == "一\t二\n"
        assert (data_dir / "mine/deeper/more.txt").read_text("utf-8") == "三"
        path, nowhere = bring_here(f"{bucket}/mine/train.tsv", None)
        assert Path(path).read_text("utf-8") == "一\t二\n" and nowhere is None
        with pytest.raises(UserError, match="nothing is there"):
            bring_here("other", bucket)
        own = tmp_path / "own.tsv"
        own.touch()
        for here in ("sample", "drawings", "reverse", str(own)):
            assert bring_here(here, bucket) == (here, bucket)
    assert bring_here("mine", Path("here")) == ("mine", Path("here"))
