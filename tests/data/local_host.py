"""A server on this machine that stands in for a data set's upstream."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# Nothing listens there.
NO_HOST = "http://127.0.0.1:9/"


@contextlib.contextmanager
def serve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serves a folder's files and yields the address; `NAME.cut` halves NAME's body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            body = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = path.with_name(path.name + ".cut").exists()
            # Whoever only asks whether the host answers has gone by now.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[: len(body) // 2] if cut else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
