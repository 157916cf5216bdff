"""Asks TensorFlow Serving: headlines, pictures or sentences in, answers out.

    python saved_models/client.py news 央行宣布下调存款准备金率 高考志愿填报今日开始
    python saved_models/client.py street_view house.jpg door.png
    python saved_models/client.py street_view house.jpg --signature several_views --json
    python saved_models/client.py --host serving.example.org:8501 news 央行宣布下调存款准备金率
    python saved_models/client.py --grpc news 央行宣布下调存款准备金率

It needs Python and nothing else, and can be copied wherever it is of use; with --grpc it needs
tensorflow-serving-api too.
"""

import argparse
import base64
import http.client
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# An input by its name: B values, text or bytes.
Inputs = Mapping[str, Sequence["str | bytes"]]

# What is shown of an answer, and the number beside it.
_SHOWN = {"label": "probability", "number": "probability", "translation": "score"}


class ServingError(Exception):
    """No answer, or a refusal; the message is one line."""


def ask(
    host: str,
    model: str,
    inputs: Inputs,
    *,
    signature: str = "serving_default",
    version: int | None = None,
    timeout: float = 60.0,
) -> dict[str, Any]:
    """Asks a served model over REST.

    Args:
      host: name and port, ``localhost:8501``; with ``https://`` before it for TLS.
      model: the name that it is served under.
      inputs: values by the names of the signature's inputs.
      signature: which one to run.
      version: of the model; None for the newest.
      timeout: seconds to wait for an answer.

    Returns:
      the outputs by name, nested lists.

    Raises:
      ServingError: the server cannot be reached, or refuses.
    """
    server = host if "://" in host else f"http://{host}"
    path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
    if version is not None:
        path += f"/versions/{version}"
    request = urllib.request.Request(
        f"{server}{path}:predict",
        data=request_body(inputs, signature),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = _parse(host, response.read())
    except urllib.error.HTTPError as error:
        with error:
            refusal = _parse(host, error.read()).get("error", error.reason)
        raise _refusal(host, model, refusal) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        error = getattr(error, "reason", error)
        raise _silence(host, getattr(error, "strerror", None) or error, "REST", 8501) from None
    outputs = answer["outputs"]
    # The name of an output that has no other beside it is left out.
    return outputs if isinstance(outputs, dict) else {signature: outputs}


def request_body(inputs: Inputs, signature: str) -> bytes:
    r"""Returns the JSON of a request in column format, the one that suits every signature.

    >>> request_body({"text": ["央行", b"\xff"]}, "serving_default").decode()
    '{"signature_name": "serving_default", "inputs": {"text": ["央行", {"b64": "/w=="}]}}'
    """
    columns = {name: [_json_value(value) for value in values] for name, values in inputs.items()}
    document = {"signature_name": signature, "inputs": columns}
    return json.dumps(document, ensure_ascii=False).encode()


def ask_by_grpc(
    host: str,
    model: str,
    inputs: Inputs,
    *,
    signature: str = "serving_default",
    version: int | None = None,
    timeout: float = 60.0,
) -> dict[str, Any]:
    """Asks a served model over gRPC; arguments, result and errors are those of `ask`."""
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ImportError:
        raise ServingError("--grpc: run pip install tensorflow-serving-api first") from None
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string, [len(values)]))
    # An answer may be larger than the 4 MB that a client accepts by itself.
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(host, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            response = stub.Predict(request, timeout)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise _silence(host, error.details(), "gRPC", 8500) from None
            raise _refusal(host, model, error.details()) from None
    return {
        name: _decoded(tf.make_ndarray(tensor).tolist())
        for name, tensor in response.outputs.items()
    }


def rows_of(outputs: Mapping[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Yields the answer to each of ``count`` inputs; what is one for all stands in each.

    >>> list(rows_of({"num_tokens": [3, 5], "max_tokens": 64}, 2))
    [{'num_tokens': 3, 'max_tokens': 64}, {'num_tokens': 5, 'max_tokens': 64}]
    """
    for row in range(count):
        yield {
            name: values[row] if isinstance(values, list) else values
            for name, values in outputs.items()
        }


def main() -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_intermixed_args()  # options may stand anywhere
    try:
        _run(options)
    except ServingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    takes_files = options.files or options.model.startswith("street_view")
    name, read = ("image", _content) if takes_files else ("text", _text)
    values = [read(argument) for argument in options.inputs]
    if not values and not options.grpc:  # REST cannot ask a signature without inputs
        raise ServingError("expected something to ask about: texts, or names of pictures")
    outputs = (ask_by_grpc if options.grpc else ask)(
        options.host or ("localhost:8500" if options.grpc else "localhost:8501"),
        options.model,
        {name: values} if values else {},
        signature=options.signature,
        version=options.version,
        timeout=options.timeout,
    )
    if not values:
        print(json.dumps(outputs, ensure_ascii=False))
    for argument, row in zip(options.inputs, rows_of(outputs, len(values)), strict=True):
        print(_line(argument, row, as_json=options.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Ask TensorFlow Serving.")
    parser.add_argument("model", help="name that the model is served under: news, street_view, …")
    parser.add_argument("inputs", nargs="*", help="texts, or names of pictures for street_view")
    parser.add_argument("--host", help="name and port; localhost:8501, or :8500 with --grpc")
    parser.add_argument("--signature", default="serving_default", help="which signature to run")
    parser.add_argument("--version", type=int, help="version of the model, if not the newest")
    parser.add_argument("--files", action="store_true", help="the inputs are names of pictures")
    parser.add_argument("--grpc", action="store_true", help="ask over gRPC instead of REST")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait (60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser


def _line(argument: str, row: dict[str, Any], *, as_json: bool) -> str:
    argument = os.fsencode(argument).decode("utf-8", "replace")
    shown = next((name for name in _SHOWN if name in row), None)
    if as_json or shown is None or _SHOWN[shown] not in row:
        return json.dumps({"input": argument, **row}, ensure_ascii=False)
    answer, number = row[shown], row[_SHOWN[shown]]
    if shown == "translation":
        return f"{number:8.3f}  {answer}"
    return f"{answer or '-':<14}{number:7.1%}  {argument}"


def _text(argument: str) -> str | bytes:
    """Returns an argument as text; as the bytes that were given, if they are no UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument)
    return argument


def _content(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise ServingError(f"{name}: cannot be read: {error.strerror}") from None


def _json_value(value: str | bytes) -> Any:
    # JSON holds text; of anything else Serving expects the base64 code, marked as such.
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _parse(host: str, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body.decode("utf-8", "replace"))
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not {"outputs", "error"} & answer.keys():
        raise ServingError(f"{host} answers, but not as TensorFlow Serving does: is this its port?")
    return answer


def _refusal(host: str, model: str, reason: object) -> ServingError:
    return ServingError(f"{host} refuses to ask {model}: {' '.join(str(reason).split())}")


def _silence(host: str, reason: object, protocol: str, port: int) -> ServingError:
    reason = " ".join(str(reason).split())
    return ServingError(
        f"{host} does not answer ({reason}): is TensorFlow Serving running, and is this its port "
        f"for {protocol} ({port})?"
    )


if __name__ == "__main__":
    sys.exit(main())
