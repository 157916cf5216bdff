"""Every kind of export answers in a session as it does in Python: so TensorFlow Serving has it."""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.export.servable import Servable
from tests.export.translator import Translator
from tests.models.catalogue import tiny_image_config, tiny_reader_config
from tfcamp.data.image_sources import rendered_split
from tfcamp.decoding.ctc import decode_by_beam_search
from tfcamp.decoding.numbers import decode_numbers
from tfcamp.decoding.single_digits import decode_single_digits
from tfcamp.export.image_model import export_image_model
from tfcamp.export.saved_model import export_text_classifier
from tfcamp.export.translation_model import export_translation_model
from tfcamp.models.image_classifier import build_image_classifier
from tfcamp.models.number_reader import build_number_reader
from tfcamp.models.seq2seq import Seq2SeqConfig, build_seq2seq
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier
from tfcamp.text import CharacterSplitter, TextEncoder, TextTokenizer, Vocabulary
from tfcamp.text.subword import SubwordTokenizer, train_subwords

HEADLINES = ["央行宣布下调存款准备金率", "", "🏀 主队客场逆转夺冠"]
IMAGES = [*(row.image for row in rendered_split("test", 2)), b"no image"]
SENTENCES = ["Good morning.", "", "How are you today?"]


def export_news(folder: Path) -> None:
    tokenizer = TextTokenizer(CharacterSplitter(), ("char",), max_length=8)
    encoder = TextEncoder(tokenizer, {"char": Vocabulary(["央", "行", "冠"])})
    config = TextClassifierConfig(streams=encoder.streams, num_classes=2, embedding_dim=2)
    model = build_text_classifier("bow", config)
    export_text_classifier(folder, encoder, model, ("财经", "体育"))


def export_number_reader(folder: Path) -> None:
    export_image_model(
        folder, build_number_reader("multihead", tiny_reader_config()), decode_numbers
    )


def export_digit_reader(folder: Path) -> None:
    model = build_image_classifier("lenet5", tiny_image_config(num_classes=10))
    export_image_model(folder, model, decode_single_digits)


@pytest.mark.parametrize(
    "export",
    [
        export_news,
        pytest.param(export_number_reader, marks=pytest.mark.slow),
        pytest.param(export_digit_reader, marks=pytest.mark.slow),
    ],
)
def test_a_session_answers_like_python(export: Callable[[Path], None], tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    export(tmp_path / "model")
    compare(tmp_path / "model")


@pytest.mark.slow
def test_a_session_translates_like_python(translator: Translator) -> None:
    compare(translator.folder)


def export_recurrent_classifier(folder: Path) -> None:
    tokenizer = TextTokenizer(CharacterSplitter(), ("char",), max_length=8)
    encoder = TextEncoder(tokenizer, {"char": Vocabulary(["央", "行", "冠"])})
    config = TextClassifierConfig(
        streams=encoder.streams, num_classes=2, embedding_dim=2, width=2, num_layers=1
    )
    model = build_text_classifier("bilstm", config)
    export_text_classifier(folder, encoder, model, ("财经", "体育"))


def export_ctc_reader(folder: Path) -> None:
    model = build_number_reader("ctc", tiny_reader_config())
    export_image_model(folder, model, functools.partial(decode_by_beam_search, beam_size=2))


def export_recurrent_translator(folder: Path) -> None:
    subwords = SubwordTokenizer(train_subwords(["ab cd"] * 10, vocabulary_size=266))
    config = Seq2SeqConfig(
        source_vocabulary=len(subwords), target_vocabulary=len(subwords), width=4
    )
    export_translation_model(folder, subwords, subwords, build_seq2seq(config), max_tokens=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "export", [export_recurrent_classifier, export_ctc_reader, export_recurrent_translator]
)
def test_a_model_that_was_exported_beside_a_gpu_runs_without_one(
    export: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not imported as a name of its package, which is a function.
    rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(rnn, "_is_gpu_available", lambda: True)
    export(tmp_path / "model")
    graph = (tmp_path / "model" / "saved_model.pb").read_bytes()
    assert b"While" in graph and b"CudnnRNN" not in graph


def compare(folder: Path) -> None:
    servable, loaded = Servable(folder), tf.saved_model.load(str(folder))
    assert servable.signatures.keys() - {"__saved_model_init_op"} == loaded.signatures.keys()
    for name, function in loaded.signatures.items():
        inputs = {
            key: some_input(key, spec)
            for key, spec in function.structured_input_signature[1].items()
        }
        expected = function(**{key: tf.constant(value) for key, value in inputs.items()})
        answer = servable.run(name, inputs)
        assert answer.keys() == expected.keys()
        for key, value in expected.items():
            if value.dtype == tf.string:
                np.testing.assert_array_equal(answer[key], value, err_msg=f"{name}: {key}")
            else:
                np.testing.assert_allclose(
                    answer[key], value, rtol=1e-4, atol=1e-6, err_msg=f"{name}: {key}"
                )


def some_input(name: str, spec: Any) -> np.ndarray:
    if name == "pixels":
        return tf.random.stateless_uniform([2, *spec.shape[1:]], seed=(0, 0)).numpy()
    return np.array({"image": IMAGES, "text": HEADLINES + SENTENCES}[name], object)
