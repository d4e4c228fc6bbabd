"""A headless Chromium, and a server of the viewer's files with a synthetic source (tests/web)."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
WEB = Path(__file__).parent / "web"
STATIC = Path(__file__).parents[1] / "src" / "regard" / "viewer" / "static"
MODULES = WEB / "node_modules"
"""What `npm ci` installs: the checker of types, and that of accessibility."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


class _Files(http.server.SimpleHTTPRequestHandler):
    """``/static/`` is the viewer, ``/web/`` the pages of the tests."""

    def translate_path(self, path: str) -> str:
        name = Path(path.split("?")[0]).name
        return str((STATIC if path.startswith("/static/") else WEB) / name)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def served() -> Iterator[str]:
    """The address of a page that shows a synthetic source: ``?kind=text&length=40&layers=3&heads=4#state``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/web/page.html"
    server.shutdown()
    server.server_close()
    thread.join()
