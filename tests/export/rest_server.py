"""TensorFlow Serving's REST API on this machine: its rules for JSON, a session behind it.

The rules are those of Serving's ``json_tensor.cc`` and ``http_rest_api_handler.cc``.
"""

import base64
import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tests.export.servable import Servable


class Refusal(Exception):
    """An HTTP status and what the server says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@contextlib.contextmanager
def serve(servables: Mapping[str, Servable]) -> Iterator[str]:
    """Serves models by name and yields host and port; version 1 is the only one of each."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status, answer = 200, predict(servables, self.path, body)
            except Refusal as refusal:
                status, answer = refusal.status, json.dumps({"error": refusal.message}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def predict(servables: Mapping[str, Servable], path: str, body: bytes) -> bytes:
    """Answers a request as Serving does.

    Raises:
      Refusal: as Serving refuses.
    """
    match = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", path)
    if not match:
        raise Refusal(400, f"Malformed request: POST {path}")
    name, version = match.groups()
    if name not in servables or version not in (None, "1"):
        raise Refusal(404, f"Servable not found for request: Latest({name})")
    servable = servables[name]
    try:
        document = json.loads(body)
    except ValueError as error:
        raise Refusal(400, f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise Refusal(400, f"JSON Value: {document} Is not object")
    signature = document.get("signature_name", "serving_default")
    if signature not in servable.signatures:
        raise Refusal(400, f'Serving signature name: "{signature}" not found in signature def')
    infos = servable.signatures[signature].inputs
    if not infos:
        raise Refusal(400, f"Failed to get input map for signature: {signature}")
    if ("instances" in document) == ("inputs" in document):
        raise Refusal(400, "expecting one of 'inputs' or 'instances' keys")
    in_rows = "instances" in document
    columns = _columns(document["instances"], infos) if in_rows else document["inputs"]
    if not isinstance(columns, dict) or columns.keys() == {"b64"}:
        if len(infos) > 1:
            raise Refusal(400, "inputs is a plain value/list, but expecting an object")
        columns = {next(iter(infos)): columns}
    if missing := infos.keys() - columns.keys():
        raise Refusal(400, f"Missing named input: {min(missing)} in 'inputs' object.")
    feeds = {key: _tensor(columns[key], info.dtype) for key, info in infos.items()}
    try:
        outputs = servable.run(signature, feeds)
    except (ValueError, tf.errors.OpError) as error:  # ValueError: a session's, for a wrong shape
        raise Refusal(400, str(error)) from None
    answer = _rows(outputs) if in_rows else _only(outputs)
    document = {"predictions" if in_rows else "outputs": answer}
    # Serving writes the bytes of strings as they are, be they UTF-8 or not.
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _columns(instances: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(instances, list) or not instances:
        raise Refusal(400, "No values in 'instances' array")
    named = [isinstance(row, dict) and row.keys() != {"b64"} for row in instances]
    if any(named) != all(named):
        raise Refusal(400, "Expecting object but got list, or the reverse")
    if not named[0]:
        if len(infos) > 1:
            raise Refusal(400, "instances is a plain list, but expecting list of objects")
        return {next(iter(infos)): instances}
    if any(row.keys() != infos.keys() for row in instances):
        raise Refusal(400, f"keys must be equal to: {','.join(sorted(infos))}")
    return {name: [row[name] for row in instances] for name in infos}


def _tensor(value: Any, dtype: int) -> np.ndarray:
    """Returns nested lists as a tensor; all elements stand on one level, all lists are full."""
    shape, part = [], value
    while isinstance(part, list):
        shape.append(len(part))
        part = part[0] if part else None
    kind = tf.as_dtype(dtype)
    flat = np.array(list(_elements(value, shape, kind)), object)
    tensor = flat.reshape(shape)
    return tensor if kind == tf.string else tensor.astype(kind.as_numpy_dtype)


def _elements(value: Any, shape: list[int], kind: tf.DType) -> Iterator[Any]:
    if isinstance(value, list):
        if not shape or len(value) != shape[0]:
            raise Refusal(400, f"Encountered list at unexpected size: {len(value)}")
        for part in value:
            yield from _elements(part, shape[1:], kind)
    elif shape:
        raise Refusal(400, f"JSON Value: {value} found at incorrect level")
    elif kind == tf.string and isinstance(value, dict) and value.keys() == {"b64"}:
        yield base64.b64decode(value["b64"], validate=True)
    elif kind == tf.string and isinstance(value, str):
        yield value.encode()
    elif kind.is_floating and isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    else:
        raise Refusal(400, f"JSON Value: {value} is not of expected type: {kind.name}")


def _rows(outputs: Mapping[str, np.ndarray]) -> list[Any]:
    for name, tensor in outputs.items():
        if not tensor.ndim:
            raise Refusal(400, f"Tensor name: {name} has no shape information ")
    if len({len(tensor) for tensor in outputs.values()}) > 1:
        raise Refusal(400, "Tensor name has inconsistent batch size")
    columns = {name: _plain(tensor) for name, tensor in outputs.items()}
    count = len(next(iter(columns.values())))
    return [_only({name: column[row] for name, column in columns.items()}) for row in range(count)]


def _only(outputs: Mapping[str, Any]) -> Any:
    """Returns outputs by name, or the one that has no other beside it, without its name."""
    plain = {name: _plain(value) for name, value in outputs.items()}
    return next(iter(plain.values())) if len(plain) == 1 else plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32:  # the shortest decimals that stand for each
            value = np.reshape([float(str(number)) for number in value.flat], value.shape)
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
