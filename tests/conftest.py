"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

import tfcamp  # noqa: F401  sets the Keras backend and log level before TensorFlow is imported


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real corpora; a test that needs it is skipped where it is missing."""
    folder = Path(os.environ.get("TFCAMP_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip("real data not found: set TFCAMP_TEST_DATA to its folder")
    return folder
