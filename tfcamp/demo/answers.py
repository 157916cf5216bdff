"""What the demo answers to raw input, as values: nothing here knows of the page that shows them."""

import base64
import binascii
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:  # they bring TensorFlow, without which answers are made and shown
    from tfcamp.export.image_model import ServedImageModel
    from tfcamp.export.saved_model import ServedTextClassifier
    from tfcamp.export.translation_model import Attention, ServedTranslator

MAX_HEADLINE = 200  # characters
MAX_SENTENCE = 400
# Room for a picture as the browser sends it, of 1024 x 1024 pixels at most.
MAX_REQUEST_BYTES = 4_000_000
NUM_BEST = 5  # translations shown

# From raw input to an answer; raises `Refusal`.
Answer = Callable[[object], Any]

# What the page sends is smaller: the browser brings pictures to 1024 pixels first.
_MAX_PIXELS = 2**22
_DATA_URLS = ("data:image/png;base64,", "data:image/jpeg;base64,")
_LEAST = 1e-30  # probability whose logarithm is taken
_SAME = 1e-5  # by what share probabilities of the same tokens may differ


class Refusal(Exception):
    """Input that gets no answer; the page says why.

    Attributes:
      reason: which of `Texts.refusals` to show.
      values: what fills its braces.
    """

    def __init__(self, reason: str, **values: object) -> None:
        """Keeps the reason."""
        super().__init__(reason)
        self.reason, self.values = reason, values


class Word(NamedTuple):
    """What a word of a headline does to the answer.

    Attributes:
      text: the word.
      evidence: by how much it raises the log-odds of the class, in nats; negative if it lowers
        them.
      without: the probability of the class when the word is left out.
    """

    text: str
    evidence: float
    without: float


class HeadlineAnswer(NamedTuple):
    """The class of a headline, and why.

    Attributes:
      label: the most probable class.
      probabilities: (class, probability), the most probable first.
      words: joined they are the headline.
      num_words: without white space.
      num_read: those after so many do not change the answer.
    """

    label: str
    probabilities: list[tuple[str, float]]
    words: list[Word]
    num_words: int
    num_read: int


class NumberAnswer(NamedTuple):
    """What was read on a picture.

    Attributes:
      number: "" where the model reads none.
      probability: of the whole number.
      heat: float32[h, w] >= 0, which places speak for it; None if the model has no maps.
    """

    number: str
    probability: float
    heat: np.ndarray | None


class SentenceAnswer(NamedTuple):
    """Translations of a sentence.

    Attributes:
      best: (translation, score), the best first; scores are length-normalised log-probabilities.
      attention: where the model looked; None if it has no eyes.
      num_tokens: subwords of the sentence, its end included.
      max_tokens: how many the model reads.
      max_counted: what has more counts as so many.
    """

    best: list[tuple[str, float]]
    attention: "Attention | None"
    num_tokens: int
    max_tokens: int
    max_counted: int


def classify_headline(
    model: "ServedTextClassifier", segment: Callable[[str], list[str]], text: object
) -> HeadlineAnswer:
    """Classifies a headline, and once more without each of its words that the model reads.

    What a word does is the "weight of evidence" that is lost with it (Robnik-Šikonja and Kononenko,
    2008, eq. 3), with the word deleted (Li et al., 2016):

        evidence(w) = log odds(c | text) - log odds(c | text without w)

    Differences of probabilities would all vanish where the model is sure.

    Words beyond those that are read are not left to take the place of one that is left out.

    Args:
      model: texts to probabilities.
      segment: a text to its words, which joined are the text.
      text: raw input.

    Raises:
      Refusal: there is no text, or too much of it.
    """
    text = _checked_text(text, MAX_HEADLINE)
    words = segment(text)
    # White space is not read, so it is not left out either.
    tried = [i for i, word in enumerate(words) if not word.isspace()]
    num_words, num_read = len(tried), _count_read(model, ["".join(words[: i + 1]) for i in tried])
    tried = tried[:num_read]
    read = words[: tried[-1] + 1]
    rest = ["".join(read[:i] + read[i + 1 :]) for i in tried]
    probabilities = np.asarray(model([text, *rest]), np.float64)
    order = np.argsort(-probabilities[0], kind="stable")
    best = order[0]
    odds = _log_odds(probabilities, best)
    effects = {i: (odds[0] - odds[row], probabilities[row, best]) for row, i in enumerate(tried, 1)}
    whole = probabilities[0, best]
    return HeadlineAnswer(
        model.classes[best],
        [(model.classes[i], float(probabilities[0, i])) for i in order],
        [Word(word, *map(float, effects.get(i, (0.0, whole)))) for i, word in enumerate(words)],
        num_words,
        num_read,
    )


def _count_read(model: "ServedTextClassifier", beginnings: list[str]) -> int:
    """Returns how many beginnings of a text it takes until the answer stays what it is.

    A model does not tell how many tokens it reads, but its answer does.

    Args:
      model: texts to probabilities.
      beginnings: each a word longer; the last is the text.
    """
    probabilities = np.asarray(model(beginnings), np.float64)
    same = np.isclose(probabilities, probabilities[-1], rtol=_SAME, atol=0).all(axis=1)
    return int(np.flatnonzero(~same).max(initial=-1)) + 2


def _log_odds(probabilities: np.ndarray, label: int) -> np.ndarray:
    """Returns float64[B], of one class against all others, in nats."""
    # Not 1 - p: a float32 probability of 1 has others beside it that are not 0.
    others = np.delete(probabilities, label, axis=1).sum(axis=1)
    return np.log(np.maximum(probabilities[:, label], _LEAST)) - np.log(np.maximum(others, _LEAST))


def read_number(model: "ServedImageModel", picture: bytes) -> NumberAnswer:
    """Reads the number on a picture.

    Args:
      model: pictures to numbers.
      picture: contents of a PNG or JPEG file, as `decode_picture` returns it.

    Raises:
      Refusal: it cannot be decoded.
    """
    numbers, probabilities = model([picture])
    if probabilities[0] == 0:  # what the model says to a damaged picture
        raise Refusal("broken_picture")
    heat = model.heatmaps([picture])
    return NumberAnswer(numbers[0], float(probabilities[0]), None if heat is None else heat[0])


def decode_picture(url: object) -> bytes:
    """Returns the contents of the file that a data URL holds.

    Args:
      url: raw input. The page sends "large" or "broken" where the browser could make no picture.

    Raises:
      Refusal: it holds no PNG or JPEG, or one with too many pixels.

    >>> decode_picture("data:text/plain;base64,aGVsbG8=")
    Traceback (most recent call last):
    ...
    tfcamp.demo.answers.Refusal: broken_picture
    """
    if url is None or url == "":
        raise Refusal("no_picture")
    if url == "large":
        raise Refusal("large_picture")
    if not isinstance(url, str) or not url.startswith(_DATA_URLS):
        raise Refusal("broken_picture")
    try:
        picture = base64.b64decode(url.partition(",")[2], validate=True)
        # Opening reads the header alone.
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise Refusal("large_picture") from None
    except (binascii.Error, OSError, SyntaxError, ValueError):
        raise Refusal("broken_picture") from None
    if width * height > _MAX_PIXELS:
        raise Refusal("large_picture")
    return picture


def translate_sentence(model: "ServedTranslator", text: object) -> SentenceAnswer:
    """Translates a sentence and shows where the model looked.

    Raises:
      Refusal: there is no text, or too much of it.
    """
    text = _checked_text(text, MAX_SENTENCE)
    counts, limit = model.count_tokens([text])
    maps = model.attention([text])
    (best,) = model.n_best([text], NUM_BEST)
    max_counted = model.counted_lengths * limit
    return SentenceAnswer(best, maps[0] if maps else None, int(counts[0]), limit, max_counted)


def _checked_text(text: object, limit: int) -> str:
    """Returns a text on one line, in characters that UTF-8 can encode.

    Raises:
      Refusal: it is empty or too long.
    """
    line = " ".join(text.split()) if isinstance(text, str) else ""
    if not line:
        raise Refusal("empty_text")
    if len(line) > limit:
        raise Refusal("long_text", limit=limit)
    return line.encode("utf-8", "replace").decode()
