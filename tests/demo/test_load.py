"""Many questions at a time, good and bad: all are answered, and memory does not grow."""

import itertools
import json
import random
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.demo.client import ask, status_of
from tests.demo.process import Demo
from tests.demo.stand_ins import data_url, picture, png_that_states
from tfcamp.demo.examples import EXAMPLE_HEADLINES, example_pictures, example_sentences
from tfcamp.demo.texts import CHINESE, ENGLISH

pytestmark = pytest.mark.slow

NUM_REQUESTS, AT_A_TIME = 200, 8
DIRECTION = "Deutsch → English"
# A question and what its answer must hold.
GOOD = [
    *(("headline", [text], 'class="bars"') for text in (*EXAMPLE_HEADLINES, "字" * 200, "🙂 ok")),
    *(("number", [url], 'class="answer digits"') for url in example_pictures()),
    *(("sentence", [text, DIRECTION], 'class="list"') for text in example_sentences("de")),
    ("sentence", ["Ein Hund und " * 30, DIRECTION], 'class="list"'),
    ("headline_zh", ["股市大涨"], 'class="bars"'),
]
BAD = [
    ("headline", [""], ENGLISH.refusals["empty_text"]),
    ("headline", ["字" * 50_000], ENGLISH.refusals["long_text"].format(limit=200)),
    ("headline_zh", [" \n"], CHINESE.refusals["empty_text"]),
    ("number", ["data:image/png;base64,AAAA"], ENGLISH.refusals["broken_picture"]),
    ("number", [data_url(picture()[:40])], ENGLISH.refusals["broken_picture"]),
    ("number", [data_url(png_that_states(13_000, 13_000))], ENGLISH.refusals["large_picture"]),
    ("number", [{"path": "/etc/passwd"}], ENGLISH.refusals["broken_picture"]),
    ("number_zh", ["x" * 3_000_000], CHINESE.refusals["broken_picture"]),
    ("sentence", [None, DIRECTION], ENGLISH.refusals["empty_text"]),
    ("sentence", ["Hund", "Deutsch → Klingonisch"], "error"),
]


def test_two_hundred_mixed_questions_are_answered_in_constant_memory(quiet_demo: Demo):
    process = psutil.Process(quiet_demo.process.pid)
    ask_all(quiet_demo.url, 2 * NUM_REQUESTS, seed=1)  # what is made once is made
    before = process.memory_info().rss
    answers = ask_all(quiet_demo.url, NUM_REQUESTS, seed=2)
    after = process.memory_info().rss
    assert len(answers) == NUM_REQUESTS
    assert [it for it in answers if it is not None] == []
    # The memory of 200 questions would be twice as much; what malloc keeps varies by 10 MB.
    assert after - before < 25e6
    assert quiet_demo.process.poll() is None


def ask_all(url: str, count: int, seed: int) -> list[str | None]:
    """Asks so many questions, some at a time; returns what is wrong with each answer."""
    questions = list(itertools.islice(itertools.cycle([*GOOD, *BAD, None]), count))
    random.Random(seed).shuffle(questions)

    def check(question) -> str | None:
        if question is None:  # no question at all
            body = json.dumps({"data": "?"}).encode()
            request = urllib.request.Request(
                f"{url}/gradio_api/call/headline", body, {"Content-Type": "application/json"}
            )
            status = status_of(request)
            return None if status == 422 else f"status {status}"
        name, values, expected = question
        answer = ask(url, name, *values)
        return None if expected in answer else f"{name}{values!r:.60}: {answer[:200]}"

    with ThreadPoolExecutor(AT_A_TIME) as people:
        return list(people.map(check, questions))
