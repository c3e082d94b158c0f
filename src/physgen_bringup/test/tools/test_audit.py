# SPDX-License-Identifier: Apache-2.0
"""The dependency audit against a server that answers as OSV does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from physgen_checks import audit


class Osv(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        bad = {"package": {"name": "bad", "ecosystem": "PyPI"}, "version": "1.0"}
        results = [{"vulns": [{"id": "GHSA-1"}]} if query == bad else {} for query in queries]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"results": results}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def root(tmp_path: Path, lock: str, reasons: str = "") -> Path:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "base.lock").write_text(lock)
    if reasons:
        (tmp_path / "requirements" / "advisories.txt").write_text(reasons)
    return tmp_path


def test_an_advisory_fails_unless_it_is_accepted_with_a_reason(
    tmp_path: Path, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = root(tmp_path, "# pins\ngood==2.0\nBad==1.0\n")
    assert audit.main(folder, service) == 1
    assert "bad 1.0 (base.lock): GHSA-1" in capsys.readouterr().out
    (folder / "requirements" / "advisories.txt").write_text(
        "# why\nGHSA-1 the affected function is never called\n"
    )
    assert audit.main(folder, service) == 0
    assert "accepted: the affected function is never called" in capsys.readouterr().out


def test_an_acceptance_without_a_reason_is_refused(tmp_path: Path, service: str) -> None:
    with pytest.raises(ValueError, match="GHSA-1 has no reason"):
        audit.main(root(tmp_path, "good==2.0\n", "GHSA-1\n"), service)


def test_a_service_that_does_not_answer_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(root(tmp_path, "good==2.0\n"), "http://127.0.0.1:9/") == 0
    assert "1 pins were not audited" in capsys.readouterr().out


def test_every_lock_file_of_the_project_is_read() -> None:
    folder = Path(__file__).resolve().parents[4] / "requirements"
    pins = audit.pinned(folder)
    read = {name for names in pins.values() for name in names}
    assert read == {path.name for path in folder.glob("*.lock")}
