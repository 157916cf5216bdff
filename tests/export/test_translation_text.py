"""Text that nobody expects, and a process that has TensorFlow alone: the translator answers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.export.translator import MAX_TOKENS

EMPTY = {
    "empty": b"",
    "spaces": b"   ",
    "ideographic space": "\u3000".encode(),
    "lines": b"\r\n\t",
    "zero width": "\u200b \ufeff".encode(),
    "NUL": b"\x00",
}
AWKWARD = {
    **EMPTY,
    "control characters": b"Good\x07 \x1b[31mmorning\x00.",
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
        assert served.n_best(["", " "], 8) == [[("", 0.0)]] * 2
        for found in served.attention(["", " "]):
            assert found.target == ["</s>"]
            np.testing.assert_allclose(found.shares.sum(axis=1), 1, atol=1e-5)

    def test_beyond_its_length_a_text_is_not_read(self, served, translator) -> None:
        """What is translated is the part that `count_tokens` says."""
        (long,), _ = served([AWKWARD["10,000 words"]])
        ids = translator.source(tf.constant([AWKWARD["10,000 words"]]))[:, : MAX_TOKENS - 1]
        part = translator.source.decode(ids).numpy()[0]
        assert served.count_tokens([part])[0] == [MAX_TOKENS]
        assert served([part])[0] == [long]


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
def test_a_process_with_nothing_but_tensorflow_answers(translator, served, pairs, tmp_path) -> None:
    awkward = [text for text in AWKWARD.values() if b"\n" not in text]
    texts = awkward + [pair.source.encode() for pair in pairs]
    assert len(texts) > 1_000
    client = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, str(translator.folder)],
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
    assert [list(dict.fromkeys(row)) for row in answer["n_best"]] == n_best
    shares = np.array(answer["attention"])
    for row, found in enumerate(served.attention(texts[:8]) or []):
        num_target, num_source = found.shares.shape
        np.testing.assert_allclose(shares[row, :num_target, :num_source], found.shares, atol=1e-5)
