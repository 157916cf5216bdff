"""From rows to what the model reads: tokens, vocabulary, word vectors, packed ids.

Everything is fitted on the training split only, and kept in ``RUN/data`` for whoever wants to look.
A run that goes on fits it anew, which gives the same: the rows are compared by their hash.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from projects.news.config import NewsConfig
from tfcamp.data.packed_text import PackedExamples
from tfcamp.data.pipeline import BatchStream
from tfcamp.data.sources import TextDataset, TextSplit, load_text_dataset
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError
from tfcamp.runs import Run
from tfcamp.text import (
    CharacterSplitter,
    ChineseSegmenter,
    TextEncoder,
    TextTokenizer,
    TokenCorpus,
    Vocabulary,
    WhitespaceSplitter,
    WordVectors,
    load_word_vectors,
    train_word_vectors,
)
from tfcamp.text.corpus import batched

import numpy as np

ROWS_PER_BATCH = 1024
CHARACTER_STREAMS = ("char", "char2", "char3")
# Rows of about the same length share a batch, so that little padding is computed.
BUCKET_LENGTHS = (8, 12, 16, 20, 24, 32, 64, 128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class NewsData:
    """What preparation yields.

    Attributes:
      dataset: the rows and the names of the classes.
      encoder: raw text to ids; goes into the SavedModel.
      train: the packed training split.
      dev: the packed dev split.
      embeddings: float32[V, D] by stream; the others start from chance.
    """

    dataset: TextDataset
    encoder: TextEncoder
    train: PackedExamples
    dev: PackedExamples
    embeddings: Mapping[str, np.ndarray]


def prepare(config: NewsConfig, run: Run) -> NewsData:
    """Loads the rows, fits the preprocessing on the training split and packs the ids.

    Args:
      config: the options.
      run: the files are written to its folder.

    Raises:
      UserError: a file cannot be used, or is not what the run began with.
    """
    dataset = load_text_dataset(config.dataset, data_dir=config.data_dir, seed=config.seed)
    for note in dataset.notes:
        run.say(note)
    run.say(
        f"{dataset.name}: {len(dataset.train):,} training rows, {len(dataset.dev):,} dev rows, "
        f"{len(dataset.test) if dataset.test else 0:,} test rows, {len(dataset.classes)} classes"
    )
    folder = run.folder / "data"
    tokenizer = build_tokenizer(config, pretokenized=dataset.pretokenized)
    run.compare_rows(*_fitted_on(dataset, config))
    folder.mkdir(exist_ok=True)

    texts = (row.text for row in dataset.train)
    tokens = TokenCorpus.write(folder / "tokens.txt", texts, tokenizer.split)
    corpora = {"word": tokens}
    corpora |= {name: tokens.characters(i) for i, name in enumerate(CHARACTER_STREAMS, 1)}
    counts = {name: Counter(t for row in corpora[name] for t in row) for name in tokenizer.streams}
    vocabularies = {
        name: Vocabulary.fit(
            counts[name], max_size=config.vocabulary_size, min_count=config.min_count
        )
        for name in tokenizer.streams
    }
    encoder = TextEncoder(tokenizer, vocabularies)
    for name, vocabulary in vocabularies.items():
        listing = "".join(f"{token}\n" for token in vocabulary.tokens)
        (folder / f"vocabulary.{name}.txt").write_text(listing, "utf-8")
        known = len(vocabulary) - 2  # without padding and unknown
        run.say(f"{name}: a vocabulary of {known:,} of {len(counts[name]):,} tokens")

    # Runs of characters start from nothing: one that is rare then adds nothing, and no noise.
    embeddings = {
        name: np.zeros((len(vocabulary), config.embedding_dim), np.float32)
        for name, vocabulary in vocabularies.items()
        if name in CHARACTER_STREAMS[1:]
    }
    if config.vectors != "none":
        embeddings |= {
            name: _word_vectors(config, run, name, corpora[name], vocabulary, counts[name])
            for name, vocabulary in vocabularies.items()
            if name in ("word", "char")
        }
    return NewsData(
        dataset=dataset,
        encoder=encoder,
        train=PackedExamples.write(
            folder / "train", tokenizer.streams, _encoded(dataset.train, encoder)
        ),
        dev=PackedExamples.write(folder / "dev", tokenizer.streams, _encoded(dataset.dev, encoder)),
        embeddings=embeddings,
    )


def build_tokenizer(config: NewsConfig, *, pretokenized: bool) -> TextTokenizer:
    """Builds the tokenizer that the options ask for.

    Args:
      config: the options.
      pretokenized: texts are tokens separated by white space, so there are no words to find.

    Raises:
      UserError: the stop words cannot be read.
    """
    if pretokenized:
        splitter, streams = WhitespaceSplitter(), ("word",)
    elif config.tokens == "word":
        splitter, streams = ChineseSegmenter(config.user_dictionary), ("word",)
    else:
        # fasttext hashes n-grams of its own, and frozen ones would stay nothing.
        alone = config.model == "fasttext" or not config.train_embeddings
        ngrams = CHARACTER_STREAMS[: 1 if alone else config.ngrams]
        if config.tokens == "char":
            splitter, streams = CharacterSplitter(), ngrams
        else:
            splitter, streams = ChineseSegmenter(config.user_dictionary), ("word", *ngrams)
    return TextTokenizer(
        splitter, streams, max_length=config.max_tokens, stop_words=_stop_words(config.stop_words)
    )


def train_stream(
    config: NewsConfig, examples: PackedExamples, batch_size: int, *, static_shapes: bool = False
) -> BatchStream:
    """Returns the shuffled, bucketed batches of the training split."""
    return BatchStream(
        examples,
        batch_size,
        seed=config.seed,
        max_length=config.max_tokens,
        bucket_lengths=() if static_shapes else _buckets(config.max_tokens),
        static_shapes=static_shapes,
    )


def evaluation_stream(
    config: NewsConfig, examples: PackedExamples, *, static_shapes: bool = False
) -> BatchStream:
    """Returns large batches of rows of about the same length, each row once."""
    return BatchStream(
        examples,
        ROWS_PER_BATCH,
        seed=None,
        max_length=config.max_tokens,
        bucket_lengths=() if static_shapes else _buckets(config.max_tokens),
        static_shapes=static_shapes,
    )


def _buckets(max_length: int) -> tuple[int, ...]:
    return tuple(bound for bound in BUCKET_LENGTHS if bound < max_length)


def _encoded(split: TextSplit, encoder: TextEncoder) -> Iterator[tuple[dict, list[int]]]:
    for rows in batched(split, ROWS_PER_BATCH):
        yield encoder.encode([row.text for row in rows]), [row.label for row in rows]


def _word_vectors(
    config: NewsConfig,
    run: Run,
    stream: str,
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    counts: Mapping[str, int],
) -> np.ndarray:
    kept = run.folder / "data" / f"vectors.{stream}.npz"
    if kept.exists():  # training them is the slowest part of going on
        vectors = WordVectors.load(kept)
    elif config.vectors in ("cbow", "skipgram"):
        vectors = train_word_vectors(
            corpus,
            size=config.embedding_dim,
            algorithm="cbow" if config.vectors == "cbow" else "skipgram",
            loss=config.vectors_loss,
            min_count=config.min_count,
            epochs=config.vectors_epochs,
            seed=config.seed,
            workers=config.vectors_workers,
        )
    else:
        vectors = load_word_vectors(Path(config.vectors), vocabulary=set(vocabulary.tokens))
        if vectors.size != config.embedding_dim:
            raise UserError(
                f"--vectors {config.vectors} are {vectors.size} wide: give --embedding-dim "
                f"{vectors.size}"
            )
    vectors.save(kept)
    matrix, coverage = vectors.matrix(vocabulary.tokens, seed=config.seed, counts=counts)
    run.say(f"{stream} vectors: {coverage}")
    return matrix


def _fitted_on(dataset: TextDataset, config: NewsConfig) -> tuple[str, str]:
    """Returns the names of all that the vocabulary depends on, and one sha256 of it."""
    paths = [path for path in (config.stop_words, config.user_dictionary) if path is not None]
    if not paths:
        return dataset.name, dataset.sha256
    names = " or ".join([dataset.name, *map(str, paths)])
    return names, hashlib.sha256((dataset.sha256 + sha256_of(paths)).encode()).hexdigest()


def _stop_words(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text("utf-8-sig").split()
    except OSError as error:
        raise UserError(f"--stop-words {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"--stop-words {path}: byte {error.start} is not UTF-8; is it gb18030? then convert "
            f"it: iconv -f gb18030 -t utf-8 {path}"
        ) from None
