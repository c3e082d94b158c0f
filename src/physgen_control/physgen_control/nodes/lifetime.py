# SPDX-License-Identifier: Apache-2.0
"""How a node's process starts and ends: one sentence for what is wrong, a quiet end on SIGINT.

rclpy's own signal handler may shut the context down at any moment of ours: between a check and a publish, while an
executor prepares its wait, between two steps of a shutdown. None of that is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from physgen_control.errors import UserError

N = TypeVar("N", bound=Node)


def shutdown() -> None:
    """Shut rclpy down, whoever comes first."""
    with suppress(RCLError):  # between try_shutdown's check and its call the handler may have done it
        rclpy.try_shutdown()


def run_node(
    name: str,
    make: Callable[[], N],
    *,
    spin: Callable[[N], None] = rclpy.spin,
    close: Callable[[N], object] = Node.destroy_node,
    refusals: tuple[type[Exception], ...] = (UserError,),
    args: list[str] | None = None,
) -> int:
    """Make a node, spin it until it is asked to stop, close it; return the process's exit status.

    refusals: exceptions whose message says all there is to say; they become one line on stderr and status 2.
    """
    rclpy.init(args=args)
    node: N | None = None
    try:
        node = make()
        spin(node)
    except refusals as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RCLError:
        if rclpy.ok():  # otherwise the context went away in the middle of a call
            raise
    finally:
        if node is not None:
            with suppress(RCLError):  # the context may be gone already
                close(node)
        shutdown()
    return 0
