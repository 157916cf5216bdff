"""What the README files tell their reader to type, and small stand-ins for the files they name."""

import gzip
import io
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.projects.street import NUM_ROWS, write_competition
from tfcamp.data.image_sources import rendered_split
from tfcamp.data.parallel_sources import load_parallel_dataset
from tfcamp.data.sources import load_text_dataset

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
# What follows on the same line: a comment, or an explanation after a gap.
_EXPLANATION = re.compile(r"\s+#\s.*| {3,}.*")


def find_readmes() -> list[Path]:
    """Returns every README of the checkout."""
    tops = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."]
    nested = (path for top in tops if top.name != "runs" for path in top.rglob("README.md"))
    return [ROOT / "README.md", *sorted(nested)]


def read_readme(name: str, text: str) -> Readme:
    """Takes commands, options and programs out of a README.

    Code blocks hold commands where they are marked as bash, a program where they are marked as
    python, and what a command prints where they are not marked. Indented lines are commands unless
    they are equations. Between backticks, several words are a command, and what begins with two
    dashes is an option.

    Args:
      name: path of the file.
      text: its content.

    Raises:
      ValueError: a code block is marked otherwise, or a backtick has no partner in its line.
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
                language = None
            elif language == "python":
                program.append(content)
            elif language == "bash":
                found.commands.extend(_commands(name, section, block, content))
            continue
        if content.startswith("    ") and content.strip():
            if " = " not in content:
                found.commands.extend(_commands(name, section, block, content.strip()))
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
    for part in _EXPLANATION.sub("", text).split(" && "):
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


# How many answers predict.py owes for what a command names; one for anything else.
NUM_INPUTS = {
    "headlines.txt": 4,
    "sentences.txt": 3,
    "photos/": 2,
    "more/*.png": 3,
    "mchar_test_a/": 4,
    "my-photos": 24,
}


def write_stand_ins(folder: Path) -> None:
    """Writes what the commands name: DIR with the data sets, and the files of each project.

    Args:
      folder: gets DIR, and a folder for each project, because `my.tsv` is not the same in all.
    """
    _write_headlines(folder / "news", folder / "DIR/thucnews")
    _write_pictures(folder / "street_view", folder / "DIR")
    _write_sentences(folder / "translation", folder / "DIR")


def _write_headlines(own: Path, thucnews: Path) -> None:
    rows = list(islice(load_text_dataset("sample", data_dir=None, seed=0).train, 160))
    classes = "finance realty stocks education science society politics sports game entertainment"
    names = classes.split()
    _write_lines(own / "my.tsv", (f"{row.text}\t{names[row.label]}" for row in rows))
    _write_lines(
        own / "headlines.txt", (row.text for row in rows[: NUM_INPUTS["headlines.txt"]])
    )
    _write_lines(thucnews / "class.txt", names)
    for name, part in (("train", rows[:120]), ("dev", rows[120:140]), ("test", rows[140:])):
        _write_lines(thucnews / f"{name}.txt", (f"{row.text}\t{row.label}" for row in part))


def _write_pictures(own: Path, data: Path) -> None:
    rows = list(rendered_split("train", NUM_INPUTS["my-photos"]))
    for mine in (own / "my-photos", data / "mine"):
        _write_lines(mine / "labels.csv", ["file,number", *(f"{r.name},{r.number}" for r in rows)])
        for row in rows:
            (mine / row.name).write_bytes(row.image)
    for place in ("photos/", "more/*.png", "mchar_test_a/"):
        other = own / Path(place).parts[0]
        other.mkdir()
        for row in rows[: NUM_INPUTS[place]]:
            (other / row.name).write_bytes(row.image)
    Image.open(io.BytesIO(rows[0].image)).save(own / "house.jpg")
    competition = write_competition(data / "street_view")
    digits = np.random.default_rng(0).integers
    (data / "street_view_digits").mkdir()
    for stem, split in (("train", "train"), ("val", "dev"), ("test", "test")):
        shutil.make_archive(str(competition / stem), "zip", competition / stem)
        shutil.rmtree(competition / stem)
        pixels = digits(0, 256, (NUM_ROWS[split], 32, 32, 3), np.uint8)
        labels = digits(0, 10, NUM_ROWS[split])
        np.savez(data / f"street_view_digits/{stem}.npz", x=pixels, y=labels)


def _write_sentences(own: Path, data: Path) -> None:
    pairs = list(load_parallel_dataset("sample", data_dir=None, seed=0).train)[:160]
    lines = [f"{pair.source}\t{pair.target}" for pair in pairs]
    _write_lines(own / "my.tsv", lines)
    _write_lines(own / "my-pairs.tsv", lines)
    few = pairs[: NUM_INPUTS["sentences.txt"]]
    _write_lines(own / "sentences.txt", (pair.source for pair in few))
    _write_lines(own / "theirs.zh", (pair.target for pair in few))
    _write_lines(own / "mine.txt", (pair.target for pair in reversed(few)))
    for name, part in (("train", pairs[:120]), ("val", pairs[120:140]), ("test", pairs[140:])):
        _write_lines(data / f"captions_en_zh/{name}.en", (pair.source for pair in part))
        _write_lines(data / f"captions_en_zh/{name}.zh", (pair.target for pair in part))
        _write_lines(
            data / f"tatoeba_en_zh/{name}.tsv",
            (f"{pair.source}\t{pair.target}\tCC-BY 2.0 (France)" for pair in part),
        )
        # German in name only.
        stem = "test_2016_flickr" if name == "test" else name
        _write_lines(data / f"multi30k/{stem}.de.gz", (pair.source.upper() for pair in part))
        _write_lines(data / f"multi30k/{stem}.en.gz", (pair.source for pair in part))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def lay_out(folder: Path, stand_ins: Path, project: str) -> None:
    """Makes a folder look like the checkout, with all that the commands of a README name.

    Args:
      folder: gets links, and the folder RUN: a finished run or search of the project.
      stand_ins: see `write_stand_ins`.
      project: whose files have a name that several projects use.
    """
    others = ("news", "street_view", "translation")
    places = [ROOT / "projects", ROOT / "saved_models", stand_ins / "DIR"]
    for owner in (project, *others):
        places += (stand_ins / owner).iterdir()
    for place in places:
        if not (folder / place.name).exists():
            (folder / place.name).symlink_to(place)
    (folder / "RUN").mkdir()
    model = "translation_de_en" if project == "translation" else project
    (folder / "RUN/saved_model").symlink_to(ROOT / "saved_models" / model / "1")
    (folder / "RUN/best.json").write_text(json.dumps({"learning_rate": 0.004}), "utf-8")
