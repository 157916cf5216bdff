"""Every command of every README works as it is printed, with tiny data and few steps."""

import dataclasses
import importlib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import keras
import pytest

from projects.news import bench as news_bench
from projects.translation import bench as translation_bench
from tests.projects.conftest import Answer
from tests.projects.readmes import (
    NUM_INPUTS,
    ROOT,
    Command,
    Mention,
    Program,
    Readme,
    find_readmes,
    lay_out,
    read_readme,
    write_stand_ins,
)
from tests.projects.street import few_drawings
from tfcamp.data import reversal

# keras-tuner 1.4.8 asks for the thread's name in a way that Python has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]

READMES = [
    read_readme(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in find_readmes()
]


class Elsewhere(NamedTuple):
    """Commands that are not given here.

    Attributes:
      readme: pattern of the file.
      section: pattern of the heading.
      command: pattern.
      test: what gives them instead, or sees to it that they are right.
    """

    readme: str
    section: str
    command: str
    test: str


ELSEWHERE = [
    # The line of the tests, and the same without them: a new environment, then the network.
    Elsewhere(
        "README.md",
        ".*",
        r'python3 -m venv \.venv|\. \.venv/bin/activate|pip install -e (\.|"\.\[dev\]")'
        r"|pytest -n 2 --dist loadfile",
        ".ci/run",
    ),
    # Packages for hardware that is not here; the notebooks give the same commands.
    Elsewhere(
        "README.md",
        ".*",
        r'pip install -e "\.\[(gpu|demo)\]"|pip uninstall -y tensorflow tensorflow-tpu'
        r'|pip install "tensorflow-tpu.*',
        "tests/projects/test_notebooks.py",
    ),
    Elsewhere("(tfcamp/)?README.md", ".*", "tfcamp demo", "tests/demo/test_page.py"),
    # Commands below which there are others: their names, not what is typed.
    Elsewhere(".*/README.md", ".*", "tfcamp (data|data check|launch)", "tests/test_help.py"),
    Elsewhere("projects/README.md", "Tuning", "hyperband .*|KERAS.*", "tests/projects/test_tune.py"),
    # They need two machines, or Slurm.
    Elsewhere(
        "projects/README.md",
        "Several GPUs.*",
        "TF_CONFIG=.*|sbatch .*",
        "tests/projects/test_cluster_files.py",
    ),
    Elsewhere("(projects/news|tests)/README.md", ".*", r"(TFCAMP_KILLS=10 )?pytest .*", "tests"),
    Elsewhere(
        "saved_models/README.md",
        "Serve them|Look inside|",
        ".*",
        "tests/export/test_saved_models_readme.py",
    ),
]
# Those that are given here.
GIVEN = re.compile(
    r"(cat \S+ \| |tfcamp launch .* -- )?python projects/\w+/(?P<script>\w+)\.py(?P<options> .*)?"
    r"|tfcamp (?P<tool>doctor|data (list|fetch|check))( .*)?"
)
# What must stand in what they print.
PRINTED = {
    "train": r"report {6}.*/report\.html\n(.*\n)?.*SavedModel  .*/saved_model\n",
    "evaluate": r'\n\{".*\}\n\Z',
    "baseline": r'\n\{".*\}\n\Z',
    "bench": r'\n\{".*\}\n\Z',
    "lite": r'\n\{".*\}\n\Z',
    "tune": r"\n.*python projects/\w+/train\.py --config \S+/best\.json --run-dir \S+\n\Z",
    "predict": r"\S",
    "doctor": "TensorFlow",
    "data list": "thucnews",
    "data fetch": "thucnews is there already",
    "data check": "nothing was found that would harm training",
}
# Further options, so that a command ends soon.
SHORTER = {
    "projects/news/train.py": "--max-steps 2 --batch-size 8 --model bow --tokens char "
    "--vectors none --embedding-dim 8 --width 8",
    "projects/news/bench.py": "--rounds 1 --steps 1",
    "projects/street_view/train.py": "--max-steps 2 --batch-size 4 --train-rows 16 --trunk lenet5 "
    "--width-multiplier 0.5 --head-width 8 --precision float32",
    "projects/street_view/bench.py": "--rounds 1 --steps 1 --width-multiplier 0.1",
    "projects/street_view/lite.py": "--rounds 1 --calibration-rows 8",
    "projects/translation/train.py": "--max-steps 2 --max-tokens 16 --width 16 --num-layers 1 "
    "--num-heads 2 --inner-width 32 --precision float32",
    "projects/translation/bench.py": "--rounds 1 --steps 1 --size tiny",
}
SHORTER["projects/news/tune.py"] = SHORTER["projects/news/train.py"]
# Options that belong to other programs.
NOT_OURS = {"--requeue", "--tokenize 13a", "--input_exprs"}
