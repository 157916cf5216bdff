"""Every command of every README works as it is printed, with tiny data and few steps."""

import dataclasses
import importlib
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import keras
import pytest

from projects.news import bench as news_bench
from projects.street_view import bench as street_bench
from projects.translation import bench as translation_bench
from projects.translation import model as translation_model
from tests.projects.conftest import Answer
from tests.projects.readmes import (
    ELSEWHERE,
    GIVEN,
    NOT_OURS,
    PRINTED,
    ROOT,
    SHORTER,
    Command,
    Mention,
    Program,
    find_readmes,
    is_elsewhere,
    is_given,
    read_readme,
)
from tests.projects.stand_ins import lay_out, num_answers, write_stand_ins
from tests.projects.street import few_drawings
from tfcamp.data import reversal
from tfcamp.models import image_classifier
from tfcamp.models.image_classifier import BUILDERS

# keras-tuner 1.4.8 asks for the thread's name in a way that Python has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]

READMES = [
    read_readme(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in find_readmes()
]
COMMANDS = [command for readme in READMES for command in readme.commands]
MENTIONS = [mention for readme in READMES for mention in readme.mentions]
PROGRAMS = [program for readme in READMES for program in readme.programs]

# Less to do for the same purpose as SHORTER: constants of modules.
TINY = {
    "width": 16,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 2,
    "inner_width": 32,
}
SMALLER = {
    reversal: {"NUM_ROWS": {"train": 200, "dev": 10, "test": 10}},
    news_bench: {"BATCH": 16, "LENGTH": 8, "VOCABULARY": 500, "WIDTH": 16},
    street_bench: {"BATCH": 8, "NUM_ROWS": 80, "READERS": ("multihead",)},
    # Those that the commands name or mean.
    image_classifier: {"BUILDERS": {name: BUILDERS[name] for name in ("lenet5", "resnet", "vgg")}},
    translation_model: {"SIZES": {"tiny": TINY}},
    translation_bench: {
        "SIZES": {"tiny": TINY},
        "VOCABULARY": 100,
        "BATCH_TOKENS": 256,
        "EQUAL_ROWS": 4,
        "EQUAL_LENGTH": 8,
        "NUM_PAIRS": 200,
        "TARGET_LENGTH": 16,
    },
}


def blocks() -> Iterator[list[Command]]:
    """Yields the commands that are given here, those that stand together in a list, each once."""
    seen: set[str] = set()
    for _, group in itertools.groupby(COMMANDS, lambda given: (given.readme, given.block)):
        ours = (given for given in group if is_given(given) and not is_elsewhere(given))
        block = [given for given in ours if given.text not in seen]
        seen.update(given.text for given in block)
        if block:
            yield block


def where(given: list[Command] | Program) -> str:
    """Returns what a test is called by: where its commands stand."""
    first = given if isinstance(given, Program) else given[0]
    return f"{first.readme}:{first.block}"


def entry_point(path: str) -> tuple[Callable[[Any], None], type]:
    """Returns the main of a script, and the class of its options."""
    main = importlib.import_module(path.removesuffix(".py").replace("/", ".")).main
    hints = get_type_hints(main)
    del hints["return"]
    (config_class,) = hints.values()
    return main, config_class


class TestReading:
    """What is taken from a README, on one that is made up."""

    def test_commands(self) -> None:
        text = r"""# Title
Look at `a.py`, or `tfcamp doctor`.
## Run it
```bash
# Why.
one --a   "b c"  # why
two && three
```
    four \
      five    it says

    p(x) = 1
| what | options of `train.py` | `--x` |
|---|---|---|
| a\|b | `--model bow` | `--y 1` |
`text: string[B]`, `projects/news/train.py --a` and `make it`
"""
        found = read_readme("R", text)
        assert found.commands == [
            Command("R", "", 2, "tfcamp doctor"),
            Command("R", "Run it", 4, 'one --a   "b c"'),
            Command("R", "Run it", 4, "two"),
            Command("R", "Run it", 4, "three"),
            Command("R", "Run it", 9, "four five"),
            Command("R", "Run it", 16, "python projects/news/train.py --a"),
            Command("R", "Run it", 16, "make it"),
        ]
        assert found.mentions == [
            Mention("R", 13, "*", "--x"),
            Mention("R", 15, "train.py", "--model bow"),
            Mention("R", 15, "*", "--y 1"),
        ]

    def test_programs(self) -> None:
        found = read_readme("R", "## A\n```python\nx = 1\n\ny\n```\n```\nprinted by it\n```\n")
        assert found == ([], [], [Program("R", "A", 2, "x = 1\n\ny")])

    @pytest.mark.parametrize("text", ["\n```sh\nls\n```", "```\npip list\n```", "\na `b\nc` d"])
    def test_what_would_be_passed_over(self, text: str) -> None:
        with pytest.raises(ValueError, match="R:2: "):
            read_readme("R", text)

    @pytest.mark.parametrize(
        "text", ["make it", "python projects/news/serve.py", "rm a | python projects/news/tune.py"]
    )
    def test_a_command_that_nobody_knows(self, text: str) -> None:
        given = Command("projects/README.md", "Tuning", 1, text)
        assert not is_given(given) and not is_elsewhere(given)


def test_each_command_is_given_or_tested_elsewhere() -> None:
    unknown = [str(it) for it in COMMANDS if not is_given(it) and not is_elsewhere(it)]
    assert not unknown, "add them to GIVEN or ELSEWHERE:\n" + "\n".join(unknown)


def test_each_exception_is_needed() -> None:
    for those in ELSEWHERE:
        assert (ROOT / those.test).exists(), those
        assert any(those.holds(given) for given in [*COMMANDS, *PROGRAMS]), those


def test_each_extra_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for given in COMMANDS:
        if given.text.startswith("pip install -e "):
            extras = set(re.findall(r"\[(\w+)\]", given.text))
            assert extras <= project["optional-dependencies"].keys(), given


def test_each_test_exists() -> None:
    for given in COMMANDS:
        _, pytest_, arguments = given.text.partition("pytest ")
        for word in arguments.split() if pytest_ else ():
            named = word in ("-n", "2", "--dist", "loadfile", "-m", "slow")
            assert named or (ROOT / word).exists(), given


def only_parse(config: Any) -> None:
    """Stands for a main, so that the command line alone is tried."""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-ins")
    write_stand_ins(folder)
    return folder


@pytest.fixture
def checkout(stand_ins: Path, tmp_path: Path, monkeypatch) -> Callable[[str], None]:
    """Makes the working directory look like the checkout, with the files of a project."""

    def make(project: str) -> None:
        lay_out(tmp_path, stand_ins, project)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return make


def test_each_option_of_a_command_exists(command, checkout) -> None:
    """Of all commands of our scripts, also of those that are not given here."""
    checkout("news")
    refused = []
    for text, given in {given.text: given for given in COMMANDS}.items():
        found = re.search(r"(projects/\w+/\w+\.py)(?: (.*))?$", text)
        if found is not None:
            _, config_class = entry_point(found[1])
            answer = command(only_parse, config_class, *shlex.split(found[2] or ""))
            if answer.status:
                refused.append(f"{given}\n{answer.err}")
    assert not refused, "\n".join(refused)


def test_each_option_that_a_text_speaks_of_exists(command) -> None:
    assert {mention.options for mention in MENTIONS} >= NOT_OURS
    unknown = [
        str(mention)
        for mention in MENTIONS
        if mention.options not in NOT_OURS and not is_accepted(mention, command)
    ]
    assert not unknown, "\n".join(unknown)


def is_accepted(mention: Mention, command) -> bool:
    """Tells whether a script of the README's project takes these options."""
    project = Path(mention.readme).parent.name if mention.readme.count("/") == 2 else "*"
    paths = ROOT.glob(f"projects/{project}/{mention.script.removesuffix('.py')}.py")
    for path in sorted(paths, key=lambda path: (path.stem != "train", path)):
        if path.stem not in PRINTED:
            continue
        _, config_class = entry_point(str(path.relative_to(ROOT)))
        options = ["1" if word == "N" else word for word in mention.options.split()]
        if len(options) == 1:
            names = {field.name for field in dataclasses.fields(config_class)} | {"config"}
            if options[0].removeprefix("--").replace("-", "_") in names:
                return True
        elif command(only_parse, config_class, *options).status == 0:
            return True
    return False


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ("--model bow", True),
        ("--model bows", False),
        ("--modle bow", False),
        ("--vectors", True),
        ("--vector", False),
        ("--max-trials 3", True),
        ("--beam 4", False),
    ],
)
def test_an_option_that_is_none(command, options: str, accepted: bool) -> None:
    assert is_accepted(Mention("projects/news/README.md", 1, "*", options), command) == accepted


@pytest.mark.slow
@pytest.mark.parametrize("block", list(blocks()), ids=where)
def test_commands_work_as_printed(block, checkout, command, monkeypatch) -> None:
    """One after the other, as a learner gives them in the checkout."""
    project = re.search(r"projects/(\w+)/", " ".join(map(str, block)))
    checkout(project[1] if project else "news")
    for module, constants in SMALLER.items():
        for name, value in constants.items():
            monkeypatch.setattr(module, name, value)
    for given in block:
        keras.backend.clear_session()
        with few_drawings():
            answer = give(given.text, command)
        assert answer.status == 0, f"{given}\n{answer.out[-2000:]}\n{answer.err[-2000:]}"
        check(given, answer)


def give(text: str, command) -> Answer:
    """Gives a command: in this process, unless it takes others or a device of its own."""
    found = GIVEN.fullmatch(text)
    assert found is not None
    text = f"{text} {SHORTER.get(found['path'] or found['tool'], '')}"
    if text.startswith("python") and "--strategy" not in text:
        main, config_class = entry_point(found["path"])
        return command(main, config_class, *shlex.split(text)[2:])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", text],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def check(given: Command, answer: Answer) -> None:
    """Makes sure that a command printed what it is there for."""
    found = GIVEN.fullmatch(given.text)
    assert found is not None
    what = found["script"] or found["tool"]
    if "--help" in given.text:
        assert answer.out.startswith("usage: "), given
        return
    assert re.search(PRINTED[what], answer.out, re.DOTALL), f"{given}\n{answer.out[-2000:]}"
    if what == "train":
        written = re.findall(r"(?:report {6}|SavedModel  )(\S+)$", answer.out, re.MULTILINE)
        assert written and all(Path(path).exists() for path in written), given
    if what == "predict":
        assert len(answer.out.splitlines()) == num_answers(given.text), f"{given}\n{answer.out}"


@pytest.mark.slow
@pytest.mark.parametrize("program", [it for it in PROGRAMS if not is_elsewhere(it)], ids=where)
def test_programs_work_as_printed(program: Program, checkout, capsys) -> None:
    checkout("news")
    exec(program.text, {})
    (line,) = capsys.readouterr().out.splitlines()
    answer, probability = line.split()
    assert answer and 0 <= float(probability) <= 1
