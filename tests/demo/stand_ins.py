"""Models whose answers can be worked out by hand, without TensorFlow, and pictures."""

import base64
import io
import math
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from tfcamp.export.image_model import ServedImageModel
    from tfcamp.export.saved_model import ServedTextClassifier
    from tfcamp.export.translation_model import ServedTranslator


class Map(NamedTuple):
    """As `tfcamp.export.translation_model.Attention`."""

    source: list[str]
    target: list[str]
    shares: np.ndarray


class AdditiveClassifier:
    """Two classes; the log-odds of the first are the sum of the weights of a text's characters.

    Those after max_length characters are not read.
    """

    classes = ("sports", "finance")

    def __init__(self, weights: dict[str, float], max_length: int | None = None) -> None:
        self._weights, self._max_length = weights, max_length
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(list(texts))
        read = [text[: self._max_length] for text in texts]
        odds = [sum(self._weights.get(letter, 0.0) for letter in text) for text in read]
        return np.array([[1 / (1 + math.exp(-it)), 1 / (1 + math.exp(it))] for it in odds])


class FixedReader:
    """Reads the same on every picture."""

    def __init__(self, number: str, probability: float, heat: np.ndarray | None = None) -> None:
        self._reading = ([number], np.array([probability], np.float32))
        self._heat = heat

    def __call__(self, images: Sequence[bytes]) -> tuple[list[str], np.ndarray]:
        return self._reading

    def heatmaps(self, images: Sequence[bytes]) -> np.ndarray | None:
        return None if self._heat is None else self._heat[np.newaxis]


class FixedTranslator:
    """Says the same to every sentence; reads four subwords, counts eight."""

    counted_lengths = 2

    def __init__(self, best: list[tuple[str, float]], attention: Map | None) -> None:
        self._best, self._attention = best, attention

    def count_tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        return np.array([len(text.split()) + 1 for text in texts]), 4

    def n_best(self, texts: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
        return [self._best[:count] for _ in texts]

    def attention(self, texts: Sequence[str]) -> list[Map] | None:
        return self._attention and [self._attention for _ in texts]


def as_classifier(model: Any) -> "ServedTextClassifier":
    return cast("ServedTextClassifier", model)


def as_reader(model: Any) -> "ServedImageModel":
    return cast("ServedImageModel", model)


def as_translator(model: Any) -> "ServedTranslator":
    return cast("ServedTranslator", model)


def picture(kind: str = "PNG", size: tuple[int, int] = (20, 10)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, kind)
    return file.getvalue()


def data_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def png_that_states(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that states any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*it) for it in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )
