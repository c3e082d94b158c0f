# SPDX-License-Identifier: Apache-2.0
"""`physgen python ...`: the interpreter of the stack, with everything that its commands can import."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

HELP = """usage: physgen python [SCRIPT | -c LINE | -m MODULE] [ARGUMENTS]

Run Python with everything that the commands of the stack import: physgen, its packages, their messages, torch.
The arguments are those of python itself.

example:
  physgen python examples/five_lines.py
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace this process by the interpreter; arguments are those of python."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["-h"], ["--help"]):
        sys.stdout.write(HELP)
        return 0
    sys.stdout.flush()
    return os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    sys.exit(main())
