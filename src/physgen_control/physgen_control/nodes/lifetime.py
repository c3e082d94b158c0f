# SPDX-License-Identifier: Apache-2.0
"""How a node's process starts and ends: one sentence for what is wrong, a quiet end when it is asked to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from physgen_control.errors import UserError
from physgen_control.nodes.stop_signals import StopSignals

N = TypeVar("N", bound=Node)


def run_node(
    name: str,
    make: Callable[[], N],
    *,
    spin: Callable[[N, StopSignals], None] | None = None,
    close: Callable[[N], object] = Node.destroy_node,
    refusals: tuple[type[Exception], ...] = (UserError,),
    args: list[str] | None = None,
) -> int:
    """Make a node, spin it until it is asked to stop, close it; return the process's exit status.

    A node ends itself with ExternalShutdownException.

    Args:
        name: What the sentence of a refusal starts with.
        make: Makes the node.
        spin: Runs the node until the signals ask it to stop; by default `StopSignals.spin`.
        close: Called with the context alive, so that a node may publish what it says last.
        refusals: Exceptions whose message says all there is to say; they become one line on stderr and status 2.
        args: ROS arguments; None: those of the command line.
    """
    with StopSignals() as signals:
        return _run(name, make, spin, close, refusals, args, signals)


def _run(
    name: str,
    make: Callable[[], N],
    spin: Callable[[N, StopSignals], None] | None,
    close: Callable[[N], object],
    refusals: tuple[type[Exception], ...],
    args: list[str] | None,
    signals: StopSignals,
) -> int:
    node: N | None = None
    try:
        signals.accept()
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make()
        if spin is None:
            signals.spin(node)
        else:
            spin(node, signals)
    except refusals as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # KeyboardInterrupt inside the middleware, while the node was made, comes out as an error of its own.
        if not signals.requested:
            raise
    finally:
        try:
            if node is not None:
                close(node)
        finally:
            with suppress(RCLError):
                rclpy.try_shutdown()
    return 0
