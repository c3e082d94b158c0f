# SPDX-License-Identifier: Apache-2.0
"""Two cameras and a robot state at fixed rates for one recorded episode: the load of `physgen bench recorder`.

Image number k of a camera is stamped start + k / rate, so the bag tells which numbers were dropped.
"""

from __future__ import annotations

import argparse
import array
import json
import sys
import time
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.images import image_to_msg
from physgen_msgs.srv import StartEpisode, StopEpisode

PATTERNS = 8
"""Different images per camera, shown in turn."""
WAIT_S = 120.0
WARM_UP_FRAMES = 30


def camera_image(width: int, height: int, number: int) -> np.ndarray:
    """Return an image uint8 [height, width, 3] that compresses about as a camera's does: areas, edges, noise."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shade = 90.0 + 60.0 * np.sin(x / 90.0 + number) + 40.0 * np.cos(y / 70.0)
    blocks = 50.0 * (((x // 40 + y // 40 + number) % 3) == 0)
    rgb = np.stack([shade + blocks, shade * 0.8 + 20.0, 200.0 - shade], axis=-1)
    rgb += random.normal(0.0, 3.0, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8)


class CameraLoadNode(Node):
    """Publishes on a schedule that never skips: a late image is sent late, not left out."""

    def __init__(self, width: int, height: int, rate_hz: float) -> None:
        super().__init__("camera_load_node")
        self.rate_hz = rate_hz
        self.statuses: list[dict[str, Any]] = []
        self._cameras = [
            self.create_publisher(Image, topics.image_topic(camera), qos.SENSOR_WRITER)
            for camera in topics.CAMERAS
        ]
        self._joints = self.create_publisher(JointState, topics.JOINT_STATES, qos.SENSOR_WRITER)
        self._pose = self.create_publisher(PoseStamped, topics.CURRENT_POSE, qos.SENSOR_WRITER)
        self.create_subscription(
            String,
            topics.RECORDER_STATUS,
            lambda message: self.statuses.append(json.loads(message.data)),
            qos.LATCHED,
        )
        self._begin = self.create_client(StartEpisode, topics.START_EPISODE)
        self._end = self.create_client(StopEpisode, topics.STOP_EPISODE)
        self._images = [
            [
                image_to_msg(camera_image(width, height, i + 100 * c), 0, f"camera_{name}")
                for i in range(PATTERNS)
            ]
            for c, name in enumerate(topics.CAMERAS)
        ]
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def run(self, seconds: float) -> dict[str, Any]:
        """Record one episode of that length; return what was sent and how late.

        Raises:
            RuntimeError: The recorder refused to start or to end the episode.
        """
        self._wait(lambda: self._begin.service_is_ready() and self._end.service_is_ready(), "the recorder")
        everyone = [*self._cameras, self._joints, self._pose]
        self._wait(lambda: all(p.get_subscription_count() for p in everyone), "the recorder's subscriptions")
        # Shared memory and caches are touched before the measurement; these stamps lie before the episode.
        self._send(WARM_UP_FRAMES, 0)
        answer = self._call(self._begin, StartEpisode.Request(instruction="benchmark", task="bench"))
        if not answer.success:
            raise RuntimeError(answer.message)
        self._wait(lambda: self.statuses and self.statuses[-1]["state"] == "recording", "the recording")
        start_ns = self.get_clock().now().nanoseconds
        frames = round(seconds * self.rate_hz)
        late = self._send(frames, start_ns)
        end = time.monotonic()
        answer = self._call(self._end, StopEpisode.Request(outcome=2))
        path = answer.bag_path
        self._wait(
            lambda: self.statuses[-1].get("bag_path") == path and self.statuses[-1]["state"] == "ready",
            "the bag",
        )
        return {
            "frames": frames,
            "start_ns": start_ns,
            "rate_hz": self.rate_hz,
            "bag": path,
            "late_ms_p50": float(np.percentile(late, 50)),
            "late_ms_p99": float(np.percentile(late, 99)),
            "finish_s": time.monotonic() - end,
            "health": next((s["health"] for s in reversed(self.statuses) if "health" in s), None),
        }

    def _send(self, frames: int, start_ns: int) -> list[float]:
        """Send images, and three robot states with each pair; return how late each pair was [ms]."""
        period_s = 1.0 / self.rate_hz
        begin = time.monotonic()
        late = []
        for number in range(frames):
            due = begin + number * period_s
            time.sleep(max(0.0, due - time.monotonic()))
            late.append((time.monotonic() - due) * 1e3)
            stamp_ns = start_ns + stamp_offset_ns(number, self.rate_hz)
            for publisher, images in zip(self._cameras, self._images, strict=True):
                message = images[number % PATTERNS]
                _stamp(message.header, stamp_ns)
                publisher.publish(message)
            for part in range(3):
                self._send_state(stamp_ns + round(part * period_s * 1e9 / 3))
            self._executor.spin_once(timeout_sec=0.0)
        return late

    def _send_state(self, stamp_ns: int) -> None:
        joints = JointState(
            name=[f"fr3_joint{i}" for i in range(1, 8)] + ["fr3_finger_joint1", "fr3_finger_joint2"],
            position=array.array("d", [0.1] * 9),
            velocity=array.array("d", [0.0] * 9),
        )
        pose = PoseStamped()
        pose.pose.orientation.w = 1.0
        pose.header.frame_id = "base"
        for publisher, message in ((self._joints, joints), (self._pose, pose)):
            _stamp(message.header, stamp_ns)
            publisher.publish(message)

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        self._wait(future.done, "an answer of the recorder")
        return future.result()

    def _wait(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            self._executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {WAIT_S:.0f} s for {what}")


def stamp_offset_ns(number: int, rate_hz: float) -> int:
    """Return the stamp of image `number` after the start [ns]."""
    return round(number * 1e9 / rate_hz)


def _stamp(header: Any, stamp_ns: int) -> None:
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)


def main(arguments: list[str] | None = None) -> int:
    """Run the load and print one JSON object."""
    parser = argparse.ArgumentParser(prog="camera_load_node", description=__doc__)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args(arguments)
    rclpy.init()
    node = CameraLoadNode(options.width, options.height, options.rate)
    try:
        sys.stdout.write(json.dumps(node.run(options.seconds)) + "\n")
    except RuntimeError as error:
        sys.stderr.write(f"camera_load_node: {error}\n")
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
