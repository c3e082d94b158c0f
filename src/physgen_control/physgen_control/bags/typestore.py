# SPDX-License-Identifier: Apache-2.0
"""The types of our messages for rosbags: ROS 2 Jazzy plus physgen_msgs, read from its .msg files."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from physgen_control.bags.errors import BagError


def message_folder() -> Path:
    """Return the folder with the .msg files of physgen_msgs: the installed package, else the source tree.

    Raises:
        BagError: Neither exists.
    """
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    candidates = [prefix / "share" / "physgen_msgs" / "msg" for prefix in prefixes]
    candidates += [parent / "physgen_msgs" / "msg" for parent in Path(__file__).resolve().parents]
    for candidate in candidates:
        if (candidate / "AppliedAction.msg").is_file():
            return candidate
    raise BagError(
        "The message definitions of physgen_msgs were not found, neither installed (AMENT_PREFIX_PATH) "
        "nor next to this package: source the workspace or run from the repository."
    )


@cache
def typestore() -> Typestore:
    """Return the shared type store; its message classes are read-only after this call."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted(message_folder().glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"physgen_msgs/msg/{path.stem}"))
    store.register(types)
    return store


def definition(message_type: str) -> tuple[str, str]:
    """Return the full text definition (with dependencies) and the RIHS01 hash of a message type.

    Raises:
        BagError: The type is neither of ROS 2 Jazzy nor of physgen_msgs.
    """
    store = typestore()
    if message_type not in store.types:
        raise BagError(f"The message type {message_type!r} is neither of ROS 2 Jazzy nor of physgen_msgs.")
    text, _ = store.generate_msgdef(message_type, ros_version=2)
    return text, store.hash_rihs01(message_type)
