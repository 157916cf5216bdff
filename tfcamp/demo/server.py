"""Serves the page on this machine: takes a port, loads the models, ends at Ctrl-C."""

import errno
import logging
import os
import signal
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfcamp.demo.models import check_folder, load_models
from tfcamp.errors import UserError


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
            check_folder(saved_models)
            # These take seconds, so they come after what a user may have mistyped; and they come
            # before another thread imports: Python may show one of two a package half there.
            import uvicorn

            from tfcamp.demo.app import build_app

            app = build_app(load_models(saved_models, loading))
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
