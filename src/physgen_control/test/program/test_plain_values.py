# SPDX-License-Identifier: Apache-2.0
"""Files of plain values: what they may say, and one sentence for everything else."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from physgen_control.bags.bounded_path import BoundedPath
from physgen_control.errors import UserError
from physgen_control.messages.read import ConversionError, json_object_from_msg
from physgen_control.program.plain_values import build, read_json, read_json_object, read_yaml, shown


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: tuple[int, int] = (1, 2)
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    words: tuple[str, ...] = ()


def test_values_become_dataclasses() -> None:
    built = build(Outer, {"name": "a", "inner": {"size": [3, 4], "rate": 2}, "words": ["x"]}, "here")
    assert built == Outer(name="a", inner=Inner(size=(3, 4), rate=2.0), words=("x",))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "here must be a mapping"),
        ({}, "here is incomplete"),
        ({"name": 1}, "here.name must be str, got 1"),
        ({"name": "a", 7: 1}, "unknown keys"),
        ({"name": "a", "inner": {"size": [1]}}, "here.inner.size must be a list of 2 integers"),
        ({"name": "a", "inner": {"size": [1, True]}}, "must be int, got True"),
        ({"name": "a", "inner": {"size": [1, 10**30]}}, "64 bits"),
        ({"name": "a", "inner": {"rate": float("nan")}}, "finite number"),
        ({"name": "a", "inner": {"rate": 16**9000}}, "too large to write"),
        ({"name": "a", "words": "x"}, "must be a list of texts"),
    ],
)
def test_what_does_not_fit_is_named(values: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build(Outer, values, "here")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"{"])
def test_what_is_no_json_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json is not readable JSON"):
        read_json(path)
    with pytest.raises(UserError, match="not readable JSON"):
        read_json(tmp_path)
    path.write_text("[1]")
    with pytest.raises(UserError, match="must hold a JSON object"):
        read_json_object(path)


def test_an_alias_may_not_stand_for_itself_or_for_billions(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    for text in ("\n".join(lines), "a: &a [*a]"):
        path.write_text(text)
        with pytest.raises(UserError, match="more values than a configuration can"):
            read_yaml(path)
    path.write_text("a: &a [1]\nb: *a")
    assert read_yaml(path) == {"a": [1], "b": [1]}
    for text in ("2001-01-01: 2001-13-99", "{{}: 1}", "!!python/object:os.system {}", "a: *b"):
        path.write_text(text)
        with pytest.raises(UserError, match="not valid YAML"):
            read_yaml(path)


def test_a_value_is_quoted_shortly() -> None:
    assert len(shown("x" * 10_000)) < 100
    assert len(shown([["y" * 10_000] * 100] * 100)) < 1000


def test_no_more_is_read_than_there_is(tmp_path: Path) -> None:
    """A record that names 2^62 bytes made the reader of bags reserve them."""
    (tmp_path / "a").write_bytes(b"12345")
    with (BoundedPath(tmp_path) / "a").open("rb") as file:
        assert file.read(2) == b"12"
        assert file.read(2**62) == b"345"
        file.seek(0)
        assert file.read() == b"12345"


def test_a_reader_that_a_library_lost_closes_its_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(FileNotFoundError):
        (BoundedPath(tmp_path) / "b").open("rb")
    reader = (BoundedPath(tmp_path) / "a").open("rb")
    number = reader.fileno()
    del reader  # warnings are errors here, that of an unclosed file too
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_json_in_a_message_may_be_anything() -> None:
    for text in ("[" * 100_000, "1" * 5000, "{", "[]"):
        with pytest.raises(ConversionError, match="status"):
            json_object_from_msg(SimpleNamespace(data=text), "status")
