# SPDX-License-Identifier: Apache-2.0
"""How much commands tell: one variable of the environment, so that the processes of a command know it too."""

from __future__ import annotations

import os
from collections.abc import Sequence

VARIABLE = "PHYSGEN_VERBOSITY"
QUIET, NORMAL, VERBOSE = "quiet", "normal", "verbose"
FLAGS = {"-q": QUIET, "--quiet": QUIET, "-v": VERBOSE, "--verbose": VERBOSE}


def is_quiet() -> bool:
    """Results and errors only."""
    return os.environ.get(VARIABLE) == QUIET


def is_verbose() -> bool:
    """Every line of every node, and the traceback of an error."""
    return os.environ.get(VARIABLE) == VERBOSE


def take_flags(words: Sequence[str]) -> list[str]:
    """Return the words without -q, --quiet, -v and --verbose, which are kept in the environment; none behind `--`."""
    end = list(words).index("--") if "--" in words else len(words)
    kept = []
    for word in words[:end]:
        if word in FLAGS:
            os.environ[VARIABLE] = FLAGS[word]
        else:
            kept.append(word)
    return [*kept, *words[end:]]
