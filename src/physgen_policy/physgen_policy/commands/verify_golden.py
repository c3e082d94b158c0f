# SPDX-License-Identifier: Apache-2.0
"""`physgen verify-golden DIR`: numerical parity of our modules with recorded tensors of the NOVA reference network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen verify-golden",
        description="Compare our modules, tensor by tensor, with tensors recorded from the NOVA reference network.",
        examples=("physgen verify-golden golden",),
    )
    parser.add_argument(
        "folder", type=Path, help="folder with *.io.safetensors, *.weights.safetensors, *.config.json"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when every tensor is within tolerance, 1 when not; raises UserError for unusable input."""
    options = build_parser().parse_args(arguments)
    from physgen_control.program.progress import Progress
    from physgen_policy.golden.folder import verify_folder

    progress = Progress()
    results = []
    with progress.stage(f"comparing with {options.folder}"):
        for result in verify_folder(options.folder):
            results.append(result)
            verdict = "ok" if result.ok else "FAIL"
            note = f"  {result.problem}" if result.problem else ""
            progress.result(
                f"{result.name:60s} {result.error:9.2e}  limit {result.tolerance:.0e}  {verdict}{note}"
            )
    failed = [result for result in results if not result.ok]
    within = len(results) - len(failed)
    progress.result(f"{len(results)} tensors compared, {within} within tolerance, {len(failed)} not")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
