# SPDX-License-Identifier: Apache-2.0
"""Entry points for `ros2 run physgen_policy train|convert`: the subcommands with the process's own arguments."""

from __future__ import annotations

import sys

from physgen_control.program.command_line import run_command


def train() -> int:
    """Run the training command."""
    from physgen_policy.commands import train as command

    return run_command("train", command.main, sys.argv[1:])


def convert() -> int:
    """Run the conversion of bags to a dataset."""
    from physgen_policy.commands import convert as command

    return run_command("convert", command.main, sys.argv[1:])
