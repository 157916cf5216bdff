"""What clients get from served models is what the models say: real ones, and a small translator."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saved_models import client
from tests.export import grpc_server, rest_server
from tests.export.servable import Servable
from tests.export.translator import Translator
from tfcamp.data.image_sources import rendered_split
from tfcamp.export.folders import newest_version
from tfcamp.export.image_model import load_image_model
from tfcamp.export.saved_model import load_text_classifier
from tfcamp.export.translation_model import ServedTranslator

pytestmark = pytest.mark.slow

SAVED_MODELS = Path(__file__).parents[2] / "saved_models"
NEWS, STREET_VIEW = (newest_version(SAVED_MODELS / name) for name in ("news", "street_view"))
HEADLINES = ["央行宣布下调存款准备金率", "高考志愿填报今日开始", "", "主队客场逆转夺冠 🏀"]
SENTENCES = ["Good morning.", "How are you today?", "", "🎉"]
SAME: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def hosts(translator: Translator) -> Iterator[dict[str, str]]:
    """Both protocols, with the models that come with the project and a small translator."""
    folders = {"news": NEWS, "street_view": STREET_VIEW, "translation": translator.folder}
    servables = {name: Servable(folder) for name, folder in folders.items()}
    with rest_server.serve(servables) as rest, grpc_server.serve(servables) as grpc:
        yield {"rest": rest, "grpc": grpc}


@pytest.fixture(params=["rest", "grpc"])
def ask(request, hosts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    asking = {"rest": client.ask, "grpc": client.ask_by_grpc}[request.param]
    return lambda *arguments, **options: asking(hosts[request.param], *arguments, **options)


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    """A drawing, the same as JPEG, a part of a file, and none."""
    drawing = next(iter(rendered_split("test", 1))).image
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(drawing)).convert("RGB").save(jpeg, "JPEG")
    return [drawing, jpeg.getvalue(), drawing[:60], b""]


def test_headlines(ask) -> None:
    model = load_text_classifier(NEWS)
    expected = model(HEADLINES)
    answer = ask("news", {"text": HEADLINES})
    np.testing.assert_allclose(answer["probabilities"], expected, **SAME)
    np.testing.assert_allclose(answer["probability"], expected.max(axis=1), **SAME)
    assert answer["label"] == [model.classes[best] for best in expected.argmax(axis=1)]
    assert answer["label"][1::2] == ["education", "sports"]


def test_pictures(ask, images) -> None:
    model = load_image_model(STREET_VIEW)
    for signature in ("serving_default", "several_views"):
        expected = model(images, several_views=signature == "several_views")
        answer = ask("street_view", {"image": images}, signature=signature)
        assert answer["number"] == expected.numbers
        np.testing.assert_allclose(answer["probability"], expected.probabilities, **SAME)
        assert [bool(number) for number in answer["number"]] == [True, True, False, False]
    heat = ask("street_view", {"image": images}, signature="heatmap")["heatmap"]
    np.testing.assert_allclose(heat, np.asarray(model.heatmaps(images)), **SAME)


def test_sentences(ask, served: ServedTranslator) -> None:
    for signature, beam in (("serving_default", 4), ("greedy", 1)):
        translations, scores = served(SENTENCES, beam_size=beam)
        answer = ask("translation", {"text": SENTENCES}, signature=signature)
        assert answer["translation"] == translations
        np.testing.assert_allclose(answer["score"], scores, **SAME)


def test_the_best_translations(ask, served: ServedTranslator) -> None:
    answer = ask("translation", {"text": SENTENCES}, signature="nbest")
    rows = zip(answer["translations"], answer["scores"], served.n_best(SENTENCES, 8), strict=True)
    for texts, scores, found in rows:
        assert list(dict.fromkeys(texts)) == [text for text, _ in found]
        firsts = [scores[texts.index(text)] for text, _ in found]
        np.testing.assert_allclose(firsts, [score for _, score in found], rtol=1e-4)


def test_attention(ask, served: ServedTranslator) -> None:
    answer = ask("translation", {"text": SENTENCES[:1]}, signature="attention")
    attention = served.attention(SENTENCES[:1])
    assert attention is not None
    (expected,) = attention
    assert answer["source_pieces"] == [expected.source]
    assert answer["target_pieces"] == [expected.target]
    np.testing.assert_allclose(answer["attention"][0], expected.shares, **SAME)


def test_counts(ask, served: ServedTranslator) -> None:
    answer = ask("translation", {"text": SENTENCES}, signature="count_tokens")
    counts, limit = served.count_tokens(SENTENCES)
    assert answer == {"num_tokens": counts.tolist(), "max_tokens": limit}


def test_no_output_is_called_bytes() -> None:
    """Serving would send it in base64, and nobody here expects that."""
    for folder in (NEWS, STREET_VIEW):
        for signature in Servable(folder).signatures.values():
            assert not any(name.endswith("_bytes") for name in signature.outputs)
