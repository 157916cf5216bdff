"""What the README files tell their reader to type, taken from them line by line."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Command(NamedTuple):
    """A command as it is printed.

    Attributes:
      readme: path of the file.
      section: the heading of the second level that it stands under.
      block: the line where its block of code begins, or its own line in a text; commands of one
        block are given one after the other.
      text: without its comment; what "&&" joins are several commands.
    """

    readme: str
    section: str
    block: int
    text: str

    def __str__(self) -> str:
        return f"{self.readme}:{self.block}: {self.text}"


class Mention(NamedTuple):
    """Options that a text speaks of.

    Attributes:
      readme: path of the file.
      line: where they stand.
      script: the name of the script that takes them; "*" for any.
      options: one option alone, or options with their values.
    """

    readme: str
    line: int
    script: str
    options: str

    def __str__(self) -> str:
        return f"{self.readme}:{self.line}: {self.script} {self.options}"


class Program(NamedTuple):
    """A program in Python, and the line where it begins."""

    readme: str
    section: str
    block: int
    text: str


class Readme(NamedTuple):
    """What a README tells to type."""

    commands: list[Command]
    mentions: list[Mention]
    programs: list[Program]


# Of what stands between backticks, one word alone is a name, and this is no command either.
_NO_COMMAND = re.compile(
    r"\w+: .*"  # a tensor, a line of YAML, a line that a program prints
    r'|[{\["].*'  # JSON, the beginning of a line
    r"|(GET|POST) /.*|from \S+ import .*"
    r"|(the loop waited|stopped by) .*"
    r"|.* → .*|kill -9"
)
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_COMMENT = re.compile(r"(^|\s+)#\s.*")


def find_readmes() -> list[Path]:
    """Returns every README of the checkout."""
    folders = ("projects", "saved_models", "tests", "tfcamp")
    return [
        ROOT / "README.md",
        *(it for top in folders for it in sorted((ROOT / top).rglob("README.md"))),
    ]


def read_readme(name: str, text: str) -> Readme:
    """Takes commands, options and programs out of a README.

    Code blocks hold commands where they are marked as bash, a program where they are marked as
    python, and what a command prints where they are not marked. Indented lines are commands, maybe
    explained after a gap, unless they are equations. Between backticks, several words are a
    command, and what begins with two dashes is an option.

    Args:
      name: path of the file.
      text: its content.

    Raises:
      ValueError: a code block is marked otherwise or not at all though it holds a command, or a
        backtick has no partner in its line.
    """
    found = Readme([], [], [])
    section, language = "", None
    block = 0
    program: list[str] = []
    column = 0  # of a table: that of train.py's options; 0 is before the first
    for line, content in enumerate(_join_lines(text), start=1):
        if language is not None:
            if content == "```":
                if language == "python":
                    found.programs.append(Program(name, section, block, "\n".join(program)))
                language, block = None, line + 1
            elif language == "python":
                program.append(content)
            elif language == "bash":
                found.commands.extend(_commands(name, section, block, content))
            elif re.match(r"(\$|python3?|pip|tfcamp) ", content):
                raise ValueError(f"{name}:{line}: expected ```bash above it: {content}")
            continue
        if content.startswith("    ") and content.strip():
            if " = " not in content:
                command, _, _ = content.strip().partition("   ")
                found.commands.extend(_commands(name, section, block, command))
            continue
        block = line + 1  # where indented lines would begin
        if content.startswith("```"):
            language, block, program = content.removeprefix("```"), line, []
            if language not in ("bash", "python", ""):
                raise ValueError(f"{name}:{line}: expected ```bash, ```python or ```, {content}")
        elif content.startswith("## "):
            section = content.removeprefix("## ")
        elif content.startswith("|"):
            cells = re.split(r"(?<!\\)\|", content)
            titles = [place for place, cell in enumerate(cells) if "options of `train.py`" in cell]
            column = titles[0] if titles else column
            for place, cell in enumerate(cells):
                script = "train.py" if place == column else "*"
                _read_words(found, name, section, line, cell, script)
        else:
            column = 0
            _read_words(found, name, section, line, content, "*")
    return found


def _join_lines(text: str) -> list[str]:
    """Returns the lines of a text, those that go on after a backslash as one and an empty one."""
    return re.sub(r" *\\\n\s*(.*)\n", r" \1\n\n", text).splitlines()


def _commands(readme: str, section: str, block: int, text: str) -> Iterator[Command]:
    for part in _COMMENT.sub("", text).split(" && "):
        if re.match(r"projects/\S+\.py ", part):  # as in a table that has little room
            part = f"python {part}"
        if part:
            yield Command(readme, section, block, part)


def _read_words(
    found: Readme, readme: str, section: str, line: int, text: str, script: str
) -> None:
    """Adds what stands between backticks in a line, or in a cell of a table."""
    if "`" in _CODE.sub("", text):
        raise ValueError(f"{readme}:{line}: a backtick without a partner: {text}")
    for code in _CODE.findall(text):
        first, _, rest = code.partition(" ")
        if first.startswith("--"):
            found.mentions.append(Mention(readme, line, script, code))
        elif re.fullmatch(r"\w+\.py", first) and (rest or script not in ("*", first)):
            found.mentions.append(Mention(readme, line, first, rest))
        elif rest and not _NO_COMMAND.fullmatch(code):
            found.commands.extend(_commands(readme, section, line, code))


class Elsewhere(NamedTuple):
    """Commands, or programs, that are not given here.

    Attributes:
      readme: pattern of the file.
      section: pattern of the heading.
      text: pattern of the command.
      test: what gives them instead, or sees to it that they are right.
    """

    readme: str
    section: str
    text: str
    test: str

    def holds(self, given: Command | Program) -> bool:
        """Tells whether a command is one of these."""
        patterns = (self.readme, self.section, self.text)
        texts = (given.readme, given.section, given.text)
        return all(re.fullmatch(*pair, re.DOTALL) for pair in zip(patterns, texts, strict=True))


ELSEWHERE = [
    # The line of the tests, and the same without them: a new environment and a network.
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
    # The names of commands, not what is typed.
    Elsewhere(".*/README.md", ".*", "tfcamp (data|data check|launch)", "tests/test_help.py"),
    Elsewhere(
        "projects/README.md", "Tuning", "hyperband .*|KERAS.*", "tests/projects/test_tune.py"
    ),
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
    # Long trainings, and others like them are given: their options are tried.
    Elsewhere(
        "saved_models/README.md",
        ".*",
        r"python projects/\w+/train\.py .*",
        "tests/projects/test_readme_commands.py",
    ),
    # Programs.
    Elsewhere(
        "projects/README.md",
        "Several GPUs.*",
        "import tensorflow as tf.*service.*",
        "tests/projects/test_cluster_files.py",
    ),
    Elsewhere(
        "projects/street_view/README.md",
        "On a phone.*",
        ".*ai_edge_litert.*",
        "tests/projects/test_street_lite.py",
    ),
]
# What test_readme_commands.py gives.
GIVEN = re.compile(
    r"(cat \S+ \| |tfcamp launch .* -- )?"
    r"python (?P<path>projects/\w+/(?P<script>train|evaluate|predict|baseline|tune|bench|lite)\.py)"
    r"( .*)?"
    r"|tfcamp (?P<tool>doctor|data list|data fetch|data check)( .*)?"
)
# What must stand in what they print.
PRINTED = {
    "train": r"report {6}\S+/report\.html\n.*SavedModel  \S+/saved_model\n",
    "evaluate": r'\n\{"[^\n]+\}\n\Z',
    "baseline": r'\n\{"[^\n]+\}\n\Z',
    "bench": r'\n\{"[^\n]+\}\n\Z',
    "lite": r'\n\{"[^\n]+\}\n\Z',
    "tune": r"\n[^\n]*python projects/\w+/train\.py --config \S+/best\.json --run-dir \S+\n\Z",
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
    "projects/translation/train.py": "--max-steps 2 --max-tokens 16 --num-layers 1 "
    "--precision float32",
    "projects/translation/bench.py": "--rounds 1 --steps 1 --size tiny",
    "doctor": "--seconds 1",
}
SHORTER["projects/news/tune.py"] = SHORTER["projects/news/train.py"]
# Options of other programs: Slurm's, sacreBLEU's, saved_model_cli's.
NOT_OURS = {"--requeue", "--tokenize 13a", "--input_exprs"}


def is_elsewhere(given: Command | Program) -> bool:
    """Tells whether something else gives a command, or runs a program."""
    return any(those.holds(given) for those in ELSEWHERE)


def is_given(given: Command) -> bool:
    """Tells whether test_readme_commands.py knows how to give a command."""
    return GIVEN.fullmatch(given.text) is not None
