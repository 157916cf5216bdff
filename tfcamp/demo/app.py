"""The page as an application: no share link, no downloads, bounded requests."""

import warnings

import fastapi

from tfcamp.demo.answers import MAX_REQUEST_BYTES
from tfcamp.demo.models import DemoModels
from tfcamp.demo.page import build_page, gr
from tfcamp.demo.theme import head, theme

# Where gradio keeps files that anybody sends, also other sites that are open in the browser.
_UPLOADS = ("/gradio_api/upload", "/gradio_api/process_recording")


def build_app(models: DemoModels) -> fastapi.FastAPI:
    """Returns the page as an application that needs no network."""
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
