"""Disks that tests need: one that is full, and a bucket, which here is TensorFlow's memory."""

import resource
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tensorflow as tf
from etils.epath import backend, gpath, register

from tfcamp.data.storage import as_path


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Lets no file of this process grow beyond a size; writing more raises a real OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def memory_bucket() -> Iterator[Path]:
    """Yields an address below ``ram://``, which goes the way of ``gs://`` through tf.io.gfile.

    epath knows no ``ram://``: it is told of it for as long as the test lasts.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpath, "_URI_PREFIXES", (*gpath._URI_PREFIXES, "ram://"))
        patch.setattr(gpath, "_URI_SCHEMES", gpath._URI_SCHEMES | {"ram"})
        patch.setitem(gpath._URI_MAP_ROOT, "ram://", "/ram/")
        patch.setitem(gpath._PREFIX_TO_BACKEND, "ram", backend.tf_backend)
        patch.setitem(register._URI_PREFIXES_TO_CLS, "ram://", gpath.PosixGPath)
        bucket = as_path(f"ram://{uuid.uuid4().hex}")
        bucket.mkdir()
        yield bucket
        tf.io.gfile.rmtree(str(bucket))
