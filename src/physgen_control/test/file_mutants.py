# SPDX-License-Identifier: Apache-2.0
"""Damaged copies of files, and the law for their readers: right data or a UserError, in bounded time and memory.

Every mutant follows from its number, so that a failure names the one to look at again.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
import yaml

from physgen_control.errors import UserError

READ_LIMIT_S = 20.0
"""Processor time of a read; a machine that does other work is not a read that hangs."""
STUCK_S = 300.0
"""Of wall time: a read that waits for something uses no processor."""
MEMORY_LIMIT = 1 << 30
"""What a read of a file of some kilobytes may reserve beyond what the process has."""

HUGE = (2**31 - 1, 2**32 - 1, 10**12, 2**63 - 1, 2**64 - 1)
ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2.5, 3000, 100_000, 10**12, -(10**12), 10**30, 10**400, 1e308, float("nan"), float("inf"),
    "", "x", "x" * 5000,
    "\0\ud7ff\u202e", [], {}, [[]], [1, "a", None], {"a": 1}, [{}], [None] * 50, {"": {"": {"": []}}},
)  # fmt: skip
ODD_TEXTS = (
    b"", b"\xff\xfe\x00\x80", b"\x00" * 64, b"[" * 20_000, b"{}", b"[]", b"null", b"NaN", b"1", b'"text"',
    b"{" * 20_000,
    b"a: &a [*a]", b"a: *nobody", b"!!python/object:os.system {}", b"\t- x", b"? [a, b]\n: c", b"{[]: 1}",
    b"1" * 10_000,
    b"2001-01-01: 2001-13-99", b"\xef\xbb\xbf{}", b"- 1\n" * 2_000,
)  # fmt: skip


class TooSlowError(BaseException):
    """A read took longer than it may; no reader catches it."""


def damaged_bytes(data: bytes, random: Random) -> bytes:
    """Return the bytes with one kind of damage."""
    out = bytearray(data)
    size = max(len(out), 1)
    # Heads and tails of files hold what everything else is found by.
    place = random.choice(
        [
            random.randrange(size),
            random.randrange(min(size, 256)),
            size - 1 - random.randrange(min(size, 512)),
        ]
    )
    length = random.choice([1, 4, 16, 64, 512])
    other = random.randrange(size)
    match random.randrange(9):
        case 0:
            for _ in range(random.choice([1, 1, 2, 8, 64])):
                spot = random.choice([place, random.randrange(size)])
                if spot < len(out):
                    out[spot] ^= 1 << random.randrange(8)
        case 1:
            del out[place:]
        case 2:
            del out[:length]
        case 3:
            out[place : place + length] = bytes(len(out[place : place + length]))
        case 4:
            one, two = out[place : place + length], out[other : other + length]
            out[place : place + length], out[other : other + length] = two, one
        case 5:
            out[place:place] = out[other : other + length]
        case 6:
            width = random.choice([2, 4, 8])
            value = random.choice(HUGE) & (256**width - 1)
            out[place : place + width] = value.to_bytes(width, random.choice(["little", "big"]))
        case 7:
            out[place : place + length] = random.randbytes(length)
        case _:
            out += random.randbytes(length)
    return bytes(out)


def damaged_value(value: Any, random: Random) -> Any:
    """Return nested plain values with one entry changed, removed, renamed or added."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.1:
        return random.choice(ODD_VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = random.choice(keys)
    out = dict(value) if isinstance(value, dict) else list(value)
    match random.randrange(8):
        case 0:
            del out[key]
        case 1 if isinstance(out, dict):
            out[random.choice(["", "x", "__class__", 7])] = out.pop(key)
        case 2 if isinstance(out, list):
            out.append(random.choice([out[key], *ODD_VALUES]))
        case 3:
            out[key] = random.choice([value[random.choice(keys)], *ODD_VALUES])
        case _:
            out[key] = damaged_value(out[key], random)
    return out


def damaged_text(data: bytes, suffix: str, random: Random) -> bytes:
    """Return a damaged JSON or YAML text."""
    if random.random() < 0.25:
        return damaged_bytes(data, random)
    if random.random() < 0.1:
        return random.choice(ODD_TEXTS)
    try:
        value = json.loads(data) if suffix == ".json" else yaml.safe_load(data)
    except (ValueError, yaml.YAMLError):  # damaged once before
        return damaged_bytes(data, random)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        value = damaged_value(value, random)
    if suffix == ".json":
        return json.dumps(value).encode()
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def damaged_file(path: Path, random: Random) -> None:
    """Damage one file where it lies."""
    kind = random.randrange(20)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.unlink()
        path.mkdir()
    elif kind == 2:
        path.write_bytes(b"")
    elif path.suffix in (".json", ".yaml"):
        path.write_bytes(damaged_text(path.read_bytes(), path.suffix, random))
    else:
        path.write_bytes(damaged_bytes(path.read_bytes(), random))


def damaged_copy(source: Path, target: Path, random: Random) -> Path:
    """Return a copy of a file or folder with one of its files damaged."""
    if target.is_file():
        target.unlink()
    shutil.rmtree(target, ignore_errors=True)
    if source.is_file():
        shutil.copyfile(source, target)
        damaged_file(target, random)
        return target
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    for _ in range(random.choice([1, 1, 1, 2])):
        file = random.choice(files)
        if file.is_file():
            damaged_file(file, random)
    return target


def check_reader(
    numbers: range, prepare: Callable[[Random], Any], read: Callable[[Any], object]
) -> Counter[str]:
    """Read the mutants of these numbers; fail with all that broke the law.

    Returns:
        How many were read and how many refused.
    """
    results: Counter[str] = Counter()
    broken: list[str] = []
    for number in numbers:
        subject = prepare(Random(number))
        try:
            with bounded():
                read(subject)
            results["read"] += 1
        except UserError as error:
            results["refused"] += 1
            if "\n\n" in str(error) or not str(error):
                broken.append(f"mutant {number}: no sentence: {str(error)[:200]!r}")
        except (Exception, TooSlowError) as error:  # noqa: BLE001  (what a reader may not raise is looked for)
            place = error.__traceback__
            while place and place.tb_next:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
            broken.append(f"mutant {number}: {type(error).__name__}: {str(error)[:200]} at {where}")
    if broken:
        pytest.fail(f"{len(broken)} of {len(numbers)} mutants broke the law:\n" + "\n".join(broken[:40]))
    return results


@contextmanager
def bounded() -> Iterator[None]:
    """Bound time and memory of what runs inside: TooSlowError, MemoryError."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        spent = f"{READ_LIMIT_S:g} s of the processor" if number == signal.SIGPROF else f"{STUCK_S:g} s"
        raise TooSlowError(f"longer than {spent}")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, READ_LIMIT_S),
        (signal.ITIMER_REAL, signal.SIGALRM, STUCK_S),
    )
    handlers = [signal.signal(number, stop) for _, number, _ in timers]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_LIMIT, hard))
    for timer, _, limit_s in timers:
        signal.setitimer(timer, limit_s)
    try:
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0.0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for (_, number, _), handler in zip(timers, handlers, strict=True):
            signal.signal(number, handler)
