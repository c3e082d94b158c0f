# SPDX-License-Identifier: Apache-2.0
"""`policy:=physworld` as the graph asks it: a look every few control steps, and a plan from the twin for them."""

import logging
from pathlib import Path

import numpy as np
import pytest
from drawn_scene import film

from physgen_control.types import RobotState, UInt8Image
from physgen_physworld.commands.physworld import main
from physgen_physworld.execution.reality import Seen
from physgen_physworld.video.camera_file import camera_text
from physgen_policy.contract.own_policy import PolicyInput, make_policy

pytest.importorskip("mujoco", reason="the extra physworld is not installed")
from twin_reality import TwinReality

from physgen_physworld.pipeline.reconstruct_step import load_situation
from physgen_physworld.policy.physworld_policy import PhysWorldPolicy

STACK = "stack the red cube on the green cube"
GREEN = np.array([0.57, -0.08, 0.02])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose video stacks a red cube on a green one."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("stack")
    at = np.linspace(0, 3, 20)
    points = np.array([[0.60, 0.06, 0.02], [0.60, 0.06, 0.13], [0.57, -0.08, 0.13], [0.57, -0.08, 0.06]])
    positions = np.stack([np.interp(at, np.arange(4), points[:, axis]) for axis in range(3)], axis=1)
    video = film(positions, np.zeros(len(at)), on=GREEN)
    pictures = [Image.fromarray(frame) for frame in video.frames]
    pictures[0].save(folder / "clip.gif", save_all=True, append_images=pictures[1:], duration=100)
    (folder / "camera.yaml").write_text(camera_text(video.camera))
    words = ["--video", str(folder / "clip.gif"), "--camera", str(folder / "camera.yaml")]
    assert main(["video", str(folder / "run"), *words]) == 0
    assert main(["reconstruct", str(folder / "run"), "--instruction", STACK]) == 0
    return folder / "run"


def asked(
    seen: Seen, picture: UInt8Image, step: int, *, grip: float = 1.0, instruction: str = STACK
) -> PolicyInput:
    state = RobotState(
        stamp_ns=0,
        positions=seen.positions,
        velocities=np.zeros(7),
        gripper_width=seen.gripper_width,
        tcp_pose=seen.tcp_pose,
    )
    return PolicyInput(
        fixed=picture,
        wrist=picture,
        instruction=instruction,
        step=step,
        past_actions=np.tile(np.array([0, 0, 0, 0, 0, 0, grip], np.float32), (8, 1)),
        first=step == 0,
        state=state,
    )


def test_a_look_every_four_steps_is_enough_to_stack(run: Path) -> None:
    policy = make_policy("physworld", str(run))
    assert isinstance(policy, PhysWorldPolicy)
    _, _, scene = load_situation(run)
    world = TwinReality(
        scene, STACK, np.array([0.57, -0.08, 0.06]), {"red_cube": np.array([0.0, 0.015, 0.1])}
    )
    for _ in range(2):  # an episode leaves nothing behind for the next one
        policy.reset(STACK, 0)
        seen = world.begin(5)
        for step in range(0, 140, policy.execute_steps):
            assert seen.picture is not None
            actions = policy.act(asked(seen, seen.picture, step))
            assert actions.shape == (24, 7) and np.all(np.isfinite(actions))
            for number in range(policy.execute_steps):
                seen = world.step(actions[number], look=number == policy.execute_steps - 1)
        assert world.judge().success


def test_an_arm_that_sees_nothing_to_follow_stays_where_it_is(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = make_policy("physworld", str(run))
    policy.reset(STACK, 0)
    _, _, scene = load_situation(run)
    seen = TwinReality(scene, STACK, GREEN).begin(5)
    bare = np.full((256, 256, 3), 120, np.uint8)
    with caplog.at_level(logging.WARNING):
        for step in range(2):
            actions = policy.act(asked(seen, bare, step))
            assert not actions[:, :6].any() and (actions[:, 6] == 1.0).all()
    [said] = caplog.messages
    assert "does nothing more in this episode" in said and "not in the first picture" in said


def test_a_chunk_that_came_too_late_is_planned_again_from_where_it_was(run: Path) -> None:
    """The same control step twice: nothing was executed, so the plan has not gone on."""
    policy = make_policy("physworld", str(run))
    policy.reset(STACK, 0)
    _, _, scene = load_situation(run)
    seen = TwinReality(scene, STACK, GREEN).begin(5)
    assert seen.picture is not None
    first = policy.act(asked(seen, seen.picture, 0))
    again = policy.act(asked(seen, seen.picture, 0))
    assert np.allclose(first, again, atol=1e-4)


@pytest.mark.parametrize(
    ("step", "instruction", "shift", "sentence"),
    [
        (8, STACK, 0.0, "had begun"),
        (0, "push the cube to the goal", 0.0, "other things"),
        (0, STACK, 0.08, "another scene"),
    ],
)
def test_a_video_that_does_not_belong_here_moves_nothing_and_drops_nothing(
    run: Path, caplog: pytest.LogCaptureFixture, step: int, instruction: str, shift: float, sentence: str
) -> None:
    policy = make_policy("physworld", str(run))
    policy.reset(STACK, 0)
    _, _, scene = load_situation(run)
    shifts = {"red_cube": np.array([0.0, shift, 0.0])}
    seen = TwinReality(scene, STACK, GREEN, shifts).begin(5)
    assert seen.picture is not None
    with caplog.at_level(logging.WARNING):
        actions = policy.act(asked(seen, seen.picture, step, grip=-1.0, instruction=instruction))
    assert not actions[:, :6].any() and (actions[:, 6] == -1.0).all()
    assert sentence in caplog.messages[0]


def test_another_instruction_in_the_middle_stops_the_hand(run: Path) -> None:
    policy = make_policy("physworld", str(run))
    policy.reset(STACK, 0)
    _, _, scene = load_situation(run)
    seen = TwinReality(scene, STACK, GREEN).begin(5)
    assert seen.picture is not None
    assert policy.act(asked(seen, seen.picture, 0))[:, :6].any()
    stopped = policy.act(asked(seen, seen.picture, 4, instruction="pick up the red cube"))
    assert not stopped[:, :6].any()
