"""Small stand-ins for the files that the commands of the READMEs name."""

import gzip
import io
import itertools
import json
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.projects.readmes import ROOT
from tests.projects.street import NUM_ROWS, write_competition
from tfcamp.data.image_sources import rendered_split
from tfcamp.data.parallel_sources import load_parallel_dataset

SAMPLE = ROOT / "tfcamp/data/samples/news"

# How many answers predict.py owes for what a command names; one for anything else.
NUM_INPUTS = {
    "headlines.txt": 4,
    "sentences.txt": 3,
    "photos/": 2,
    "more/*.png": 3,
    "mchar_test_a/": 4,
    "my-photos": 24,
}


def num_answers(text: str) -> int:
    """Returns how many lines predict.py owes to a command."""
    piped, _, rest = text.rpartition("python ")
    words = shlex.split(rest)[1:]
    places = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    if "--file" in words:
        places = [words[words.index("--file") + 1]]
    if piped:
        places = [piped.split()[1]]
    lines = 1
    if "--nbest" in words:  # below the sentence itself
        lines += int(words[words.index("--nbest") + 1])
    return lines * sum(NUM_INPUTS.get(place, 1) for place in places)


def write_stand_ins(folder: Path) -> None:
    """Writes what the commands name: DIR with the data sets, and the files of each project.

    Args:
      folder: gets DIR, and a folder for each project, because `my.tsv` is not the same in all.
    """
    _write_headlines(folder / "news", folder / "DIR/thucnews")
    _write_pictures(folder / "street_view", folder / "DIR")
    _write_sentences(folder / "translation", folder / "DIR")


def _write_headlines(own: Path, thucnews: Path) -> None:
    lines = (SAMPLE / "train.tsv").read_text("utf-8").splitlines()[:160]
    rows = [line.split("\t") for line in lines]
    _write_lines(own / "my.tsv", lines)
    _write_lines(own / "headlines.txt", (text for text, _ in rows[: NUM_INPUTS["headlines.txt"]]))
    # As the model calls them that comes with the project, in the order of the sample's classes.
    names = "finance stocks realty education science society politics sports game entertainment"
    _write_lines(thucnews / "class.txt", names.split())
    classes = (SAMPLE / "class.txt").read_text("utf-8").split()
    for name, part in (("train", rows[:120]), ("dev", rows[120:140]), ("test", rows[140:])):
        content = (f"{text}\t{classes.index(label)}" for text, label in part)
        _write_lines(thucnews / f"{name}.txt", content)


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
