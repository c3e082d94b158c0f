# SPDX-License-Identifier: Apache-2.0
"""Runs the shards of an evaluation on a Ray cluster; Ray is optional and imported only here.

Every node needs this checkout with its environment at the same path. A shard's files travel as text: what is finished
goes out with the task, what came back is written here, so an interrupted run continues on whatever nodes are there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from physgen_bringup.evaluation.shards import shard_folder
from physgen_bringup.results.results import FILE_NAME
from physgen_bringup.results.whole_file import write_atomically
from physgen_control.errors import UserError

CRASHED_STATUS = 1
"""Exit status of an evaluation in which an episode crashed: its results are complete all the same."""


def run_shard(words: Sequence[str], shard: tuple[int, int], files: dict[str, str]) -> dict[str, str]:
    """Run one shard in a temporary folder of this machine; return its result files.

    Args:
        words: Arguments of `physgen eval` without --out and --shard.
        shard: (i, n).
        files: Texts of earlier result files by their path in the shard's folder.

    Raises:
        RuntimeError: The evaluation failed; its last words.
    """
    with tempfile.TemporaryDirectory(prefix="physgen-shard-") as name:
        out = Path(name)
        folder = shard_folder(out, shard)
        write_files(folder, files)
        command = [sys.executable, "-m", "physgen_bringup.cli", "eval", "--quiet", *words]
        command += ["--shard", f"{shard[0]}/{shard[1]}", "--out", str(out)]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        results = read_files(folder)
        if done.returncode not in (0, CRASHED_STATUS) or not results:
            raise RuntimeError(f"shard {shard[0]} of {shard[1]} failed: {done.stdout[-2000:]}")
        return results


def read_files(folder: Path) -> dict[str, str]:
    """Return the result files below a folder, by their relative path."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob(FILE_NAME))}


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write what read_files returned into a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)


def run_on_ray(
    words: Sequence[str], count: int, out: Path, address: str, say: Callable[[str], None]
) -> list[Path]:
    """Run `count` shards on the cluster at `address` ("" or "local": this machine); return their folders.

    Raises:
        UserError: Ray is not installed, the cluster does not answer, or a shard failed.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--ray needs the package ray, which is not installed: add it with `.physgen/venv/bin/pip install ray`, or "
            "run the shards by hand with --shard I/N"
        ) from error
    try:
        ray.init(address=None if address in ("", "local") else address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {address!r}: {' '.join(str(error).split())}") from error
    try:
        remote = ray.remote(max_retries=2)(run_shard)
        folders = {shard: shard_folder(out, shard) for shard in ((i, count) for i in range(1, count + 1))}
        waiting = {
            remote.remote(list(words), shard, read_files(folder)): shard for shard, folder in folders.items()
        }
        while waiting:
            [first], _ = ray.wait(list(waiting), num_returns=1)
            shard = waiting.pop(first)
            try:
                write_files(folders[shard], ray.get(first))
            except ray.exceptions.RayError as error:
                raise UserError(f"shard {shard[0]} of {count} failed on the cluster: {error}") from error
            say(f"shard {shard[0]} of {count} is done")
    finally:
        ray.shutdown()
    return list(folders.values())
