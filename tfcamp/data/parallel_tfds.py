"""Translation sets of TensorFlow Datasets by name: ``ted_hrlr_translate/pt_to_en`` and the like."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from tfcamp.data.datasets.fetching import build
from tfcamp.data.languages import choose_direction
from tfcamp.data.parallel_splits import (
    ParallelDataset,
    ParallelRow,
    ParallelSplit,
    build_dataset,
    open_split,
)
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError


def load_tfds_pairs(
    name: str, root: Path, source_language: str | None, target_language: str | None
) -> ParallelDataset | None:
    """Opens a translation set, building it in `root` first where that has not been done.

    Without a validation split, a tenth of the training split is taken for it, and another one for a
    test split that is missing as well; TFDS has shuffled them.

    Args:
      name: of the set, with its configuration where it has several.
      root: TFDS's folder.
      source_language: see :func:`tfcamp.data.parallel_sources.load_parallel_dataset`.
      target_language: see there.

    Returns:
      the data set, or None where TFDS has none of this name.

    Raises:
      UserError: it has no such configuration or language, holds no pairs, or cannot be downloaded.
    """
    builder = _find_builder(name, root)
    if builder is None:
        return None
    languages, features = builder.info.supervised_keys, builder.info.features
    if not (
        isinstance(languages, tuple)
        and len(languages) == 2
        and all(isinstance(features[language], tfds.features.Text) for language in languages)
    ):
        raise UserError(f"{name}: TFDS's data set of this name does not hold pairs of sentences")
    source, target = choose_direction(languages, source_language, target_language, name)
    if not (Path(builder.data_dir) / "dataset_info.json").exists():
        build(builder, name, root)

    def open_part(part: str) -> ParallelSplit:
        def rows() -> Iterator[ParallelRow]:
            examples = builder.as_dataset(
                split=part,
                shuffle_files=False,
                read_config=tfds.ReadConfig(interleave_cycle_length=1),
            )
            for example in examples.as_numpy_iterator():
                yield ParallelRow(example[source].decode(), example[target].decode())

        return open_split(f"{builder.info.full_name} {part}", rows, (source, target))

    train, dev, test, notes = _parts(set(builder.info.splits), name)
    splits = open_part(train), open_part(dev), None if test is None else open_part(test)
    files = sorted(Path(builder.data_dir).glob("*.tfrecord*"))
    return build_dataset(name, (source, target), *splits, sha256_of(files), notes)


def _find_builder(name: str, root: Path) -> tfds.core.DatasetBuilder | None:
    base, _, config = name.partition("/")
    try:
        configs = tfds.builder_cls(base.partition(":")[0]).builder_configs
    except (tfds.core.DatasetNotFoundError, ValueError):  # the latter: it cannot be a name
        return None
    if config and config.partition(":")[0] not in configs:
        raise UserError(
            f"{name}: TFDS's {base} has no configuration {config!r}; expected one of "
            f"{', '.join(configs) or 'none'}"
        )
    return tfds.builder(name, data_dir=root)


def _parts(splits: set[str], name: str) -> tuple[str, str, str | None, list[str]]:
    """Returns what train, dev and test are made of, and notes about it."""
    if "validation" in splits:
        return "train", "validation", "test" if "test" in splits else None, []
    if "test" in splits:
        note = f"{name}: the last tenth of the training split is the validation split"
        return "train[:90%]", "train[90%:]", "test", [note]
    note = f"{name}: the last two tenths of its only split are the validation and the test split"
    return "train[:80%]", "train[80%:90%]", "train[90%:]", [note]
