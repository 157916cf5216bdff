"""The page: three tabs in two languages, the same components with other words."""

import os
import shlex
import sys
import traceback
from collections.abc import Callable
from importlib import resources
from typing import Any

# Before gradio is imported: nothing is reported anywhere, and nothing asks for newer versions.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from gradio.components import Navbar

from tfcamp.demo import views
from tfcamp.demo.answers import Refusal
from tfcamp.demo.examples import EXAMPLE_HEADLINES, example_pictures, example_sentences
from tfcamp.demo.models import NEWS, STREET_VIEW, TRANSLATION, DemoModels
from tfcamp.demo.texts import CHINESE, ENGLISH, Texts, language_name

# Answers that wait for their turn; more are refused at once.
_MAX_WAITING = 64
# Of so many sessions gradio keeps what was asked and answered last.
_MAX_SESSIONS = 32
# The page needs no files; any that gradio keeps are looked for and deleted after so many seconds.
_DELETE = (600, 600)


def build_page(models: DemoModels) -> gr.Blocks:
    """Returns the page: English at ``/``, Chinese at ``/zh``."""
    with gr.Blocks(title="tfcamp", analytics_enabled=False, delete_cache=_DELETE) as page:
        _fill(models, ENGLISH)
    with page.route(CHINESE.name, CHINESE.language):
        _fill(models, CHINESE)
    page.state_session_capacity = _MAX_SESSIONS
    # Only through the queue, so that as many answers are computed at a time as there are tabs.
    return page.queue(max_size=_MAX_WAITING, api_open=False)


def _fill(models: DemoModels, texts: Texts) -> None:
    Navbar(main_page_name=ENGLISH.name)
    gr.HTML(
        f"<header><h1>{texts.title}</h1><p>{texts.subtitle}</p></header>", apply_default_css=False
    )
    with gr.Tab(texts.headline_tab):
        _headline_tab(models, texts)
    with gr.Tab(texts.number_tab):
        _number_tab(models, texts)
    with gr.Tab(texts.sentence_tab):
        _sentence_tab(models, texts)


def _headline_tab(models: DemoModels, texts: Texts) -> None:
    classify = models.classify
    if classify is None:
        _missing(models, NEWS, "news", texts)
        return

    def answer(text: str) -> str:
        return _answer(texts, lambda: views.show_headline(classify(text), texts))

    text = _text_field(texts.headline_label, texts.headline_hint, texts.headline_button)
    examples = gr.Dataset(
        components=[text], samples=[[it] for it in EXAMPLE_HEADLINES], label=texts.examples
    )
    result = _result()
    text.submit(answer, text, result, **_options("headline", texts))
    examples.click(
        lambda row: (row[0], answer(row[0])),
        examples,
        [text, result],
        **_options("headline", texts, clicked=True),
    )


def _number_tab(models: DemoModels, texts: Texts) -> None:
    read = models.read
    if read is None:
        _missing(models, STREET_VIEW, "street_view", texts)
        return

    def answer(url: str) -> str:
        if not url:  # the field was cleared
            return ""
        return _answer(texts, lambda: views.show_number(read(url), url, texts))

    picture = gr.HTML(
        "",
        html_template=_file("picture.html"),
        js_on_load=_file("picture.js"),
        apply_default_css=False,
        # What the template is filled with.
        field=f"picture-{texts.language}",
        hint=texts.number_hint,
        choose=texts.number_choose,
        clear=texts.number_clear,
        samples=[
            {"url": url, "label": texts.number_example.format(number)}
            for number, url in enumerate(example_pictures(), 1)
        ],
    )
    picture.change(answer, picture, _result(), **_options("number", texts))


def _sentence_tab(models: DemoModels, texts: Texts) -> None:
    if not models.translate:
        _missing(models, TRANSLATION, "translation", texts)
        return
    directions = {
        f"{language_name(source)} → {language_name(target)}": (source, target)
        for source, target in models.translate
    }
    direction_of: dict[str, str] = {}
    for name, (source, _) in directions.items():
        for sentence in example_sentences(source):
            direction_of.setdefault(sentence, name)

    def answer(text: str, direction: str) -> str:
        languages = directions[direction]  # gradio has checked that it is one of them
        translate = models.translate[languages]
        return _answer(texts, lambda: views.show_sentence(translate(text), languages[1], texts))

    direction = gr.Radio(
        list(directions),
        value=next(iter(directions)),
        label=texts.sentence_direction,
        visible=len(directions) > 1,
    )
    text = _text_field(texts.sentence_label, texts.sentence_hint, texts.sentence_button)
    examples = gr.Dataset(
        components=[text], samples=[[it] for it in direction_of], label=texts.examples
    )
    result = _result()
    text.submit(answer, [text, direction], result, **_options("sentence", texts))
    examples.click(
        lambda row: (row[0], direction_of[row[0]], answer(row[0], direction_of[row[0]])),
        examples,
        [text, direction, result],
        **_options("sentence", texts, clicked=True),
    )


def _text_field(label: str, hint: str, button: str) -> gr.Textbox:
    # The browser cuts off without a word what is longer than max_length: only what a request could
    # not hold. A text that is too long to be answered is refused with a word instead.
    return gr.Textbox(
        label=label, placeholder=hint, submit_btn=button, max_lines=4, max_length=100_000
    )


def _result() -> gr.HTML:
    return gr.HTML(apply_default_css=False)


def _options(name: str, texts: Texts, *, clicked: bool = False) -> dict[str, Any]:
    """Returns how a question is asked; those of one tab, on both pages, stand in one line."""
    api = {"api_name": name if texts is ENGLISH else f"{name}_{texts.language}"}
    return {
        "concurrency_id": name,
        "concurrency_limit": 1,
        "show_progress": "minimal",
        **({"api_visibility": "private"} if clicked else api),
    }


def _missing(models: DemoModels, name: str, project: str, texts: Texts) -> None:
    folder = models.folder / name / "1"
    command = f"python projects/{project}/train.py --export-dir {shlex.quote(str(folder))}"
    note = views.show_missing_model(str(models.folder / name), command, texts)
    gr.HTML(note, apply_default_css=False)


def _answer(texts: Texts, ask: Callable[[], str]) -> str:
    """Returns an answer or, in its place, a line that says why there is none."""
    try:
        return ask()
    except Refusal as refusal:
        return views.show_refusal(refusal, texts)
    except Exception:  # one bad question must not end the page
        traceback.print_exc(file=sys.stderr)
        return views.show_refusal(Refusal("failure"), texts)


def _file(name: str) -> str:
    return resources.files("tfcamp.demo").joinpath(name).read_text("utf-8")
