# SPDX-License-Identifier: Apache-2.0
"""Reports are one file with everything in it: outcomes to filter, films and pictures; nothing is fetched."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from evaluations import evaluation_of

from physgen_bringup.results.evaluation_report import write_evaluation_report
from physgen_bringup.results.html_page import MediaFile, media_section
from physgen_bringup.results.results import EpisodeResult
from physgen_bringup.results.training_report import write_training_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
browser = next((path for name in BROWSERS if (path := shutil.which(name))), "")


class Page(HTMLParser):
    """What a page shows and what it would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.classes: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.sources += [value for key in ("src", "href") if (value := values.get(key))]
        if tag == "tr":
            self.classes.append(values.get("class") or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def picture(path: Path) -> Path:
    iio.imwrite(path, np.zeros((8, 8, 3), np.uint8))
    return path


def write_report(folder: Path) -> Path:
    """Ten episodes, three of which failed; the first failure is filmed."""
    film = picture(folder / "seed_0.png")

    def film_of(_index: int, episode: EpisodeResult) -> Path | None:
        return film if episode.seed == 0 else None

    outcomes = [False] * 3 + [True] * 7
    return write_evaluation_report(folder, [evaluation_of(outcomes)], film_of)


def test_an_evaluation_is_one_page_with_its_films(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path))
    assert page.classes.count("failure") == 3
    assert page.classes.count("success") == 7
    assert "7 of 10 episodes succeeded" in page.text
    assert "failures only" in page.text
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)


def test_texts_are_shown_and_never_executed(tmp_path: Path) -> None:
    """A task may be called what it wants."""
    evaluation = evaluation_of([True], task="<script>alert(1)</script>")
    path = write_evaluation_report(tmp_path, [evaluation], lambda _index, _episode: None)
    assert "<script>alert(1)" not in path.read_text()
    assert "<script>alert(1)</script>" in Page(path).text


def test_media_that_do_not_fit_are_named(tmp_path: Path) -> None:
    small, large = picture(tmp_path / "small.png"), tmp_path / "large.png"
    large.write_bytes(b"0" * 10_000)
    section = media_section("Films", [MediaFile(large, "a"), MediaFile(small, "b")], budget=5_000)
    assert [item.caption for item in section.media] == ["b"]
    assert "large.png" in section.text


def test_a_training_run_is_one_page_with_its_curves(tmp_path: Path) -> None:
    """Also of a run that a crash cut off in the middle of a line."""
    lines = [
        {"stage": stage, "step": step, "total": 1.0 / step, "action": 2.0 / step}
        for stage in ("policy", "validation")
        for step in (1, 2, 3)
    ]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"stage": "po'
    )
    (tmp_path / "samples").mkdir()
    picture(tmp_path / "samples" / "step_000003.png")
    (tmp_path / "config.yaml").write_text("name: mine\n")
    path = write_training_report(tmp_path)
    assert path is not None
    page = Page(path)
    assert len(page.sources) == 3
    assert "policy stage: 3 steps" in page.text
    assert "name: mine" in page.text
    assert write_training_report(tmp_path / "samples") is None


@pytest.mark.skipif(not browser, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("fragment", "shown"), [("", "10 of 10 episodes"), ("#failures", "3 of 10 episodes")]
)
def test_a_browser_filters_failures(fragment: str, shown: str, tmp_path: Path) -> None:
    address = write_report(tmp_path).as_uri() + fragment
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert f'<span id="shown">{shown}</span>' in done.stdout
