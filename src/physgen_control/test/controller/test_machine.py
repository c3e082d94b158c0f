# SPDX-License-Identifier: Apache-2.0
"""The laws of controller_world.py as a state machine: the shortest order of events that breaks one is looked for."""

from __future__ import annotations

import numpy as np
from controller_world import CHUNKS, GLITCHES, ControllerWorld
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from physgen_control.controller_config import Mode
from physgen_control.types import EpisodePhase, SafetyState

ENDS = [
    EpisodePhase.IDLE,
    EpisodePhase.SUCCESS,
    EpisodePhase.FAILURE,
    EpisodePhase.DISCARDED,
    EpisodePhase.CRASHED,
]
TWISTS = st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6).map(np.array)
WIDTHS = st.floats(0.0, 0.08)


class ControllerMachine(RuleBasedStateMachine):
    """{planner, no planner} x finger widths x clocks that jump and stand still x any order of events."""

    world: ControllerWorld

    @initialize(arm=st.booleans(), width=WIDTHS, deadman=st.booleans(), publisher=st.booleans())
    def begin(self, arm: bool, width: float, deadman: bool, publisher: bool) -> None:
        """Make a controller, arm it, announce an episode."""
        self.world = ControllerWorld(
            arm=arm, width=width, require_deadman=deadman, require_publisher=publisher
        )
        self.world.report("publishers", 1)
        self.world.deadman(True)
        self.world.step()
        self.world.operator("arm")
        self.world.begin_episode()
        self.steps(16)

    @rule(count=st.integers(1, 10))
    def steps(self, count: int) -> None:
        """All is well for a while."""
        for _ in range(count):
            if self.world.config.require_deadman:
                self.world.deadman(True)
            self.world.step()

    @rule(seed=st.integers(0, 99), gripper=st.sampled_from([-1.0, 1.0, 0.0]), steps=st.integers(1, 16))
    def good_chunk(self, seed: int, gripper: float, steps: int) -> None:
        """The policy sends what it should."""
        self.world.chunk("small", seed, gripper, steps)

    @rule(kind=st.sampled_from(CHUNKS), seed=st.integers(0, 99))
    def any_chunk(self, kind: str, seed: int) -> None:
        """The policy sends what it should not."""
        self.world.chunk(kind, seed)

    @rule(twist=TWISTS, gripper=st.sampled_from([0.0, 1.0, -1.0, float("nan")]), count=st.integers(1, 4))
    def teleoperate(self, twist: np.ndarray, gripper: float, count: int) -> None:
        """A human moves the arm."""
        for _ in range(count):
            self.world.deadman(True)
            self.world.twist(twist, gripper)
            self.world.step()

    @rule(pressed=st.booleans())
    def deadman(self, pressed: bool) -> None:
        """A human presses or lets go."""
        self.world.deadman(pressed)

    @rule(milliseconds=st.integers(1, 1500))
    def pause(self, milliseconds: int) -> None:
        """No state comes."""
        self.world.pause(milliseconds * 1_000_000)

    @rule(seconds=st.sampled_from([-60.0, -3.0, -0.3, 0.3, 3.0, 60.0]), driver=st.booleans())
    def jump(self, seconds: float, driver: bool) -> None:
        """Somebody sets a clock."""
        self.world.jump(seconds, driver=driver)

    @rule()
    def clocks_are_right_again(self) -> None:
        """Somebody sets them right."""
        self.world.set_clocks_right()

    @rule(kind=st.sampled_from(GLITCHES))
    def glitch(self, kind: str) -> None:
        """A state comes that cannot be true."""
        self.world.glitch(kind)

    @rule(joint=st.integers(0, 6), away=st.sampled_from([0.0, 0.02, 0.1, 0.19, 0.4]))
    def push(self, joint: int, away: float) -> None:
        """Somebody pushes the arm."""
        self.world.push(joint, away)

    @rule(what=st.sampled_from(["arm", "disarm", "hold", "clear_fault"]))
    def operator(self, what: str) -> None:
        """An operator calls a service."""
        self.world.operator(what)

    @rule(mode=st.sampled_from(list(Mode)))
    def mode(self, mode: Mode) -> None:
        """The mode changes."""
        self.world.mode(mode)

    @rule()
    def begin_episode(self) -> None:
        """An episode begins."""
        self.world.begin_episode()

    @precondition(lambda self: self.world.episode)
    @rule(phase=st.sampled_from(ENDS))
    def end_episode(self, phase: EpisodePhase) -> None:
        """An episode ends."""
        self.world.end_episode(phase)

    @rule(count=st.integers(0, 2))
    def publishers(self, count: int) -> None:
        """Policies come and go."""
        self.world.report("publishers", count)

    @rule(obstacle=st.sampled_from(["", "The robot is in reflex."]))
    def robot_mode(self, obstacle: str) -> None:
        """The robot's mode changes."""
        self.world.report("robot mode", obstacle)

    @rule(force=st.sampled_from([0.0, 500.0, float("nan")]))
    def wrench(self, force: float) -> None:
        """The arm touches something."""
        self.world.report("wrench", force)

    @rule()
    def late(self) -> None:
        """The machine is busy."""
        self.world.late_trajectory()

    @rule()
    def internal_fault(self) -> None:
        """A bug shows."""
        self.world.report("internal fault", None)

    @precondition(lambda self: self.world.core.state is not SafetyState.ARMED)
    @rule()
    def recover(self) -> None:
        """An operator mends what is wrong and arms again."""
        self.world.set_clocks_right()
        self.world.push(0, 0.0)
        self.world.mode(Mode.ARMED)
        self.world.report("publishers", 1)
        self.world.report("robot mode", "")
        self.steps(4)
        self.world.operator("clear_fault")
        self.world.operator("arm")
        self.steps(16)


TestController = ControllerMachine.TestCase
TestController.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
