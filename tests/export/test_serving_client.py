"""The client of TensorFlow Serving: what it asks, shows and refuses, over REST and gRPC."""

import http.server
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from saved_models import client
from tests.export import grpc_server, rest_server
from tests.export.servable import Servable

CLIENT = Path(client.__file__)
TEXTS = ["央行", "", "abcd"]


class Toy(tf.Module):
    """Answers that can be told beforehand, in all forms that answers have."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def classify(self, text):
        length = tf.cast(tf.strings.length(text), tf.float32)
        return {"label": text, "probability": 1 / (1 + length)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def count(self, text):
        return {"num_tokens": tf.strings.length(text), "max_tokens": tf.constant(64)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def translate(self, text):
        return {"translation": tf.strings.upper(text), "score": tf.fill(tf.shape(text), -0.5)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def heat(self, text):
        return {"heat": tf.ones([tf.size(text), 1, 2])}

    @tf.function(input_signature=[])
    def classes(self):
        return {"classes": tf.constant(["财经", "体育"])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def read(self, image):
        length = tf.strings.length(image)
        is_image = tf.strings.substr(image, 0, 1) == b"\x89"
        number = tf.where(is_image, tf.strings.as_string(length), "")
        return {"number": number, "probability": tf.where(is_image, 0.75, 0.0)}


class Hosts(NamedTuple):
    rest: str
    grpc: str


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A toy behind either protocol, once as a reader of text and once of pictures."""
    folder, toy = tmp_path_factory.mktemp("toys"), Toy()
    of_text = {
        "serving_default": toy.classify,
        "count": toy.count,
        "translate": toy.translate,
        "heat": toy.heat,
        "classes": toy.classes,
    }
    tf.saved_model.save(toy, str(folder / "news"), signatures=of_text)
    tf.saved_model.save(toy, str(folder / "street_view"), signatures=toy.read)
    servables = {path.name: Servable(path) for path in folder.iterdir()}
    with rest_server.serve(servables) as rest, grpc_server.serve(servables) as grpc:
        yield Hosts(rest, grpc)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Runs the command line; returns its exit status, and what it printed."""

    def run(*arguments: object) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["client.py", *map(str, arguments)])
        status = client.main()
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    return run


@pytest.fixture(params=["rest", "grpc"])
def protocol(request: pytest.FixtureRequest, hosts: Hosts) -> list[str]:
    """The options that choose a protocol and its host."""
    return {"rest": ["--host", hosts.rest], "grpc": ["--grpc", "--host", hosts.grpc]}[request.param]


@pytest.fixture
def ask(protocol: list[str], command: Callable) -> Callable:
    """Runs a command line that succeeds; returns the lines that it prints."""

    def run(*arguments: object) -> list[str]:
        status, lines, err = command(*protocol, *arguments)
        assert (status, err) == (0, "")
        return lines

    return run


@pytest.fixture
def refused(protocol: list[str], command: Callable) -> Callable:
    """Runs a command line that fails; returns its one line."""
    return lambda *arguments: one_line(command(*protocol, *arguments))


def one_line(answer: tuple[int, list[str], str]) -> str:
    status, lines, err = answer
    assert (status, lines, err.count("\n")) == (2, [], 1), answer
    assert err.startswith("error: ")
    return err.removeprefix("error: ").rstrip("\n")


def objects(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


class TestAnswers:
    def test_texts(self, ask) -> None:
        lines = [line.split() for line in ask("news", *TEXTS)]
        assert lines == [["央行", "14.3%", "央行"], ["-", "100.0%"], ["abcd", "20.0%", "abcd"]]

    def test_objects(self, ask) -> None:
        assert objects(ask("news", "abc", "--json")) == [
            {"input": "abc", "label": "abc", "probability": 0.25}
        ]

    def test_translations(self, ask) -> None:
        assert ask("news", "a b", "--signature", "translate") == ["  -0.500  A B"]

    def test_pictures(self, ask, tmp_path) -> None:
        """Bytes arrive as they are, zeros at their end too."""
        (tmp_path / "a.png").write_bytes(b"\x89PNG\xff\x00\x00")
        (tmp_path / "b.txt").write_bytes(b"none")
        lines = [line.split() for line in ask("street_view", *sorted(tmp_path.iterdir()))]
        assert lines == [["7", "75.0%", f"{tmp_path}/a.png"], ["-", "0.0%", f"{tmp_path}/b.txt"]]

    def test_an_output_that_has_no_other_beside_it(self, ask) -> None:
        (row,) = objects(ask("news", "a", "--signature", "heat"))
        assert row == {"input": "a", "heat": [[1.0, 1.0]]}

    def test_one_number_for_all_rows(self, ask) -> None:
        assert objects(ask("news", "a", "bc", "--signature", "count")) == [
            {"input": "a", "num_tokens": 1, "max_tokens": 64},
            {"input": "bc", "num_tokens": 2, "max_tokens": 64},
        ]

    def test_text_that_is_no_utf_8_arrives_as_it_is(self, ask) -> None:
        """Two characters of GB 18030 are four bytes; as UTF-8 they would be more."""
        text = "央行".encode("gb18030").decode("utf-8", "surrogateescape")
        (row,) = objects(ask("news", text, "--signature", "count"))
        assert row["num_tokens"] == 4
        (row,) = objects(ask("news", text, "--json"))
        assert row["input"] == row["label"] and "\N{REPLACEMENT CHARACTER}" in row["label"]

    def test_a_version(self, ask) -> None:
        assert ask("news", "a", "--version", 1) == ask("news", "a")

    def test_a_signature_without_inputs_needs_grpc(self, hosts, command) -> None:
        options = ("news", "--signature", "classes")
        answer = command("--grpc", "--host", hosts.grpc, *options)
        assert answer == (0, ['{"classes": ["财经", "体育"]}'], "")
        assert "expected something" in one_line(command("--host", hosts.rest, *options))


def test_an_answer_may_be_larger_than_grpc_accepts_by_itself(hosts) -> None:
    texts = [""] * 600_000  # 4.8 MB of heat; the limit is 4 MiB
    answer = client.ask_by_grpc(hosts.grpc, "news", {"text": texts}, signature="heat")
    assert np.shape(answer["heat"]) == (600_000, 1, 2)


class TestRefusals:
    def test_a_model_that_is_not_served(self, refused) -> None:
        assert "refuses to ask nwes: Servable not found" in refused("nwes", "央行")

    def test_a_version_that_is_not_served(self, refused) -> None:
        assert "Servable not found" in refused("news", "央行", "--version", 9)

    def test_a_signature_that_is_not_there(self, refused) -> None:
        assert '"best" not found' in refused("news", "央行", "--signature", "best")

    def test_a_picture_that_is_not_there(self, refused) -> None:
        assert refused("street_view", "no.png").startswith("no.png: cannot be read: No such file")

    def test_a_picture_where_a_text_belongs(self, refused) -> None:
        line = refused("news", "--files", CLIENT)
        assert "Missing named input: text" in line or "does not match signature" in line

    def test_nobody_there(self, command) -> None:
        line = one_line(command("--host", "127.0.0.1:9", "news", "央行"))
        assert line.startswith("127.0.0.1:9 does not answer (Connection refused): is Tensor")
        assert "REST (8501)" in line
        line = one_line(command("--grpc", "--host", "127.0.0.1:9", "news", "央行"))
        assert line.startswith("127.0.0.1:9 does not answer") and "gRPC (8500)" in line

    def test_the_wrong_port(self, hosts, command) -> None:
        line = one_line(command("--host", hosts.grpc, "news", "央行"))
        assert "is this its port for REST (8501)?" in line

    def test_a_server_of_another_kind(self, command) -> None:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherServer) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            line = one_line(command("--host", f"127.0.0.1:{server.server_port}", "news", "央行"))
            server.shutdown()
            thread.join()
        assert "answers, but not as TensorFlow Serving does" in line

    def test_grpc_without_its_package(self, command, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
        line = one_line(command("--grpc", "news", "央行"))
        assert line == "--grpc: run pip install tensorflow-serving-api first"


class OtherServer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(501)

    def log_message(self, format: str, *args: object) -> None:
        pass


def post(host: str, document: object) -> tuple[int, Any]:
    body = json.dumps(document).encode()
    request = urllib.request.Request(f"http://{host}/v1/models/news:predict", body)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class TestForms:
    """What the documentation says of rows and columns."""

    def test_rows_and_columns_say_the_same(self, hosts) -> None:
        status, columns = post(hosts.rest, {"inputs": {"text": TEXTS}})
        assert status == 200
        for instances in (TEXTS, [{"text": text} for text in TEXTS]):
            status, rows = post(hosts.rest, {"instances": instances})
            assert status == 200
            assert rows["predictions"] == list(client.rows_of(columns["outputs"], len(TEXTS)))
        assert post(hosts.rest, {"inputs": TEXTS}) == (200, columns)

    def test_a_name_is_left_out_where_there_is_one_output(self, hosts) -> None:
        asked = {"signature_name": "heat", "instances": ["a", "b"]}
        assert post(hosts.rest, asked) == (200, {"predictions": [[[1.0, 1.0]], [[1.0, 1.0]]]})

    def test_what_rows_cannot_say(self, hosts) -> None:
        status, answer = post(hosts.rest, {"signature_name": "count", "instances": TEXTS})
        assert status == 400 and "max_tokens has no shape information" in answer["error"]

    def test_what_rest_cannot_ask(self, hosts) -> None:
        status, answer = post(hosts.rest, {"signature_name": "classes", "inputs": {}})
        assert status == 400 and "Failed to get input map" in answer["error"]

    @pytest.mark.parametrize(
        "document",
        [
            [],
            {},
            {"instances": []},
            {"instances": ["a"], "inputs": ["a"]},
            {"instances": [1]},
            {"instances": [["a"]]},
            {"instances": ["a", ["b"]]},
            {"instances": [{"txt": "a"}]},
            {"inputs": "a"},
            {"inputs": {"txt": ["a"]}},
        ],
    )
    def test_what_is_refused(self, hosts, document) -> None:
        status, answer = post(hosts.rest, document)
        assert status == 400 and answer.keys() == {"error"}


def test_it_needs_nothing_but_python(hosts: Hosts) -> None:
    """No site-packages, no checkout on the path."""
    program = [sys.executable, "-I", "-S", CLIENT]
    answer = subprocess.run(
        [*program, "--host", hosts.rest, "news", "abcd"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["abcd", "20.0%", "abcd"]
