# SPDX-License-Identifier: Apache-2.0
"""`physgen python ...`: the interpreter of the stack, with everything that its commands can import."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace this process by the interpreter; arguments are those of python."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    sys.exit(main())
