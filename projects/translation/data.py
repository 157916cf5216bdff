"""From pairs of sentences to what the model reads: subwords and packed ids.

Subwords are fitted on the training split only, and kept in ``RUN/data`` for whoever wants to look.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from projects.translation.config import SizedOptions, TranslationConfig
from tfcamp.data.packed_pairs import PackedPairs
from tfcamp.data.pair_filter import PairFilter
from tfcamp.data.parallel_sources import ParallelDataset, ParallelSplit, load_parallel_dataset
from tfcamp.data.pipeline import BatchStream
from tfcamp.data.plans import TokenBudget, choose_buckets
from tfcamp.data.storage import whole_file
from tfcamp.errors import UserError
from tfcamp.runs import Run
from tfcamp.text.corpus import batched
from tfcamp.text.sentences import encode_sentences
from tfcamp.text.subword import SubwordTokenizer, train_subwords

import tensorflow as tf

PAIRS_PER_BATCH = 1024
# Tokens of a batch of the dev split: no gradients are kept, so it may be larger.
EVALUATION_TOKENS = 4_096


@dataclass(frozen=True)
class TranslationData:
    """What preparation yields.

    Attributes:
      dataset: the pairs and their languages.
      sized: the options that depend on how many there are.
      source_subwords: cuts source sentences; goes into the SavedModel.
      target_subwords: joins translations; the same one with a joint vocabulary.
      train: the packed training split, without the pairs that are left out.
      dev: the packed dev split, all of it.
    """

    dataset: ParallelDataset
    sized: SizedOptions
    source_subwords: SubwordTokenizer
    target_subwords: SubwordTokenizer
    train: PackedPairs
    dev: PackedPairs

    @property
    def target_tokens_per_pair(self) -> float:
        """The mean number of target tokens of a training pair, its end included."""
        return float(self.train.lengths[:, 1].mean())


def prepare(config: TranslationConfig, run: Run) -> TranslationData:
    """Loads the pairs, fits the subwords on the training split and packs the ids.

    Args:
      config: the options.
      run: the files are written to its folder.

    Raises:
      UserError: a file cannot be used, or is not what the run began with.
    """
    dataset = load_parallel_dataset(
        config.dataset,
        source_language=config.source,
        target_language=config.target,
        data_dir=config.data_dir,
        seed=config.seed,
    )
    for note in dataset.notes:
        run.say(note)
    run.say(
        f"{dataset.name}, {dataset.source_language} to {dataset.target_language}: "
        f"{len(dataset.train):,} training pairs, {len(dataset.dev):,} dev pairs, "
        f"{len(dataset.test) if dataset.test else 0:,} test pairs"
    )
    run.compare_rows(dataset.name, dataset.sha256)
    sized = config.for_pairs(len(dataset.train))
    folder = run.folder / "data"
    folder.mkdir(exist_ok=True)

    if config.joint_vocabulary:
        source = target = _subwords(config, sized, folder / "joint.model", dataset.train, (0, 1))
        run.say(f"a joint vocabulary of {len(source):,} subwords")
    else:
        source = _subwords(config, sized, folder / "source.model", dataset.train, (0,))
        target = _subwords(config, sized, folder / "target.model", dataset.train, (1,))
        run.say(f"vocabularies of {len(source):,} and {len(target):,} subwords")

    pair_filter = PairFilter(max_tokens=config.max_tokens, max_ratio=config.max_ratio)
    pairs = _encoded(dataset.train, source, target)
    train = PackedPairs.write(folder / "train", pair_filter(pairs))
    run.say(str(pair_filter))
    if not len(train):
        raise UserError(
            f"no pair is left to train on: are they longer than --max-tokens {config.max_tokens}, "
            f"or more unequal than --max-ratio {config.max_ratio:g}?"
        )
    dev = PackedPairs.write(folder / "dev", _encoded(dataset.dev, source, target))
    return TranslationData(dataset, sized, source, target, train, dev)


def train_stream(
    config: TranslationConfig, data: TranslationData, *, static_shapes: bool = False
) -> BatchStream:
    """Returns the shuffled batches of the training split, pairs of about the same lengths each."""
    return _stream(data.train, data.sized.batch_tokens, config, config.seed, static_shapes)


def evaluation_stream(
    config: TranslationConfig, data: TranslationData, *, static_shapes: bool = False
) -> BatchStream:
    """Returns large batches of the dev split, each pair once; longer ones are cut."""
    return _stream(data.dev, EVALUATION_TOKENS, config, None, static_shapes)


def _stream(
    examples: PackedPairs,
    num_tokens: int,
    config: TranslationConfig,
    seed: int | None,
    static_shapes: bool,
) -> BatchStream:
    lengths = examples.lengths.clip(max=config.max_tokens)
    *smaller, largest = choose_buckets(lengths)
    return BatchStream(
        examples,
        TokenBudget(max(num_tokens, config.max_tokens)),
        seed=seed,
        max_length=largest,
        bucket_lengths=tuple(smaller),
        static_shapes=static_shapes,
    )


def _subwords(
    config: TranslationConfig,
    sized: SizedOptions,
    path: Path,
    pairs: ParallelSplit,
    sides: tuple[int, ...],
) -> SubwordTokenizer:
    """Fits the subwords of one or both sides, or takes those that a run began with."""
    if not path.exists():
        model = train_subwords(
            (pair[side] for pair in pairs for side in sides),
            vocabulary_size=sized.vocabulary_size,
            exact=config.vocabulary_size is not None,
            character_coverage=config.character_coverage,
        )
        with whole_file(path) as file:
            file.write(model)
    return SubwordTokenizer(path.read_bytes())


def _encoded(
    split: ParallelSplit, source: SubwordTokenizer, target: SubwordTokenizer
) -> Iterator[tuple[tf.RaggedTensor, tf.RaggedTensor]]:
    for pairs in batched(split, PAIRS_PER_BATCH):
        yield (
            encode_sentences(source, [pair.source for pair in pairs]),
            encode_sentences(target, [pair.target for pair in pairs]),
        )
