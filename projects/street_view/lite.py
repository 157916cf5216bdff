"""Converts an exported reader of numbers to LiteRT, for phones and small boards, and measures it.

python projects/street_view/lite.py                      the model that comes with the project
python projects/street_view/lite.py --saved-model RUN/saved_model --dataset DIR/mine

Writes ``float32.tflite`` and ``int8.tflite``. Prints a table that compares them and, last, one line
of JSON.
"""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from projects.street_view.data import load_rows
from projects.street_view.evaluate import evaluate
from projects.street_view.predict import DEFAULT_MODEL
from tfcamp.bench import measure_in_turn, median_ratio
from tfcamp.cli import run_project
from tfcamp.data.image_sources import ImageSplit
from tfcamp.data.storage import whole_file
from tfcamp.errors import UserError
from tfcamp.export.lite import LiteImageModel, load_image_network

# Pictures of one round of the clock.
TIMED_IMAGES = 20


@dataclass(frozen=True)
class LiteConfig:
    """Options of ``lite.py``."""

    saved_model: Path = DEFAULT_MODEL
    """The folder of the SavedModel to convert."""
    dataset: str = "sample"
    """As in train.py: sample, drawings, svhn_cropped, svhn_full, or the path of a folder."""
    data_dir: Path | None = None
    """Folder that holds data sets, one sub-folder each."""
    calibration_rows: int = 200
    """Pictures of the training split, the first ones, by which the scales of int8 are chosen."""
    split: Literal["dev", "test"] = "dev"
    """The rows to measure on."""
    export_dir: Path = Path("runs/street_view/lite")
    """Where the two files go."""
    num_threads: int = 1
    """Threads of a prediction that is timed."""
    rounds: int = 15
    """Rounds in which both files are timed in turn."""
    seed: int = 0
    """Seed by which a labels.csv without splits is cut; give the one of the training."""

    def __post_init__(self) -> None:
        """Refuses values that cannot work.

        Raises:
          UserError: one line that names the option.
        """
        for name in ("calibration_rows", "num_threads", "rounds"):
            if getattr(self, name) < 1:
                option = "--" + name.replace("_", "-")
                raise UserError(f"{option} {getattr(self, name)}: expected at least 1")


def main(config: LiteConfig) -> None:
    """Convert an exported reader of numbers to LiteRT, and measure size, accuracy and latency."""
    network = load_image_network(config.saved_model)
    dataset = load_rows(
        config.dataset,
        data_dir=config.data_dir,
        seed=config.seed,
        digits=not network.reads_numbers,
        use_boxes=False,
        margin=0.0,
    )
    rows = {"dev": dataset.dev, "test": dataset.test}[config.split]
    if rows is None or not rows.labelled:
        raise UserError(f"{config.dataset} has no {config.split} split with numbers")

    seen = [row.image for row in islice(dataset.train, config.calibration_rows)]
    contents = {"float32": network.to_float32(), "int8": network.to_int8(seen)}
    config.export_dir.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with whole_file(config.export_dir / f"{name}.tflite") as file:
            file.write(content)

    results = measure(contents, rows, num_threads=config.num_threads, rounds=config.rounds)
    for line in _table(results):
        print(line)
    print("files  " + "  ".join(str(config.export_dir / f"{name}.tflite") for name in contents))
    print(
        json.dumps(
            {
                "saved_model": str(config.saved_model),
                "dataset": dataset.name,
                "sha256": dataset.sha256,
                "split": config.split,
                "rows": len(rows),
                "calibration_rows": len(seen),
                **results,
            },
            ensure_ascii=False,
        )
    )


def measure(
    contents: Mapping[str, bytes], rows: ImageSplit, *, num_threads: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Measures LiteRT files side by side.

    Args:
      contents: files by name, the one to compare with first.
      rows: what they read.
      num_threads: of a prediction that is timed.
      rounds: in which all are timed in turn.

    Returns:
      for each ``bytes``, ``accuracy`` and ``digit_accuracy``; ``latency_ms`` of one picture, from
      pixels to logits; and its ``size`` and ``speed`` as shares of the first one's.
    """
    results: dict[str, dict[str, float]] = {}
    cases: dict[str, Callable[[], float]] = {}
    images = [row.image for row in islice(rows, TIMED_IMAGES)]
    for name, content in contents.items():
        model = LiteImageModel(content, num_threads=num_threads)
        report = evaluate(model, rows).report
        assert report is not None
        scores = report.scalars()
        results[name] = {
            "bytes": len(content),
            "accuracy": scores["accuracy"],
            "digit_accuracy": scores["digit_accuracy"],
        }
        cases[name] = _network_alone(model, images)
    speeds = measure_in_turn(cases, rounds=rounds)
    first = next(iter(contents))
    for name, values in speeds.items():
        results[name] |= {
            "latency_ms": 1000 / statistics.median(values),
            "size": len(contents[name]) / len(contents[first]),
            "speed": median_ratio(speeds, name, first),
        }
    return results


def _network_alone(model: LiteImageModel, images: list[bytes]) -> Callable[[], float]:
    """Returns a case for the clock: pixels to logits, one picture after the other."""
    pixels, _ = model.pixels(images)

    def run() -> float:
        model.logits(pixels)
        return len(pixels)

    return run


def _table(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    measures = {
        "bytes": ("bytes", ",.0f"),
        "size": ("size ÷ float32", ".3f"),
        "accuracy": ("whole numbers right", ".4f"),
        "digit_accuracy": ("digits right", ".4f"),
        "latency_ms": ("one picture, ms", ".2f"),
        "speed": ("speed ÷ float32", ".2f"),
    }
    lines = ["".join([f"{'':<22}", *(f"{name:>12}" for name in results)])]
    for name, (title, form) in measures.items():
        cells = (f"{values[name]:>12{form}}" for values in results.values())
        lines.append(f"{title:<22}" + "".join(cells))
    return lines


if __name__ == "__main__":
    run_project(main, LiteConfig)
