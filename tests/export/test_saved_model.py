"""The exported text classifier: raw text in, names and probabilities out, in TensorFlow alone."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.data.sources import load_text_dataset
from tfcamp.errors import UserError
from tfcamp.export.folders import check_export_folder
from tfcamp.export.saved_model import (
    export_text_classifier,
    load_text_classifier,
    round_embeddings,
)
from tfcamp.models.text_classifier import TextClassifierConfig, build_text_classifier
from tfcamp.text import (
    CharacterSplitter,
    ChineseSegmenter,
    TextEncoder,
    TextTokenizer,
    TokenCorpus,
    Vocabulary,
)

MAX_TOKENS = 32
DIM = 16
# Far above what hashed n-grams or dense layers of the small model take.
NUM_BUCKETS = 2_000


class Exported(NamedTuple):
    """A model as the training process has it, and where it was exported to."""

    folder: Path
    encoder: TextEncoder
    model: keras.Model
    classes: tuple[str, ...]
    dev_texts: list[str]

    def probabilities(self, texts: list[str]) -> np.ndarray:
        return tf.nn.softmax(self.model(self.encoder(tf.constant(texts)))).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The default model on words and characters, with weights that answer all sorts of things."""
    folder = tmp_path_factory.mktemp("export")
    dataset = load_text_dataset("sample", data_dir=None, seed=0)
    tokenizer = TextTokenizer(ChineseSegmenter(), ("word", "char"), max_length=MAX_TOKENS)
    texts = (row.text for row in dataset.train)
    words = TokenCorpus.write(folder / "tokens.txt", texts, tokenizer.split)
    corpora = {"word": words, "char": words.characters()}
    vocabularies = {
        name: Vocabulary(sorted({token for row in corpus for token in row}))
        for name, corpus in corpora.items()
    }
    encoder = TextEncoder(tokenizer, vocabularies)
    keras.utils.set_random_seed(0)
    config = TextClassifierConfig(
        streams=encoder.streams,
        num_classes=len(dataset.classes),
        embedding_dim=DIM,
        width=DIM,
        num_buckets=NUM_BUCKETS,
    )
    model = build_text_classifier("bilstm", config)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Embedding):
            layer.embeddings.assign(20 * layer.embeddings)
    round_embeddings(model)
    export_text_classifier(folder / "model", encoder, model, dataset.classes)
    return Exported(
        folder / "model", encoder, model, dataset.classes, [row.text for row in dataset.dev]
    )


@pytest.fixture(scope="module")
def loaded(exported: Exported):
    return tf.saved_model.load(str(exported.folder))


@pytest.fixture(scope="module")
def classify(loaded):
    return loaded.signatures["serving_default"]


class TestContract:
    def test_input(self, classify) -> None:
        assert list(classify.structured_input_signature[1]) == ["text"]
        assert classify.structured_input_signature[1]["text"].dtype == tf.string
        assert classify.structured_input_signature[1]["text"].shape.as_list() == [None]

    def test_outputs(self, classify, exported) -> None:
        answer = classify(text=tf.constant(["央行降息", "主场告捷", "新机发布"]))
        assert answer.keys() == {"label", "probability", "probabilities"}
        assert answer["label"].dtype == tf.string and answer["label"].shape == [3]
        assert answer["probability"].dtype == tf.float32 and answer["probability"].shape == [3]
        assert answer["probabilities"].dtype == tf.float32
        assert answer["probabilities"].shape == [3, 10]
        rows = answer["probabilities"].numpy()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(answer["probability"], rows.max(axis=1))
        labels = [label.decode() for label in answer["label"].numpy()]
        assert labels == [exported.classes[number] for number in rows.argmax(axis=1)]

    def test_classes(self, loaded, exported) -> None:
        (names,) = loaded.signatures["classes"]().values()
        assert list(loaded.signatures["classes"].structured_outputs) == ["classes"]
        assert tuple(name.decode() for name in names.numpy()) == exported.classes

    def test_an_empty_batch_has_empty_answers(self, classify) -> None:
        answer = classify(text=tf.constant([], tf.string))
        assert answer["label"].shape == [0] and answer["probabilities"].shape == [0, 10]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 200])
def test_the_answers_are_those_of_the_training_process(exported, classify, batch_size):
    """On the whole dev split; a batch of 1 has no padding, one of 200 much."""
    texts = exported.dev_texts
    expected = exported.probabilities(texts)
    labels = [exported.classes[number] for number in expected.argmax(axis=1)]
    assert len(set(labels)) > 5, "a model that answers one thing would prove nothing"
    for start in range(0, len(texts), batch_size):
        part = slice(start, start + batch_size)
        answer = classify(text=tf.constant(texts[part]))
        assert [label.decode() for label in answer["label"].numpy()] == labels[part]
        np.testing.assert_allclose(answer["probabilities"], expected[part], atol=1e-5)


AWKWARD = {
    "empty": b"",
    "space": b" ",
    "emoji": "🏀🎉👨‍👩‍👧‍👦".encode(),
    "full-width": "Ｔ台湾　１２３".encode(),
    "100,000 characters": "央行降息".encode() * 25_000,
    "100,000 letters": b"x" * 100_000,
    "invalid UTF-8": b"\xff\xfe\x80 \xe5\xa4",
    "NUL": b"\x00\xe5\xa4\xae",
    "line breaks": "央行\r\n降息\n".encode(),
}


@pytest.fixture(scope="module")
def neighbours(exported: Exported) -> list[bytes]:
    return [text.encode() for text in exported.dev_texts[:3]]


@pytest.fixture(scope="module")
def alone(classify, neighbours: list[bytes]) -> np.ndarray:
    return classify(text=tf.constant(neighbours))["probabilities"].numpy()


class TestAwkwardText:
    @pytest.mark.parametrize("name", AWKWARD)
    def test_it_is_answered_and_harms_no_neighbour(self, classify, neighbours, alone, name) -> None:
        awkward = AWKWARD[name]
        batch = [neighbours[0], awkward, *neighbours[1:]]
        rows = classify(text=tf.constant(batch))["probabilities"].numpy()
        np.testing.assert_allclose(np.delete(rows, 1, axis=0), alone, atol=1e-5)
        by_itself = classify(text=tf.constant([awkward]))["probabilities"].numpy()
        np.testing.assert_allclose(rows[1], by_itself[0], atol=1e-5)
        assert np.isfinite(rows).all() and rows[1].sum() == pytest.approx(1, abs=1e-6)

    def test_a_batch_of_nothing_but_awkward_text(self, classify) -> None:
        rows = classify(text=tf.constant(list(AWKWARD.values())))["probabilities"].numpy()
        assert np.isfinite(rows).all() and rows.shape == (len(AWKWARD), 10)

    def test_text_without_a_token_has_one_answer(self, classify) -> None:
        rows = classify(text=tf.constant(["", " ", "\n", "\u3000"]))["probabilities"].numpy()
        np.testing.assert_allclose(rows, rows[:1].repeat(4, axis=0), atol=1e-6)


class TestSize:
    def test_embeddings_are_stored_in_half_precision(self, exported) -> None:
        stored = tf.train.list_variables(str(exported.folder / "variables/variables"))
        reader = tf.train.load_checkpoint(str(exported.folder / "variables/variables"))
        types = reader.get_variable_to_dtype_map()
        tables = [name for name, shape in stored if len(shape) == 2 and shape[0] > 1_000]
        assert len(tables) == 3  # words, characters, hashed pairs of characters
        assert {types[name] for name in tables} == {tf.float16}

    def test_the_weights_take_two_bytes_a_number(self, exported) -> None:
        data = exported.folder / "variables/variables.data-00000-of-00001"
        numbers = exported.model.count_params()
        assert data.stat().st_size < 2.3 * numbers + 20_000

    def test_rounding_leaves_nothing_to_round(self, exported) -> None:
        before = [weight.copy() for weight in exported.model.get_weights()]
        round_embeddings(exported.model)
        for old, new in zip(before, exported.model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
            assert new.dtype == np.float32


@pytest.fixture(scope="module")
def small() -> tuple[TextEncoder, keras.Model, tuple[str, ...]]:
    """The cheapest thing that can be exported."""
    tokenizer = TextTokenizer(CharacterSplitter(), ("char",), max_length=8)
    encoder = TextEncoder(tokenizer, {"char": Vocabulary(["央", "行"])})
    config = TextClassifierConfig(streams=encoder.streams, num_classes=2, embedding_dim=2)
    return encoder, build_text_classifier("bow", config), ("财经", "体育")


class TestFolder:
    def test_an_older_model_is_replaced_by_a_whole_new_one(self, small, tmp_path) -> None:
        encoder, model, classes = small
        export_text_classifier(tmp_path / "new/model", encoder, model, classes)
        export_text_classifier(tmp_path / "new/model", encoder, model, classes[::-1])
        assert load_text_classifier(tmp_path / "new/model").classes == classes[::-1]
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]

    def test_the_working_directory_can_take_a_model(self, small, tmp_path, monkeypatch) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        export_text_classifier(Path("."), *small)
        assert load_text_classifier(tmp_path / "here").classes == small[2]

    def test_other_files_are_never_deleted(self, small, tmp_path) -> None:
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(UserError, match="would delete"):
            export_text_classifier(tmp_path, *small)
        with pytest.raises(UserError, match="would delete"):
            check_export_folder(tmp_path / "thesis.tex")
        assert (tmp_path / "thesis.tex").read_text() == "precious"

    def test_files_beside_a_model_are_not_deleted_either(self, small, tmp_path):
        export_text_classifier(tmp_path, *small)
        (tmp_path / ".DS_Store").write_text("of macOS")
        check_export_folder(tmp_path)
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(UserError, match="would delete"):
            export_text_classifier(tmp_path, *small)

    def test_no_model_at_all(self, tmp_path) -> None:
        for folder in (tmp_path, tmp_path / "missing"):
            with pytest.raises(UserError, match=r"expected a SavedModel \(a folder with"):
                load_text_classifier(folder)

    @pytest.mark.parametrize("kind", ["garbage", "another model", "no weights"])
    def test_a_model_that_is_none_of_ours(self, small, tmp_path, kind) -> None:
        if kind == "garbage":
            (tmp_path / "saved_model.pb").write_bytes(b"not a protocol buffer")
        elif kind == "another model":
            tf.saved_model.save(tf.Module(), str(tmp_path))
        else:
            export_text_classifier(tmp_path / "model", *small)
            (tmp_path / "model").rename(tmp_path / "other")
            tmp_path = tmp_path / "other"
            (tmp_path / "variables/variables.data-00000-of-00001").unlink()
        with pytest.raises(UserError, match="damaged or of another kind") as caught:
            load_text_classifier(tmp_path)
        assert "\n" not in str(caught.value)


CLIENT = """
import sys

class Forbidden:
    names = {"jieba", "gensim", "sentencepiece", "tensorflow_text", "tfcamp", "projects", "sklearn"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is forbidden here")

sys.meta_path.insert(0, Forbidden())
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
texts = sys.stdin.buffer.read().split(b"\\n")
answer = model.signatures["serving_default"](text=tf.constant(texts))
assert not Forbidden.names & set(sys.modules)
sys.stdout.buffer.write(b"\\n".join(answer["label"].numpy()))
"""


@pytest.mark.slow
def test_a_process_with_nothing_but_tensorflow_answers(exported, tmp_path):
    texts = [text.encode() for text in exported.dev_texts] + [b"", b"\xff", "🏀".encode()]
    client = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, str(exported.folder)],
        input=b"\n".join(texts),
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert client.returncode == 0, client.stderr.decode()[-2000:]
    labels = client.stdout.decode().split("\n")
    expected = exported.probabilities(exported.dev_texts).argmax(axis=1)
    assert labels[:200] == [exported.classes[number] for number in expected]
    assert set(labels[200:]) <= set(exported.classes)
