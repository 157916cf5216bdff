"""The exported translator: raw sentences in, translations out, in TensorFlow alone."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.export.translator import MAX_TOKENS
from tfcamp.errors import UserError
from tfcamp.export.translation_model import (
    ServedTranslator,
    export_translation_model,
    load_translation_model,
)
from tfcamp.models.attention import with_attention
from tfcamp.models.seq2seq import Seq2SeqConfig, build_seq2seq
from tfcamp.text.sentences import encode_sentences
from tfcamp.text.vocabulary import BEGIN_ID, PADDING_ID

SIGNATURES = {"serving_default", "greedy", "nbest", "attention", "count_tokens"}


@pytest.fixture(scope="module")
def signatures(served: ServedTranslator) -> Any:
    return served._signatures


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
    def test_translations(self, translator, served, sentences, beam_size) -> None:
        sentences = [*sentences, *"aeinorst"]  # so short that their limit is below MAX_TOKENS
        expected = translator.search(sentences, beam_size)
        texts, scores = served(sentences, beam_size=beam_size)
        assert texts == translator.texts(expected.ids[:, 0])
        np.testing.assert_allclose(scores, expected.score[:, 0], rtol=1e-4)
        assert len(set(texts)) > 20, "a model that answers one thing would prove nothing"

    def test_the_best_eight(self, translator, served, sentences) -> None:
        expected = translator.search(sentences, 8, num_best=8)
        for row, found in enumerate(served.n_best(sentences, 8)):
            texts = translator.texts(expected.ids[row])
            firsts = [texts.index(text) for text in dict.fromkeys(texts)]
            assert [text for text, _ in found] == [texts[first] for first in firsts]
            scores = expected.score.numpy()[row][firsts]
            np.testing.assert_allclose([score for _, score in found], scores, rtol=1e-4)

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
            assert scores == sorted(scores, reverse=True) and len(scores) > 4
            assert max(scores) < 0

    def test_no_text_comes_twice(self, served, sentences, signatures) -> None:
        """As it does where other pieces make the same text."""
        answer = signatures["nbest"](text=tf.constant(sentences))["translations"].numpy()
        distinct = [len(set(row)) for row in answer.tolist()]
        assert min(distinct) < 8, "sentences without repeats would prove nothing"
        assert [len(found) for found in served.n_best(sentences, 8)] == distinct

    def test_what_was_not_found_is_left_out(self, served, monkeypatch) -> None:
        answer = {
            "translations": np.array([[b"a", b"", b""]]),
            "scores": np.array([[-1, -1e30, -1e30]], np.float32),
        }
        monkeypatch.setattr(served, "_answer", lambda *_: answer)
        assert served.n_best(["Good morning."], 8) == [[("a", -1.0)]]

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

    def test_pieces_are_the_sentence_and_its_translation(
        self, translator, served, sentences
    ) -> None:
        written = translator.search(sentences, 4).ids[:, 0]
        read = encode_sentences(translator.source, sentences, max_tokens=MAX_TOKENS)
        for row, found in enumerate(served.attention(sentences)):
            expected = [piece.decode() for piece in translator.source.pieces(read[row]).numpy()]
            assert found.source == expected and found.source[-1] == "</s>"
            *pieces, end = [
                piece.decode()
                for piece in translator.target.pieces(written[row]).numpy()
                if piece != b"<pad>"
            ]
            assert found.target == [*pieces, end] and end == "</s>" not in pieces
            assert found.shares.shape == (len(found.target), len(found.source))

    def test_it_is_where_the_model_looks(self, translator, served) -> None:
        (found,) = served.attention(["Good morning."])
        source = encode_sentences(translator.source, ["Good morning."]).to_tensor(PADDING_ID)
        written = translator.search(["Good morning."], 4).ids[:, 0, : len(found.target)]
        # Told what it wrote so far.
        begun = tf.concat([[[BEGIN_ID]], written[:, :-1]], axis=1)
        seen = with_attention(translator.model)({"source": source, "target": begun})["attention"]
        np.testing.assert_allclose(found.shares, seen.numpy()[0].mean(axis=(0, 1)), atol=1e-5)
        assert len(found.target) > 2 and found.shares.std(axis=1).max() > 0.1


def test_tokens_are_counted_to_the_end_of_the_text(translator, served, sentences) -> None:
    texts = [*sentences, "", " ".join(sentences), "word " * 10_000]
    counts, limit = served.count_tokens(texts)
    expected = translator.source(tf.constant(texts)).row_lengths() + 1
    # Up to four times what is translated: the work is bounded.
    assert counts.tolist() == expected.numpy().clip(max=4 * MAX_TOKENS).tolist()
    assert limit == MAX_TOKENS and counts[-3] == 1


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


@pytest.mark.slow
class TestRecurrent:
    def test_it_has_no_map_to_show(self, recurrent) -> None:
        assert recurrent.attention(["Good morning."]) is None
        assert set(recurrent._signatures) == SIGNATURES - {"attention"}

    def test_where_fewer_are_found_the_rest_is_empty(self, recurrent) -> None:
        (found,) = recurrent.n_best(["Good morning."], 8)
        assert found[0][0] == "" and -100 < found[0][1] < 0
        assert len(found) == 1  # the seven others are "" too


class TestSize:
    def test_all_weights_are_stored_in_half_precision(self, translator) -> None:
        reader = tf.train.load_checkpoint(str(translator.folder / "variables/variables"))
        types = reader.get_variable_to_dtype_map()
        types.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
        assert set(types.values()) == {tf.float16}
        shapes = reader.get_variable_to_shape_map()
        stored = sorted(tuple(shapes[name]) for name in types)
        assert stored == sorted(tuple(weight.shape) for weight in translator.model.weights)

    def test_no_weight_is_a_constant_of_the_graph(self, translator) -> None:
        proto = saved_model_pb2.SavedModel()
        proto.ParseFromString((translator.folder / "saved_model.pb").read_bytes())
        functions = proto.meta_graphs[0].graph_def.library.function
        constants = [
            tuple(size.size for size in node.attr["value"].tensor.tensor_shape.dim)
            for function in functions
            for node in function.node_def
            if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum
        ]
        matrices = {tuple(weight.shape) for weight in translator.model.weights if weight.ndim > 1}
        assert len(matrices) >= 4 and not matrices & set(constants)


class TestFolder:
    def test_other_files_are_never_deleted(self, translator, tmp_path) -> None:
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(UserError, match="would delete"):
            export_translation_model(tmp_path, *translator[1:], max_tokens=4)
        assert (tmp_path / "thesis.tex").read_text() == "precious"

    def test_another_kind_of_model(self, tmp_path) -> None:
        tf.saved_model.save(tf.Module(), str(tmp_path))
        with pytest.raises(UserError, match="expected the SavedModel of a translator"):
            load_translation_model(tmp_path)
