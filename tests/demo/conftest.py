"""Running demos."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.process import ROOT, STAND_INS, TFCAMP, Demo, running

OFFLINE = (sys.executable, "-m", "tests.demo.serve_offline")


@pytest.fixture(scope="session")
def gradio() -> None:
    # Not imported: that leaves event loops open, which pytest counts as errors.
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("the page needs gradio: pip install -e '.[demo]'")


@pytest.fixture(scope="session")
def demo(gradio: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The page with models that can be worked out by hand."""
    with running((*STAND_INS, "stand-ins"), tmp_path_factory.mktemp("demo")) as running_demo:
        yield running_demo


@pytest.fixture(scope="session")
def page_url(demo: Demo) -> str:
    return demo.url


@pytest.fixture(scope="session")
def saved_models(gradio: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models that come with the project, and a second direction of translation."""
    folder = tmp_path_factory.mktemp("saved_models")
    for name, model in (
        ("news", "news"),
        ("street_view", "street_view"),
        ("translation_de_en", "translation_de_en"),
        ("translation_fr_en", "translation_de_en"),
    ):
        (folder / name).symlink_to(ROOT / "saved_models" / model)
    return folder


@pytest.fixture(scope="session")
def offline_demo(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, which is told where it tries to reach anything but this machine."""
    options = ("--saved-models", str(saved_models))
    with running(OFFLINE, tmp_path_factory.mktemp("offline"), *options) as running_demo:
        yield running_demo


@pytest.fixture(scope="session")
def quiet_demo(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo as it is, which nobody else asks."""
    options = ("--saved-models", str(saved_models))
    with running(TFCAMP, tmp_path_factory.mktemp("quiet"), *options) as running_demo:
        yield running_demo
