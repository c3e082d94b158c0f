# SPDX-License-Identifier: Apache-2.0
"""How commands end: bad input is one sentence and status 2, Ctrl-C and SIGTERM are quiet, a bug keeps its traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from physgen_control.errors import UserError
from physgen_control.program.verbosity import is_verbose

USAGE_STATUS = 2
INTERRUPT_STATUS, TERMINATE_STATUS = 130, 143
BROKEN_PIPE_STATUS = 141


class TerminatedError(KeyboardInterrupt):
    """SIGTERM asked the command to end; handled as Ctrl-C is."""


def run_command(name: str, main: Callable[[list[str]], int], arguments: Sequence[str]) -> int:
    """Run a command's `main` and return its exit status.

    Args:
        name: What the sentence of a `UserError` starts with, for example `physgen demo`.
        main: Takes the arguments after the command's name, returns the exit status.
        arguments: The arguments after the command's name.

    Raises:
        UserError: Only with PHYSGEN_DEBUG=1, so that its traceback is seen.
    """
    try:
        with suppress(ValueError):  # not the main thread: a test
            signal.signal(signal.SIGTERM, _terminate)
        return main(list(arguments))
    except UserError as error:
        if os.environ.get("PHYSGEN_DEBUG") == "1" or is_verbose():
            raise
        sentence = " ".join(str(error).split())
        sys.stderr.write(f"{name}: {sentence}\n")
        return USAGE_STATUS
    except TerminatedError:
        return TERMINATE_STATUS
    except KeyboardInterrupt:
        return INTERRUPT_STATUS
    except BrokenPipeError:
        # The reader (`| head`) went away; without this, Python complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
    raise TerminatedError
