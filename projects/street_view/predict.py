"""Reads the numbers on pictures with an exported model: files, folders, patterns.

python projects/street_view/predict.py house.jpg photos/ "more/*.png"
python projects/street_view/predict.py photos/ --json
python projects/street_view/predict.py mchar_test_a/ --submission submission.csv
"""

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from tfcamp.cli import run_project
from tfcamp.data.image_sources import write_number_submission
from tfcamp.data.image_splits import turn_upright
from tfcamp.data.image_stores import find_pictures
from tfcamp.errors import UserError
from tfcamp.export.folders import newest_version
from tfcamp.export.image_model import ServedImageModel, load_image_model
from tfcamp.text.corpus import batched

import tyro

FILES_PER_BATCH = 64

# The model that comes with the project.
DEFAULT_MODEL = newest_version(Path(__file__).parents[2] / "saved_models" / "street_view")


@dataclass(frozen=True)
class PredictConfig:
    """Options of ``predict.py``."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional]
    """PNG and JPEG files, folders of them, or patterns such as "photos/*.png"."""
    saved_model: Path = DEFAULT_MODEL
    """The folder of a SavedModel."""
    test_time_augmentation: bool = False
    """Whether each picture is looked at several times, a little wider, narrower and moved."""
    json: bool = False
    """Print one JSON object a line."""
    submission: Path | None = None
    """Writes what was read to this file, in the competition's format."""


class Answer(NamedTuple):
    """What was read on a picture; number is "" and probability 0 where it cannot be decoded."""

    file: str
    number: str
    probability: float


def main(config: PredictConfig) -> None:
    """Read the house numbers on pictures."""
    if config.submission is not None and not config.submission.parent.is_dir():
        raise UserError(f"--submission {config.submission}: there is no such folder")
    files = list(find_images(config.images))
    model = load_image_model(config.saved_model)
    answers = []
    for batch in batched(files, FILES_PER_BATCH):
        for answer in predict(model, batch, several_views=config.test_time_augmentation):
            answers.append(answer)
            if config.json:
                print(json.dumps(answer._asdict(), ensure_ascii=False))
            else:
                print(f"{answer.number or '-':<8}{answer.probability:>7.1%}  {answer.file}")
    if config.submission is not None:
        names = [Path(answer.file).name for answer in answers]
        write_number_submission(config.submission, names, [answer.number for answer in answers])


def predict(
    model: ServedImageModel, files: list[Path], *, several_views: bool = False
) -> Iterator[Answer]:
    """Yields what the model reads on each file, photographs turned upright.

    Raises:
      UserError: a file cannot be read; one that is no picture is no error, see `Answer`.
    """
    images = [turn_upright(_content(file)) for file in files]
    reading = model(images, several_views=several_views)
    for file, number, probability in zip(files, *reading, strict=True):
        yield Answer(str(file), number, float(probability))


def find_images(places: tuple[str, ...]) -> Iterator[Path]:
    """Yields the files that names, folders and patterns stand for, each place's in order.

    Of folders and what lies in them, only what ends like an image is taken, but not macOS's shadows
    of files (``._a.jpg``); a file that is named is taken whatever it is called.

    Raises:
      UserError: there is nothing, or no image at a place.
    """
    if not places:
        raise UserError("expected the name of a picture, a folder or a pattern")
    for place in places:
        path = Path(place).expanduser()
        if path.is_dir():
            found = [path / name for name in find_pictures(path)]
        elif path.exists():
            found = [path]
        else:
            # The shell leaves a pattern alone that stands in quotation marks.
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            found = [file for file in found if file.is_file()]
        if not found:
            raise UserError(f"{place}: no such file, or no PNG or JPEG images there")
        yield from found


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


if __name__ == "__main__":
    run_project(main, PredictConfig)
