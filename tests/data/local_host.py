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
def serve(
    folder: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str] | None = None
) -> Iterator[str]:
    """Serves a folder's files and yields the address.

    Files beside a file say what goes wrong with it: `NAME.cut` ends each answer before the middle
    of the file, `NAME.cut_once` does so for one answer, `NAME.no_ranges` sends the whole file to
    whoever asks for a part of it, `NAME.wrong_range` sends another part.

    Args:
      folder: what is served; a file that is not there is answered with 404.
      monkeypatch: keeps a proxy out of the way.
      asked: takes the name of each file that is asked for, and the range where there is one.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.lstrip("/")
            asked_range = self.headers.get("Range", "")
            if asked is not None:
                asked.append(f"{path.name} {asked_range}".strip())
            if not path.is_file():
                self.send_error(404)
                return
            content = path.read_bytes()
            begin, sent_from = 0, 0
            if asked_range and not fault(path, "no_ranges"):
                begin = sent_from = int(asked_range.removeprefix("bytes=").removesuffix("-"))
                if begin >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                sent_from -= 1 if fault(path, "wrong_range") else 0
                self.send_response(206)
                last = len(content) - 1
                self.send_header("Content-Range", f"bytes {sent_from}-{last}/{len(content)}")
            else:
                self.send_response(200)
            end = len(content)
            if fault(path, "cut") or fault(path, "cut_once"):
                end //= 2
                path.with_name(path.name + ".cut_once").unlink(missing_ok=True)
            self.send_header("Content-Length", str(len(content) - sent_from))
            self.end_headers()
            # Whoever only asks whether the host answers has gone by now.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content[sent_from:end])

        def log_message(self, format: str, *args: object) -> None:
            pass

    def fault(path: Path, kind: str) -> bool:
        return path.with_name(f"{path.name}.{kind}").exists()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
