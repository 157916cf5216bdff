"""Serves the page on this machine: no share link, no downloads, bounded requests."""

import errno
import logging
import os
import signal
import socket
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tfcamp.demo.models import DemoModels, load_models
from tfcamp.errors import UserError

if TYPE_CHECKING:
    import fastapi

# Room for a picture as the browser sends it, of 1024 x 1024 pixels at most.
MAX_REQUEST_BYTES = 4_000_000
# Where gradio keeps files that anybody sends, also other sites that are open in the browser.
_UPLOADS = ("/gradio_api/upload", "/gradio_api/process_recording")


def serve_demo(saved_models: Path, *, host: str, port: int) -> None:
    """Serves the page until Ctrl-C or SIGTERM.

    Args:
      saved_models: folder of the models.
      host: address to listen on.
      port: 0 for any that is free.

    Raises:
      UserError: no such folder, or nothing can listen there.
    """
    # Python would leave at once, and the temporary folder behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    loading = ThreadPoolExecutor(1, "load", _prefer_fast_first_calls)
    try:
        with _listen(host, port) as listener, tempfile.TemporaryDirectory() as folder:
            # Its own place may belong to another user of this machine.
            os.environ["GRADIO_TEMP_DIR"] = folder
            models = load_models(saved_models, loading)
            import uvicorn  # after what a user may have mistyped: it takes seconds, with gradio

            app = build_app(models)
            config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            # In the end open pages are cut off, of each of which there would be a traceback.
            logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
            name = f"[{host}]" if ":" in host else host
            print(f"http://{name}:{listener.getsockname()[1]}  (Ctrl-C ends the demo)", flush=True)
            server.run(sockets=[listener])
    finally:
        loading.shutdown(wait=False, cancel_futures=True)


def _prefer_fast_first_calls() -> None:
    """Leaves TensorFlow's graphs as they are: optimizing them takes longer than it saves here."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def build_app(models: DemoModels) -> "fastapi.FastAPI":
    """Returns the page as an application that needs no network."""
    import fastapi

    from tfcamp.demo.page import build_page, gr
    from tfcamp.demo.theme import head, theme

    page = build_page(models)
    outer = fastapi.FastAPI(openapi_url=None, max_body_size=MAX_REQUEST_BYTES)
    for path in _UPLOADS:  # the page sends none; routes that come first win
        outer.add_api_route(path, lambda: None, methods=["POST"], status_code=404)
    with warnings.catch_warnings():
        # Said of every application of several pages, also where ssr_mode is False.
        warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
        app = gr.mount_gradio_app(
            outer,
            page,
            path="/",
            theme=theme(),
            head=head(),
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            show_error=False,
            max_file_size=MAX_REQUEST_BYTES,
        )
    # Only then does gradio check that the files that a client names were uploaded, and are not just
    # any of this machine's. It is set by gradio's own launch, which looks for itself over HTTP, and
    # so fails behind a proxy.
    page.has_launched = True
    return app


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port < 2**16:
        raise UserError(f"--port {port}: expected 0 to 65535")
    unknown = UserError(f"--host {host}: expected an address of this machine")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror:
        raise unknown from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise unknown from None
        reason = os.strerror(error.errno or 0)
        raise UserError(
            f"--host {host} --port {port}: {reason}; --port 0 takes any port that is free"
        ) from None
