# SPDX-License-Identifier: Apache-2.0
"""A process whose messages wait for nobody: DDS over UDP only.

Fast DDS guards a reader's shared memory by a lock between processes. A process that stands still (stopped, swapped out,
frozen by a debugger) while it holds that lock holds up every process that writes to it, for as long as it stands still:
the supervision of an arm among them. A socket is never waited for.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Fast DDS 2.x reads the first, 3.x the second."""

RANGE, LOCALHOST = "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"
IMPLEMENTATION, FAST_DDS = "RMW_IMPLEMENTATION", "rmw_fastrtps"
NAMES_ITS_PEERS = "<initialPeersList>"


def without_shared_memory(environment: MutableMapping[str, str]) -> None:
    """Choose for this process the profile NAME_udp.xml beside NAME.xml; call it before the context is made.

    A profile without such a neighbour is the user's own and stays; without any profile UDP is asked for by name.
    Another middleware than Fast DDS reads no profile: nothing is changed.
    """
    if not environment.get(IMPLEMENTATION, FAST_DDS).startswith(FAST_DDS):
        return
    for variable in PROFILE_VARIABLES:
        path = Path(environment.get(variable, ""))
        neighbour = path.with_name(f"{path.stem}_udp.xml") if path.suffix == ".xml" else path
        if neighbour == path or not neighbour.is_file():
            continue
        environment[variable] = str(neighbour)
        # rmw_fastrtps adds shared memory to LOCALHOST. Only a profile that says itself whom it finds may do without it.
        local = environment.get(RANGE, LOCALHOST) == LOCALHOST
        if local and NAMES_ITS_PEERS in neighbour.read_text(encoding="utf-8"):
            environment[RANGE] = "SYSTEM_DEFAULT"
    environment.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
