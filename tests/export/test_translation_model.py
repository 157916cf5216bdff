"""The exported translator: raw sentences in, translations out, in TensorFlow alone."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcamp.data.parallel_sources import load_parallel_dataset
from tfcamp.decoding.beam import decode_by_beam
from tfcamp.decoding.greedy import decode_greedily
from tfcamp.decoding.hypotheses import LOG_ZERO, Hypotheses, length_limits
from tfcamp.errors import UserError
from tfcamp.export.half_precision import round_weights
from tfcamp.export.translation_model import (
    ServedTranslator,
    export_translation_model,
    load_translation_model,
)
from tfcamp.models.attention import with_attention
from tfcamp.models.seq2seq import Seq2SeqConfig, build_seq2seq
from tfcamp.models.steps import steps_of
from tfcamp.models.transformer import TransformerConfig, build_transformer
from tfcamp.text.sentences import encode_sentences
from tfcamp.text.subword import SubwordTokenizer, train_subwords
from tfcamp.text.vocabulary import BEGIN_ID, END_ID, PADDING_ID

MAX_TOKENS = 16
SIGNATURES = {"serving_default", "greedy", "nbest", "attention", "count_tokens"}


class Exported(NamedTuple):
    """A model as the training process has it, and where it was exported to."""

    folder: Path
    source: SubwordTokenizer
    target: SubwordTokenizer
    model: keras.Model

    def search(self, sentences: list[str], beam_size: int, num_best: int = 1) -> Hypotheses:
        ids = encode_sentences(self.source, sentences, max_tokens=MAX_TOKENS).to_tensor(PADDING_ID)
        limits = {"max_length": MAX_TOKENS, "limits": length_limits(ids, MAX_TOKENS)}
        if beam_size == 1:
            return decode_greedily(steps_of(self.model), ids, **limits)
        return decode_by_beam(
            steps_of(self.model), ids, beam_size=beam_size, num_best=num_best, **limits
        )

    def texts(self, ids: Any) -> list[str]:
        return [text.decode() for text in self.target.decode(ids).numpy()]


def speak(model: keras.Model) -> None:
    """Gives a model weights that let it say all sorts of things, and come to an end."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        is_table = "embedding" in weight.path
        if is_table or len(weight.shape) > 1:
            scale = 0.9 if is_table else 3 * weight.shape[0] ** -0.5
            weight.assign(random.normal(scale=scale, size=weight.shape))
    table = model.get_layer("output_embedding").embeddings
    table.assign(tf.tensor_scatter_nd_update(table, [[END_ID]], [3 * table[END_ID]]))


@pytest.fixture(scope="module")
def pairs() -> list:
    sample = load_parallel_dataset("sample", data_dir=None, seed=0)
    return list(islice(sample.train, 1_000))


@pytest.fixture(scope="module")
def subwords(pairs) -> tuple[SubwordTokenizer, SubwordTokenizer]:
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


@pytest.fixture(scope="module")
def exported(subwords, tmp_path_factory: pytest.TempPathFactory) -> Exported:
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
    return Exported(folder, source, target, model)


@pytest.fixture(scope="module")
def served(exported: Exported) -> ServedTranslator:
    return load_translation_model(exported.folder)


@pytest.fixture(scope="module")
def signatures(served: ServedTranslator) -> Any:
    return served._signatures


@pytest.fixture(scope="module")
def sentences(pairs) -> list[str]:
    return [pair.source for pair in pairs[:40]]


class TestContract:
    def test_inputs(self, signatures) -> None:
        assert set(signatures) == SIGNATURES
        for signature in signatures.values():
            ((name, spec),) = signature.structured_input_signature[1].items()
            assert (name, spec.dtype, spec.shape.as_list()) == ("text", tf.string, [None])

    def test_outputs(self, signatures) -> None:
        texts = tf.constant(["Good morning.", "", "How are you today?"])
        expected = {
            "serving_default": {"translation": (tf.string, [3]), "score": (tf.float32, [3])},
            "greedy": {"translation": (tf.string, [3]), "score": (tf.float32, [3])},
            "nbest": {"translations": (tf.string, [3, 8]), "scores": (tf.float32, [3, 8])},
            "count_tokens": {"num_tokens": (tf.int32, [3]), "max_tokens": (tf.int32, [])},
        }
        for name, outputs in expected.items():
            answer = signatures[name](text=texts)
            assert {key: (value.dtype, value.shape) for key, value in answer.items()} == outputs
        answer = signatures["attention"](text=texts)
        assert {key: value.dtype for key, value in answer.items()} == {
            "translation": tf.string,
            "source_pieces": tf.string,
            "target_pieces": tf.string,
            "attention": tf.float32,
        }
        num_target, num_source = answer["attention"].shape[1:]
        assert answer["source_pieces"].shape == [3, num_source]
        assert answer["target_pieces"].shape == [3, num_target]

    @pytest.mark.parametrize("name", sorted(SIGNATURES))
    def test_an_empty_batch_has_empty_answers(self, signatures, name) -> None:
        answer = signatures[name](text=tf.constant([], tf.string))
        assert {value.shape[0] for value in answer.values() if value.shape.rank} == {0}

    def test_a_beam_that_was_not_exported(self, served) -> None:
        with pytest.raises(ValueError, match=r"one of \[1, 4, 8\], got 3"):
            served(["Good morning."], beam_size=3)


class TestAnswers:
    """They are those of the training process."""

    @pytest.mark.parametrize("beam_size", [1, 4, 8])
    def test_translations(self, exported, served, sentences, beam_size) -> None:
        expected = exported.search(sentences, beam_size)
        texts, scores = served(sentences, beam_size=beam_size)
        assert texts == exported.texts(expected.ids[:, 0])
        np.testing.assert_allclose(scores, expected.score[:, 0], rtol=1e-4)
        assert len(set(texts)) > 20, "a model that answers one thing would prove nothing"

    def test_the_best_eight(self, exported, served, sentences) -> None:
        expected = exported.search(sentences, 8, num_best=8)
        for row, found in enumerate(served.n_best(sentences, 8)):
            texts, scores = zip(*found, strict=True)
            assert list(texts) == exported.texts(expected.ids[row])
            np.testing.assert_allclose(scores, expected.score[row], rtol=1e-4)

    def test_the_order_and_the_size_of_a_batch_change_nothing(self, served, sentences) -> None:
        texts, scores = served(sentences)
        backwards, scores_backwards = served(sentences[::-1])
        assert backwards[::-1] == texts
        np.testing.assert_allclose(scores_backwards[::-1], scores, rtol=1e-4)
        parts = [served(sentences[start : start + 7]) for start in range(0, len(sentences), 7)]
        assert [text for part, _ in parts for text in part] == texts


class TestNBest:
    def test_the_best_come_first(self, served, sentences) -> None:
        for found in served.n_best(sentences, 8):
            scores = [score for _, score in found]
            assert scores == sorted(scores, reverse=True) and len(scores) == 8
            assert max(scores) < 0

    def test_fewer_are_the_first_ones(self, served, sentences) -> None:
        few, many = served.n_best(sentences, 3), served.n_best(sentences, 8)
        assert few == [found[:3] for found in many]

    def test_a_wider_search_finds_nothing_worse_here(self, served, sentences) -> None:
        """Not a law of beam search, but so with these weights."""
        _, greedy = served(sentences, beam_size=1)
        best = np.array([found[0][1] for found in served.n_best(sentences, 1)])
        assert (best >= greedy - 1e-4).all() and (best > greedy + 0.01).any()


class TestAttention:
    def test_each_row_is_shared_out_over_the_pieces_of_the_sentence(
        self, signatures, sentences
    ) -> None:
        answer = signatures["attention"](text=tf.constant(sentences))
        shares = answer["attention"].numpy()
        is_source, is_target = (
            answer[name].numpy() != b"" for name in ("source_pieces", "target_pieces")
        )
        assert not is_source.all() and not is_target.all(), "without padding it is no test"
        assert (shares >= 0).all()
        on_pieces = (shares * is_source[:, None]).sum(-1)
        np.testing.assert_allclose(on_pieces[is_target], 1, atol=1e-5)

    def test_pieces_are_the_sentence_and_its_translation(self, exported, served, sentences) -> None:
        written = exported.search(sentences, 4).ids[:, 0]
        read = encode_sentences(exported.source, sentences, max_tokens=MAX_TOKENS)
        for row, found in enumerate(served.attention(sentences)):
            expected = [piece.decode() for piece in exported.source.pieces(read[row]).numpy()]
            assert found.source == expected and found.source[-1] == "</s>"
            *pieces, end = [
                piece.decode()
                for piece in exported.target.pieces(written[row]).numpy()
                if piece != b"<pad>"
            ]
            assert found.target == [*pieces, end] and end == "</s>" not in pieces
            assert found.shares.shape == (len(found.target), len(found.source))

    def test_it_is_where_the_model_looks(self, exported, served) -> None:
        (found,) = served.attention(["Good morning."])
        source = encode_sentences(exported.source, ["Good morning."]).to_tensor(PADDING_ID)
        written = exported.search(["Good morning."], 4).ids[:, 0, : len(found.target)]
        # Told what it wrote so far.
        begun = tf.concat([[[BEGIN_ID]], written[:, :-1]], axis=1)
        seen = with_attention(exported.model)({"source": source, "target": begun})["attention"]
        np.testing.assert_allclose(found.shares, seen.numpy()[0].mean(axis=(0, 1)), atol=1e-5)
        assert len(found.target) > 2 and found.shares.std(axis=1).max() > 0.1


def test_tokens_are_counted_to_the_end_of_the_text(exported, served, sentences) -> None:
    texts = [*sentences, "", " ".join(sentences)]
    counts, limit = served.count_tokens(texts)
    expected = exported.source(tf.constant(texts)).row_lengths() + 1
    assert counts.tolist() == expected.numpy().tolist() and limit == MAX_TOKENS
    assert counts[-2] == 1 and counts[-1] > 500


EMPTY = {"empty": b"", "spaces": b"   ", "ideographic space": "\u3000".encode(), "lines": b"\r\n\t"}
AWKWARD = {
    **EMPTY,
    "control characters": b"Good\x07 \x1b[31mmorning\x00.",
    "NUL": b"\x00",
    "emoji": "🏀🎉👨‍👩‍👧‍👦 see you 🎉".encode(),
    "unknown scripts": "გამარჯობა שלום สวัสดี".encode(),
    "10,000 words": b"How are you today? " * 2_500,
    "100,000 letters": b"x" * 100_000,
    "invalid UTF-8": b"Good \xff\xfe\x80 \xe5\xa4 morning",
    "right to left": "\u202eGood morning.\u202c".encode(),
}


@pytest.fixture(scope="module")
def alone(served, sentences) -> tuple[list[str], np.ndarray]:
    return served(sentences[:3])


class TestAwkwardText:
    @pytest.mark.parametrize("name", AWKWARD)
    def test_it_is_answered_and_harms_no_neighbour(self, served, sentences, alone, name) -> None:
        batch = [sentences[0], AWKWARD[name], *sentences[1:3]]
        texts, scores = served(batch)
        (own,), (own_score,) = served([AWKWARD[name]])
        assert texts == [alone[0][0], own, *alone[0][1:]]
        np.testing.assert_allclose(scores, np.insert(alone[1], 1, own_score), rtol=1e-4)
        assert np.isfinite(scores).all()

    def test_nothing_but_awkward_text(self, served) -> None:
        awkward = list(AWKWARD.values())
        for beam_size in (1, 4, 8):
            texts, scores = served(awkward, beam_size=beam_size)
            assert len(texts) == len(awkward) and np.isfinite(scores).all()
            empty = [name in EMPTY for name in AWKWARD]
            assert [score == 0 for score in scores] == empty
            assert not any(text for text, is_empty in zip(texts, empty, strict=True) if is_empty)

    def test_nothing_has_one_answer_everywhere(self, served) -> None:
        assert served.n_best(["", " "], 8) == [[("", 0.0)] * 8] * 2
        for found in served.attention(["", " "]):
            assert found.target == ["</s>"]
            np.testing.assert_allclose(found.shares.sum(axis=1), 1, atol=1e-5)

    def test_beyond_its_length_a_text_is_not_read(self, served, exported) -> None:
        """What is translated is the part that `count_tokens` says."""
        (long,), _ = served([AWKWARD["10,000 words"]])
        ids = exported.source(tf.constant([AWKWARD["10,000 words"]]))[:, : MAX_TOKENS - 1]
        part = exported.source.decode(ids).numpy()[0]
        assert served.count_tokens([part])[0] == [MAX_TOKENS]
        assert served([part])[0] == [long]


@pytest.fixture(scope="module")
def recurrent(subwords, tmp_path_factory) -> ServedTranslator:
    """A recurrent network without attention, which may write the end and nothing else."""
    source, target = subwords
    config = Seq2SeqConfig(
        source_vocabulary=len(source), target_vocabulary=len(target), width=4, attention="none"
    )
    folder = tmp_path_factory.mktemp("recurrent") / "model"
    export_translation_model(folder, source, target, build_seq2seq(config), max_tokens=1)
    return load_translation_model(folder)


class TestRecurrent:
    def test_it_has_no_map_to_show(self, recurrent) -> None:
        assert recurrent.attention(["Good morning."]) is None
        assert set(recurrent._signatures) == SIGNATURES - {"attention"}

    def test_where_fewer_are_found_the_rest_is_empty(self, recurrent) -> None:
        (found,) = recurrent.n_best(["Good morning."], 8)
        assert found[0][0] == "" and -100 < found[0][1] < 0
        assert found[1:] == [("", np.float32(LOG_ZERO))] * 7


class TestSize:
    def test_all_weights_are_stored_in_half_precision(self, exported) -> None:
        reader = tf.train.load_checkpoint(str(exported.folder / "variables/variables"))
        types = reader.get_variable_to_dtype_map()
        types.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
        assert set(types.values()) == {tf.float16}
        shapes = reader.get_variable_to_shape_map()
        stored = sorted(tuple(shapes[name]) for name in types)
        assert stored == sorted(tuple(weight.shape) for weight in exported.model.weights)

    def test_no_weight_is_a_constant_of_the_graph(self, exported) -> None:
        from tensorflow.core.protobuf import saved_model_pb2

        proto = saved_model_pb2.SavedModel()
        proto.ParseFromString((exported.folder / "saved_model.pb").read_bytes())
        functions = proto.meta_graphs[0].graph_def.library.function
        constants = [
            tuple(size.size for size in node.attr["value"].tensor.tensor_shape.dim)
            for function in functions
            for node in function.node_def
            if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum
        ]
        matrices = {tuple(weight.shape) for weight in exported.model.weights if weight.ndim > 1}
        assert len(matrices) >= 4 and not matrices & set(constants)


class TestFolder:
    def test_other_files_are_never_deleted(self, exported, tmp_path) -> None:
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(UserError, match="would delete"):
            export_translation_model(tmp_path, *exported[1:], max_tokens=4)
        assert (tmp_path / "thesis.tex").read_text() == "precious"

    def test_another_kind_of_model(self, tmp_path) -> None:
        tf.saved_model.save(tf.Module(), str(tmp_path))
        with pytest.raises(UserError, match="expected the SavedModel of a translator"):
            load_translation_model(tmp_path)


CLIENT = """
import json, sys

class Forbidden:
    names = {"sentencepiece", "sacrebleu", "tensorflow_text", "jieba", "tfcamp", "projects"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is forbidden here")

sys.meta_path.insert(0, Forbidden())
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
texts = tf.constant(sys.stdin.buffer.read().split(b"\\n"))
best = model.signatures["serving_default"](text=texts)
found = model.signatures["nbest"](text=texts[:64])
seen = model.signatures["attention"](text=texts[:8])
assert not Forbidden.names & set(sys.modules)
print(json.dumps({
    "texts": [text.decode() for text in best["translation"].numpy()],
    "scores": best["score"].numpy().tolist(),
    "n_best": [[text.decode() for text in row] for row in found["translations"].numpy()],
    "attention": seen["attention"].numpy().tolist(),
}))
"""


@pytest.mark.slow
def test_a_process_with_nothing_but_tensorflow_answers(exported, served, pairs, tmp_path) -> None:
    awkward = [text for text in AWKWARD.values() if b"\n" not in text]
    texts = awkward + [pair.source.encode() for pair in pairs]
    assert len(texts) > 1_000
    client = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, str(exported.folder)],
        input=b"\n".join(texts),
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert client.returncode == 0, client.stderr.decode()[-2000:]
    answer = json.loads(client.stdout)
    expected, scores = served(texts)
    assert answer["texts"] == expected
    np.testing.assert_allclose(answer["scores"], scores, rtol=1e-4)
    n_best = [[text for text, _ in found] for found in served.n_best(texts[:64], 8)]
    assert answer["n_best"] == n_best
    shares = np.array(answer["attention"])
    for row, found in enumerate(served.attention(texts[:8]) or []):
        num_target, num_source = found.shares.shape
        np.testing.assert_allclose(shares[row, :num_target, :num_source], found.shares, atol=1e-5)
