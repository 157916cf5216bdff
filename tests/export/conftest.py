"""An exported translator, made once for all tests of it."""

from itertools import islice

import keras
import pytest

from tests.export.translator import MAX_TOKENS, Translator, speak
from tfcamp.data.parallel_sources import ParallelRow, load_parallel_dataset
from tfcamp.export.half_precision import round_weights
from tfcamp.export.translation_model import (
    ServedTranslator,
    export_translation_model,
    load_translation_model,
)
from tfcamp.models.transformer import TransformerConfig, build_transformer
from tfcamp.text.subword import SubwordTokenizer, train_subwords


@pytest.fixture(scope="session")
def pairs() -> list[ParallelRow]:
    sample = load_parallel_dataset("sample", data_dir=None, seed=0)
    return list(islice(sample.train, 1_000))


@pytest.fixture(scope="session")
def subwords(pairs: list[ParallelRow]) -> tuple[SubwordTokenizer, SubwordTokenizer]:
    """English and Chinese ones, so that taking one for the other shows."""
    sizes = {0: 500, 1: 640}
    source, target = (
        SubwordTokenizer(
            train_subwords(
                (pair[side] for pair in pairs[:150]), vocabulary_size=size, character_coverage=0.98
            )
        )
        for side, size in sizes.items()
    )
    return source, target


@pytest.fixture(scope="session")
def translator(
    subwords: tuple[SubwordTokenizer, SubwordTokenizer], tmp_path_factory: pytest.TempPathFactory
) -> Translator:
    keras.utils.set_random_seed(0)
    source, target = subwords
    config = TransformerConfig(
        source_vocabulary=len(source),
        target_vocabulary=len(target),
        width=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        inner_width=32,
        tie_embeddings="none",
        dropout=0.3,
    )
    model = build_transformer(config)
    speak(model)
    folder = tmp_path_factory.mktemp("export") / "model"
    export_translation_model(folder, source, target, model, max_tokens=MAX_TOKENS)
    round_weights(model)  # as train.py does before it measures
    return Translator(folder, source, target, model)


@pytest.fixture(scope="session")
def served(translator: Translator) -> ServedTranslator:
    return load_translation_model(translator.folder)


@pytest.fixture(scope="session")
def sentences(pairs: list[ParallelRow]) -> list[str]:
    return [pair.source for pair in pairs[:40]]
