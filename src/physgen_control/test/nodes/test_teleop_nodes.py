# SPDX-License-Identifier: Apache-2.0
"""Teleoperation nodes as real processes over DDS: devices that are not there, a joystick device, episode buttons."""

from __future__ import annotations

import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from geometry_msgs.msg import TwistStamped
from node_rig import NodeProbe, node_starter
from sensor_msgs.msg import Joy

from physgen_control.bags.reader import read_episode
from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import episode_from_msg
from physgen_control.types import Episode, EpisodePhase
from physgen_msgs.msg import EpisodeInfo

pytestmark = pytest.mark.ros

DOMAIN = 47
WAIT_S = 150.0
START, SUCCESS, DISCARD = 7, 3, 6


class Listener(NodeProbe):
    """The controller's side of the topics, and a gamepad."""

    def __init__(self) -> None:
        super().__init__("listener", DOMAIN, WAIT_S)
        self.joys: list[Joy] = []
        self.twists: list[TwistStamped] = []
        self.episodes: list[Episode] = []
        create = self.node.create_subscription
        create(Joy, topics.TELEOP_JOY, self.joys.append, qos.COMMAND)
        create(TwistStamped, topics.TELEOP_TWIST, self.twists.append, qos.COMMAND)
        create(
            EpisodeInfo, topics.EPISODE_INFO, lambda m: self.episodes.append(episode_from_msg(m)), qos.LATCHED
        )
        self.pad = self.node.create_publisher(Joy, "/joy", qos.COMMAND)
        self.buttons = [0] * 12
        self.node.create_timer(0.05, lambda: self.pad.publish(Joy(axes=[0.0] * 8, buttons=self.buttons)))

    def press(self, *indices: int) -> None:
        self.buttons = [int(index in indices) for index in range(12)]


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with node_starter(DOMAIN) as start_module:

        def run(node: str, *words: str, **options: Any) -> subprocess.Popen[str]:
            return start_module(
                f"physgen_control.nodes.{node}", *words, options={"start_new_session": True} | options
            )

        yield run


@pytest.mark.parametrize(
    ("node", "word", "expected"),
    [
        ("spacemouse_teleop_node", "device:=pyspacemouse", "SpaceMouse"),
        ("spacemouse_teleop_node", "axis_map:=['+0']", "axis_map needs six entries"),
        ("joy_teleop_node", "device:=/no/such/js0", "cannot be opened"),
        ("joy_teleop_node", "start_index:=5", "two meanings"),
        ("gello_teleop_node", "joint_signs:=[1.0]", "joint_signs"),
        ("keyboard_teleop_node", "pulse:=0.2", "needs a terminal"),
    ],
)
def test_what_is_missing_is_one_sentence(
    start: Callable[..., subprocess.Popen[str]], node: str, word: str, expected: str
) -> None:
    process = start(node, word)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert expected in errors and "Traceback" not in errors
    assert len([line for line in errors.splitlines() if node in line]) == 1


def test_the_keyboard_node_explains_its_keys_without_ros() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "physgen_control.nodes.keyboard_teleop_node", "--help"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    assert "forward / back" in done.stdout and "Ctrl-C" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_keyboard_node_restores_its_terminal(
    listener: Listener, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    """Whatever signal ends it; here the terminal is only its standard input's, so it is named by the session."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = start(
        "keyboard_teleop_node",
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0),
    )
    listener.wait(lambda: listener.joys, "the node")
    assert termios.tcgetattr(slave)[3] & termios.ICANON == 0
    os.write(master, b"w")
    listener.wait(lambda: listener.twists, "a twist")
    assert listener.twists[0].twist.linear.x == pytest.approx(0.1)
    process.send_signal(number)
    assert process.wait(WAIT_S) == 0
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_a_joystick_device_is_read_in_the_node(
    listener: Listener, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    device = tmp_path / "js0"
    os.mkfifo(device)
    writer = os.open(device, os.O_RDWR)  # so that neither side waits for the other
    process = start("joy_teleop_node", f"device:={device}")
    os.write(writer, struct.pack("=IhBB", 0, -32767, 0x02, 1))  # stick forwards, deadman up
    listener.wait(lambda: len(listener.joys) > 5, "buttons")
    assert not listener.twists and not any(any(joy.buttons) for joy in listener.joys)
    os.write(writer, struct.pack("=IhBB", 0, 1, 0x01, 5))
    listener.wait(lambda: listener.twists, "a twist")
    assert listener.twists[0].twist.linear.x == pytest.approx(0.15)
    assert list(listener.joys[-1].buttons) == [1, 0, 0, 0, 0, 0, 0]
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 0
    os.close(writer)


def test_buttons_start_and_end_recorded_episodes(
    listener: Listener, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """As on the real arm: the recorder's services, one bag per episode with its outcome and operator."""
    start("recorder_node", f"bag_dir:={tmp_path}", "source:=real", "drain_s:=0.1")
    start("joy_teleop_node", "instruction:=pick up the cube", "operator:=tester")

    def press_until(button: int, condition: Callable[[], Any], what: str) -> None:
        """A person presses again when nothing happened: the recorder may not be there yet."""
        due = [0.0]

        def check() -> Any:
            if time.monotonic() > due[0]:
                listener.press(*([] if any(listener.buttons) else [button]))
                due[0] = time.monotonic() + 0.5
            return condition()

        listener.wait(check, what)
        listener.press()

    def phase() -> EpisodePhase | None:
        return listener.episodes[-1].phase if listener.episodes else None

    press_until(START, lambda: phase() == EpisodePhase.RUNNING, "an episode")
    first = listener.episodes[-1]
    assert first.instruction == "pick up the cube"
    press_until(SUCCESS, lambda: phase() == EpisodePhase.SUCCESS, "its success")
    press_until(START, lambda: phase() == EpisodePhase.RUNNING, "another episode")
    press_until(DISCARD, lambda: phase() == EpisodePhase.DISCARDED, "its end")
    assert listener.episodes[-1].episode_id != first.episode_id
    listener.wait(lambda: Path(first.bag_path).is_dir(), "the bag")
    assert read_episode(Path(first.bag_path)).outcome == EpisodePhase.SUCCESS
