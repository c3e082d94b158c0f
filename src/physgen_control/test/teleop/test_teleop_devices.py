# SPDX-License-Identifier: Apache-2.0
"""Keyboard, SpaceMouse and gamepad as pure functions of what was pressed."""

from __future__ import annotations

import os
import pty
import struct
import termios

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physgen_control.errors import UserError
from physgen_control.teleop.axes import AxisMap, twist_of, without_dead_zone
from physgen_control.teleop.command import EPISODE_BUTTONS, RELEASED, Button, TeleopCommand
from physgen_control.teleop.episode_buttons import EpisodeButtons
from physgen_control.teleop.gamepad import Gamepad, GamepadConfig
from physgen_control.teleop.joystick import JoystickState
from physgen_control.teleop.keyboard import Keyboard, KeyboardConfig
from physgen_control.teleop.keys import HELP, KEYS, KeyParser, Motion, Special
from physgen_control.teleop.six_axis import SixAxis, SixAxisConfig
from physgen_control.teleop.terminal import Terminal, has_terminal

S_NS = 1_000_000_000
ANY = st.floats(allow_nan=True, allow_infinity=True)
deflections = arrays(np.float64, 6, elements=st.floats(-1, 1))
moments = st.integers(0, 3 * S_NS)
keys = st.sampled_from([*KEYS, "z", "~"])


# --- keys ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=60), st.integers(0, 60))
@example(b"\x1b[A", 1)
@example(b"\x1b[5~w", 2)
def test_keys_do_not_depend_on_how_the_bytes_arrive(data: bytes, cut: int) -> None:
    whole, split = KeyParser(), KeyParser()
    assert whole.feed(data) == split.feed(data[:cut]) + split.feed(data[cut:])


def test_special_keys_of_a_terminal_have_names() -> None:
    typed = b"w\x1b[A\x1bOB\x1b[5~\x1b[1;5C\x00\xff\x04 +"
    assert KeyParser().feed(typed) == ["w", "up", "down", "page up", "quit", " ", "+"]


def test_the_help_names_every_key() -> None:
    for key in (key for key in KEYS if len(key) == 1 and key not in " =?"):
        assert f" {key} " in HELP or f" {key}\n" in HELP, key
    assert {meaning for meaning in KEYS.values() if isinstance(meaning, Motion)} == {
        Motion(axis, sign) for axis in range(6) for sign in (1, -1)
    }


# --- keyboard -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(moments, keys), max_size=30), moments)
def test_an_untouched_keyboard_moves_nothing(presses: list[tuple[int, str]], wait_ns: int) -> None:
    """Whatever was typed: after the longest pulse the deadman is up, unless the arm is held on purpose, at rest."""
    config = KeyboardConfig()
    keyboard = Keyboard(config)
    now_ns = 0
    for now_ns, key in sorted(presses):
        keyboard.press(key, now_ns)
        command = keyboard.command(now_ns)
        assert np.all(np.abs(command.twist[:3]) <= 2 * config.key_speed)
        assert np.all(np.abs(command.twist[3:]) <= 2 * config.key_turn_rate)
        assert command.deadman or not np.any(command.twist)
    later = keyboard.command(now_ns + round(config.gripper_pulse * S_NS) + wait_ns)
    assert not np.any(later.twist)
    assert later.buttons == (frozenset({Button.DEADMAN}) if keyboard.holding else frozenset())


@given(st.sampled_from([key for key, meaning in KEYS.items() if isinstance(meaning, Motion)]), moments)
def test_a_motion_key_moves_its_axis_for_one_pulse(key: str, now_ns: int) -> None:
    config = KeyboardConfig()
    keyboard = Keyboard(config)
    keyboard.press(key, now_ns)
    twist = keyboard.command(now_ns).twist
    motion = KEYS[key]
    assert isinstance(motion, Motion)
    speed = config.key_speed if motion.axis < 3 else config.key_turn_rate
    assert np.flatnonzero(twist).tolist() == [motion.axis]
    assert twist[motion.axis] == motion.sign * speed
    after = keyboard.command(now_ns + round(config.pulse * S_NS))
    assert not after.deadman and not np.any(after.twist)


def test_space_stops_at_once_and_keeps_the_gripper() -> None:
    keyboard = Keyboard(KeyboardConfig())
    for key in "wqct":
        keyboard.press(key, 0)
    assert keyboard.command(0).gripper == -1.0
    keyboard.press(" ", 1)
    assert keyboard.command(1).buttons == frozenset() and not np.any(keyboard.command(1).twist)


def test_speed_keys_stay_within_their_range() -> None:
    keyboard = Keyboard(KeyboardConfig())
    for _ in range(10):
        assert keyboard.press("+", 0) is Special.FASTER
    assert keyboard.factor == 2.0
    for _ in range(20):
        keyboard.press("-", 0)
    assert keyboard.factor == 0.25
    keyboard.press("w", 0)
    assert keyboard.command(0).twist[0] == pytest.approx(0.25 * 0.1)


def test_holding_the_arm_needs_no_motion_and_ends_with_the_same_key() -> None:
    keyboard = Keyboard(KeyboardConfig())
    keyboard.press("t", 0)
    held = keyboard.command(60 * S_NS)
    assert held.deadman and not held.acts
    keyboard.press("t", 60 * S_NS)
    assert not keyboard.command(60 * S_NS).deadman


# --- axes ---------------------------------------------------------------------------------------------------------


@given(arrays(np.float64, 6, elements=st.floats(-5, 5)), st.floats(0, 0.9))
def test_a_dead_zone_is_odd_bounded_monotone_and_zero_at_rest(values: np.ndarray, dead_zone: float) -> None:
    shaped = without_dead_zone(values, dead_zone)
    assert np.all(np.abs(shaped) <= 1.0)
    np.testing.assert_array_equal(without_dead_zone(-values, dead_zone), -shaped)
    assert not np.any(shaped[np.abs(values) <= dead_zone])
    assert np.all(shaped[np.abs(values) >= 1.0] == np.sign(values[np.abs(values) >= 1.0]))
    order = np.argsort(values)
    assert np.all(np.diff(shaped[order]) >= 0)


@given(deflections, st.floats(0.001, 1), st.floats(0.001, 3))
def test_a_diagonal_is_not_faster_than_an_axis(values: np.ndarray, speed: float, turn_rate: float) -> None:
    twist = twist_of(values, speed, turn_rate)
    assert np.linalg.norm(twist[:3]) <= speed * (1 + 1e-12)
    assert np.linalg.norm(twist[3:]) <= turn_rate * (1 + 1e-12)


@given(
    st.lists(st.tuples(st.sampled_from("+-"), st.integers(0, 12)), min_size=6, max_size=6),
    st.lists(ANY, max_size=10),
)
def test_an_axis_map_takes_the_named_axes_and_nothing_that_is_missing(
    entries: list[tuple[str, int]], axes: list[float]
) -> None:
    found = AxisMap.of([f"{sign}{index}" for sign, index in entries]).apply(axes)
    for value, (sign, index) in zip(found, entries, strict=True):
        known = index < len(axes) and np.isfinite(axes[index])
        assert value == ((1 if sign == "+" else -1) * axes[index] if known else 0.0)


@pytest.mark.parametrize(
    "entries", [["+0"] * 5, ["+0"] * 5 + ["0"], ["+0"] * 5 + ["x"], ["+0"] * 5 + ["+123"]]
)
def test_a_bad_axis_map_is_one_sentence(entries: list[str]) -> None:
    with pytest.raises(UserError, match="axis_map"):
        SixAxisConfig(axis_map=tuple(entries))


# --- SpaceMouse ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(moments, deflections, st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_a_puck_at_rest_gives_the_arm_back(readings: list[tuple[int, np.ndarray, bool, bool]]) -> None:
    config = SixAxisConfig()
    core = SixAxis(config)
    now_ns = 0
    for now_ns, axes, left, right in sorted(readings, key=lambda reading: reading[0]):
        command = core.read(axes, [int(left), int(right)], now_ns)
        assert command.deadman or not np.any(command.twist)
        assert np.any(np.abs(axes) > config.dead_zone) <= command.deadman
        assert (Button.CLOSE in command.buttons, Button.OPEN in command.buttons) == (left, right)
    rest = core.read(np.zeros(6), [0, 0], now_ns + S_NS)
    assert rest.buttons == frozenset() and not np.any(rest.twist)


def test_the_puck_lingers_and_a_lost_device_does_not() -> None:
    core = SixAxis(SixAxisConfig(linger=0.5))
    assert core.read([1, 0, 0, 0, 0, 0], [], 0).twist[0] == pytest.approx(0.15)
    lingering = core.read([0.1, 0, 0, 0, 0, 0], [], S_NS // 4)
    assert lingering.deadman and not lingering.acts
    core.lost()
    assert not core.read([0.1, 0, 0, 0, 0, 0], [], S_NS // 4).deadman


# --- gamepad ------------------------------------------------------------------------------------------------------


@given(st.lists(ANY, max_size=10), st.lists(st.integers(0, 1), max_size=14))
def test_a_gamepad_reads_any_pad_without_surprise(axes: list[float], buttons: list[int]) -> None:
    config = GamepadConfig()
    command = Gamepad(config).read(axes, buttons)
    assert (
        np.all(np.isfinite(command.twist))
        and np.linalg.norm(command.twist[:3]) <= config.linear_speed + 1e-12
    )
    down = {index for index, value in enumerate(buttons) if value}
    assert command.buttons == {button for button, index in config.indices().items() if index in down}


def test_one_button_has_one_meaning() -> None:
    with pytest.raises(UserError, match="two meanings"):
        GamepadConfig(start_index=5)
    GamepadConfig(start_index=-1, success_index=-1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1), st.integers(-32768, 32767), st.integers(0, 255), st.integers(0, 255)
        ),
        max_size=20,
    ),
    st.integers(1, 16),
)
def test_joystick_events_do_not_depend_on_how_the_bytes_arrive(
    events: list[tuple[int, int, int, int]], piece: int
) -> None:
    data = b"".join(struct.pack("=IhBB", *event) for event in events)
    whole, pieces = JoystickState(), JoystickState()
    whole.feed(data)
    for start in range(0, len(data), piece):
        pieces.feed(data[start : start + piece])
    assert (whole.axes, whole.buttons) == (pieces.axes, pieces.buttons)
    assert all(-1.0 <= value <= 1.0 for value in whole.axes)


def test_joystick_axes_point_as_those_of_joy_node() -> None:
    state = JoystickState()
    state.feed(struct.pack("=IhBB", 0, -32767, 0x82, 1) + struct.pack("=IhBB", 0, 1, 0x81, 5))
    assert state.axes == [0.0, 1.0] and state.buttons == [0, 0, 0, 0, 0, 1]


# --- episode buttons ----------------------------------------------------------------------------------------------


@given(st.lists(st.frozensets(st.sampled_from(list(Button)), max_size=3), max_size=30))
def test_a_held_button_is_one_request(readings: list[frozenset[Button]]) -> None:
    core = EpisodeButtons()
    before: frozenset[Button] = frozenset()
    for buttons in readings:
        request = core.pressed(buttons)
        down = buttons & frozenset(EPISODE_BUTTONS)
        new = down - before
        assert request == (next(iter(new)) if len(new) == 1 else None)
        before = down


def test_the_joy_message_has_the_buttons_in_their_order() -> None:
    command = TeleopCommand(buttons=frozenset({Button.DEADMAN, Button.CLOSE, Button.DISCARD}))
    assert command.joy_buttons() == [1, 0, 1, 0, 0, 0, 1]
    assert command.gripper == -1.0 and RELEASED.gripper == 0.0
    assert TeleopCommand(buttons=frozenset({Button.OPEN, Button.CLOSE})).gripper == 0.0


# --- terminal -----------------------------------------------------------------------------------------------------


def test_the_terminal_is_restored_also_after_an_exception() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    terminal = Terminal(os.ttyname(slave))

    def fail() -> None:
        with terminal:
            assert termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO) == 0
            os.write(master, b"w")
            assert terminal.read(5.0) == b"w"
            assert terminal.read(0.0) == b""
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_a_closed_terminal_window_is_noticed() -> None:
    master, slave = pty.openpty()
    with Terminal(os.ttyname(slave)) as terminal:
        os.close(slave)
        os.close(master)
        assert terminal.read(5.0) is None
        terminal.show("nobody reads this")


def test_without_a_terminal_there_is_one_sentence(tmp_path: object) -> None:
    assert not has_terminal(f"{tmp_path}/none")
    with pytest.raises(UserError, match="needs a terminal"), Terminal("/dev/null"):
        pass
