# SPDX-License-Identifier: Apache-2.0
"""The viewer's pages for a browser, with a rule that keeps the browser from talking to anybody but this computer.

Rerun's pages report their use to its makers and have no switch for that; a browser obeys the rule all the same.
"""

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16


def content_policy(data_port: int) -> str:
    """Return the Content-Security-Policy: everything from this page's own server, and data from `data_port`."""
    return (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' data: blob:; "
        f"connect-src 'self' data: blob: http://{LOOPBACK}:{data_port}; form-action 'none'; frame-ancestors 'none'"
    )


class WebPage:
    """Serves on `port` what Rerun serves on another port of this computer, with the rule added.

    Args:
        served_port: Where Rerun serves its pages.
        data_port: Where its pages may fetch data.
    """

    def __init__(self, served_port: int, data_port: int) -> None:
        policy = content_policy(data_port)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                """Fetch the same path from Rerun and hand it on."""
                source = f"http://{LOOPBACK}:{served_port}{self.path.partition('?')[0]}"
                try:
                    with urllib.request.urlopen(source, timeout=20.0) as answer:
                        self.send_response(answer.status)
                        for name in ("Content-Type", "rerun-final-length"):
                            if answer.headers.get(name):
                                self.send_header(name, answer.headers[name])
                        self.send_header("Content-Security-Policy", policy)
                        self.send_header("Referrer-Policy", "no-referrer")
                        self.end_headers()
                        while block := answer.read(CHUNK):
                            self.wfile.write(block)
                except urllib.error.HTTPError as error:
                    self.send_error(error.code)
                except OSError:
                    self.close_connection = True  # the browser or the viewer has gone

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name is http.server's)
                """Say nothing of what is fetched."""

        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving the pages."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2.0)
