"""Answers as HTML, in the language of a page; colours are those of the figures."""

import base64
import html
import io
import threading
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tfcamp.demo.answers import HeadlineAnswer, NumberAnswer, Refusal, SentenceAnswer, Word
from tfcamp.demo.texts import Texts
from tfcamp.figures import attention_map, figure_svg
from tfcamp.figures.inline import inline_svg

if TYPE_CHECKING:  # it brings TensorFlow, for which the page need not wait
    from tfcamp.export.translation_model import Attention

# Evidence that is drawn in full colour, in nats, unless a headline has more: weak words stay pale.
_FULL_EVIDENCE = 0.5
_ANNOTATED = 0.3  # share of the full colour from which a word has its probability below it
_UNSURE = 0.5
_MOST_CELLS = 900  # of a map of attention: each takes time to draw, and a larger map is not read
_ORANGE = (255, 120, 0)

# matplotlib's settings belong to the process: one figure at a time.
_drawing = threading.Lock()


def show_headline(answer: HeadlineAnswer, texts: Texts) -> str:
    """Returns the headline with the words that decided, and the classes as bars."""
    label = texts.class_names.get(answer.label, answer.label)
    full = max(_FULL_EVIDENCE, *(abs(word.evidence) for word in answer.words))
    words = "".join(_word(word, word.evidence / full) for word in answer.words)
    bars = "".join(
        f'<tr><th scope="row">{_escape(texts.class_names.get(name, name))}</th>'
        f'<td><div style="width: {100 * probability:.2f}%"></div></td>'
        f"<td>{_escape(_percent(probability))} %</td></tr>"
        for name, probability in answer.probabilities
    )
    cut = ""
    if answer.num_words > answer.num_read:
        limits = {"count": answer.num_words, "limit": answer.num_read}
        cut = _note(texts.headline_cut.format(**limits))
    return _result(
        f'<p class="answer">{_escape(label)}</p>{cut}'
        f'<p class="words" lang="zh">{words}</p>'
        f'<p class="legend">{_escape(texts.headline_legend.format(label=label))}</p>'
        f'<table class="bars"><caption>{_escape(texts.headline_classes)}</caption>{bars}</table>'
    )


def _word(word: Word, share: float) -> str:
    """Returns a word on its colour, with what would be without it below where that matters."""
    side = "against" if share < 0 else "for"
    text = f'<span class="{side}" style="--share: {abs(share):.2f}">{_escape(word.text)}</span>'
    below = f"{_escape(_percent(word.without))} %" if abs(share) >= _ANNOTATED else ""
    return f'<span class="word">{text}<small>{below}</small></span>'


def show_number(answer: NumberAnswer, url: str, texts: Texts) -> str:
    """Returns the number and, over the picture, where the model looked."""
    if not answer.number:
        return show_note(texts.number_nothing)
    sure = texts.number_sure.format(_percent(answer.probability))
    parts = [
        f'<p class="answer digits">{_escape(answer.number)}</p>',
        f'<p class="legend">{_escape(sure)}</p>',
    ]
    if answer.probability < _UNSURE:
        parts.append(_note(texts.number_unsure))
    layers = f'<img src="{html.escape(url)}" alt="{_escape(answer.number)}">'
    caption = ""
    if answer.heat is not None:
        layers += f'<img class="heat" src="{_heat_url(answer.heat)}" alt="">'
        caption = f'<figcaption class="legend">{_escape(texts.number_heat)}</figcaption>'
    parts.append(f'<figure><div class="layers">{layers}</div>{caption}</figure>')
    return _result("".join(parts))


def _heat_url(heat: np.ndarray) -> str:
    """Returns the places as a tiny transparent picture; the browser smooths it when it grows."""
    pixels = np.zeros((*heat.shape, 4), np.uint8)
    pixels[..., :3] = _ORANGE
    pixels[..., 3] = np.round(200 * heat / max(float(heat.max()), 1e-12))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def show_sentence(answer: SentenceAnswer, target: str, texts: Texts) -> str:
    """Returns the translations and the map of attention; target is their language."""
    rows = "".join(
        f'<tr><td lang="{_escape(target)}">{_escape(text) or _escape(texts.sentence_empty)}</td>'
        f"<td>{score:.2f}</td></tr>"
        for text, score in answer.best
    )
    best = _escape(answer.best[0][0]) or _escape(texts.sentence_empty)
    parts = [f'<p class="answer" lang="{_escape(target)}">{best}</p>']
    if answer.num_tokens > answer.max_tokens:
        is_all = answer.num_tokens < answer.max_counted
        count = f"{answer.num_tokens}" if is_all else f"≥ {answer.num_tokens}"
        limits = {"count": count, "limit": answer.max_tokens - 1}
        parts.append(_note(texts.sentence_cut.format(**limits)))
    parts.append(
        f'<table class="list"><caption>{_escape(texts.sentence_best)}</caption>{rows}</table>'
    )
    if answer.attention is not None:
        parts.append(_attention(answer.attention, texts))
    return _result("".join(parts))


def _attention(attention: "Attention", texts: Texts) -> str:
    if attention.shares.size > _MOST_CELLS:
        return _note(texts.sentence_no_map)
    with _drawing:
        figure = attention_map(*attention)
        deepest = f"{texts.sentence_deepest}: {100 * attention.shares.max():.0f} %"
        for text in figure.axes[0].texts:  # the one below the map, which is English
            text.set_text(deepest)
        svg, width = inline_svg(figure_svg(figure), "attention-", texts.sentence_attention)
    caption = f'<figcaption class="legend">{_escape(texts.sentence_attention)}</figcaption>'
    size = f"width: {width:.0f}px"
    return (
        f'<figure>{caption}<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{_escape(texts.sentence_attention)}">'
        f'<div style="{size}">{svg}</div></div></figure>'
    )


def show_refusal(refusal: Refusal, texts: Texts) -> str:
    """Returns why there is no answer."""
    return show_note(texts.refusals[refusal.reason].format(**refusal.values))


def show_note(text: str) -> str:
    """Returns a line in place of an answer."""
    return _result(_note(text))


def show_missing_model(folder: str, command: str, texts: Texts) -> str:
    """Returns a line that says how to train what is not there."""
    line = _escape(texts.no_model.format(folder=folder))
    return _result(f'<p class="note">{line} <code>{_escape(command)}</code></p>')


def _result(content: str) -> str:
    # Read out when it changes.
    return f'<div class="result" role="status">{content}</div>'


def _note(text: str) -> str:
    return f'<p class="note">{_escape(text)}</p>'


def _percent(share: float) -> str:
    """Returns per cent, but neither 0 nor 100 where it is not: a sure model is not a certain one.

    >>> [_percent(share) for share in (0.0, 0.0004, 0.123, 0.9996, 1.0)]
    ['0', '< 0.1', '12.3', '> 99.9', '100']
    """
    if 0 < share < 0.001:
        return "< 0.1"
    if 0.999 < share < 1:
        return "> 99.9"
    return f"{100 * share:.1f}".removesuffix(".0")


def _escape(text: str) -> str:
    return html.escape(text)
