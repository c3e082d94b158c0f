# SPDX-License-Identifier: Apache-2.0
"""Options that every command shares: a file to write is looked at before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from physgen_control.program.command_parser import CommandParser, add_json, file_to_write


def parser() -> CommandParser:
    made = CommandParser(prog="physgen draw", description="Draws.")
    made.add_argument("--out", type=file_to_write(".mp4", ".mkv"))
    add_json(made)
    return made


@pytest.mark.parametrize("name", ["film.mp4", "film.MP4", "new folder/film.mkv"])
def test_a_file_that_can_be_written_is_a_path(name: str, tmp_path: Path) -> None:
    """Neither it nor its folder has to be there, and neither is made."""
    options = parser().parse_args(["--out", str(tmp_path / name), "--json", str(tmp_path / "numbers")])
    assert options.out == tmp_path / name and options.json == tmp_path / "numbers"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "film"], "must end in .mp4 or .mkv, got film"),
        (["--out", "film.txt"], "must end in .mp4 or .mkv"),
        (["--out", "{folder}"], "is a folder; name a file"),
        (["--json", "{folder}"], "is a folder; name a file"),
    ],
)
def test_one_that_cannot_is_a_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "there.mp4"
    folder.mkdir()
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([word.replace("{folder}", str(folder)) for word in words])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_an_option_that_is_not_given_is_none() -> None:
    assert parser().parse_args([]).json is None
