"""Asks the page as a program would, over HTTP."""

import json
import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit


def ask(url: str, name: str, *values: Any, timeout: float = 600) -> str:
    """Returns the HTML that the page shows, or the error that it answers with."""
    request = urllib.request.Request(
        f"{url}/gradio_api/call/{name}",
        json.dumps({"data": values}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        event = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{request.full_url}/{event}", timeout=timeout) as response:
        kind, data = None, None
        for line in response.read().decode().splitlines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind in ("complete", "error"):
                data = json.loads(line.removeprefix("data: "))
    if kind == "error":
        return f"error: {data}"
    assert isinstance(data, list), f"no answer: {data!r}"
    return data[0] or ""


def status_of(request: urllib.request.Request) -> int:
    """Returns the status with which a request is answered."""
    try:
        with urllib.request.urlopen(request, timeout=600) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def begin_of_answer(url: str, path: str, header: str, body: bytes) -> bytes:
    """Returns how the answer to a request begins of which only this part is ever sent."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=600) as connection:
        head = f"POST /gradio_api/{path} HTTP/1.1\r\nHost: {address.netloc}\r\n{header}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        return connection.recv(100)
