# SPDX-License-Identifier: Apache-2.0
"""Named QoS profiles: the one place where reliability, durability and depth are chosen."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability
    )


# Camera and state writers offer reliable delivery (as realsense2_camera does), so any reader matches.
SENSOR_WRITER = _profile(5, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
# Readers of live sensors prefer fresh over complete: a lost image must not delay the next one.
SENSOR_READER = _profile(2, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
# In lockstep the world waits for an answer to every observation: none may be lost.
LOCKSTEP_READER = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
# Robot state of the real driver is best effort; a depth of 5 covers one scheduling hiccup at 100 Hz.
STATE_READER = _profile(5, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
# Commands and their answers must all arrive, and soon: a short queue shows a stuck reader early.
COMMAND = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
# Whoever joins late must learn the current state at once.
LATCHED = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
# Recorders take everything, in bursts too.
RECORDER = _profile(200, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
