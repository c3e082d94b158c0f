# SPDX-License-Identifier: Apache-2.0
"""Acting on pictures and the robot's own state alone: goals from a video, a live estimate, base and naive."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_control.types import Pose
from physgen_physworld.execution.ladder import LadderTrial, ladder_text, summarize
from physgen_physworld.execution.reality import Seen
from physgen_physworld.plan.base import GoalFollower, Kind, Phase
from physgen_physworld.plan.goals import Obstacle, make_goals
from physgen_physworld.plan.grasp import grasp_proposals
from physgen_physworld.plan.in_hand import InHand
from physgen_physworld.scene.scene import build_scene
from physgen_physworld.values import ObjectTrack, Tracks, yaw_quaternions

pytest.importorskip("mujoco", reason="the extra physworld is not installed")
from twin_reality import TwinReality

from physgen_physworld.execution.episode import EpisodeResult, Following, run_episode

PACKAGE = Path(__file__).resolve().parents[2] / "physgen_physworld"
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
STACK_GOAL = np.array([0.57, -0.08, 0.06])


def track(name: str, points: list[list[float]], count: int = 16) -> ObjectTrack:
    at = np.linspace(0, len(points) - 1, count)
    path = np.array(points)
    positions = np.stack([np.interp(at, np.arange(len(path)), path[:, axis]) for axis in range(3)], axis=1)
    return ObjectTrack(
        name=name,
        size=(0.04, 0.04, 0.04),
        positions=positions,
        quaternions=yaw_quaternions(np.zeros(count)),
        confidence=np.ones(count),
    )


def stacking() -> Tracks:
    red = track(
        "red_cube", [[0.60, 0.06, 0.02], [0.60, 0.06, 0.13], [0.57, -0.08, 0.13], [0.57, -0.08, 0.06]]
    )
    return Tracks(objects=(red, track("green_cube", [[0.57, -0.08, 0.02]] * 2)), period_s=0.1, source="test")


def run(kind: Kind, shift: float = 0.0) -> tuple[TwinReality, EpisodeResult]:
    tracks = stacking()
    reality = TwinReality(
        build_scene(tracks),
        "stack the red cube on the green cube",
        STACK_GOAL,
        {"red_cube": np.array([0.0, shift, 0.1])},
    )
    result = run_episode(reality, 3, make_goals(tracks), lambda goals: Following(GoalFollower(goals, kind)))
    return reality, result


@pytest.mark.parametrize("kind", ["base", "naive"])
def test_a_video_is_done_from_pictures_alone(kind: Kind) -> None:
    """The cube is 2 cm beside where the video begins: the picture of now decides, the video says where to."""
    reality, result = run(kind, shift=0.02)
    assert result.phase is Phase.DONE and result.held and result.failed_grasps == 0
    verdict = reality.judge()
    if kind == "base":
        assert verdict.success
    # While the hand holds the cube nobody looks: pictures are few.
    assert reality.looks < result.steps / 3


def test_a_grasp_that_closed_on_nothing_is_tried_again() -> None:
    goals = make_goals(stacking())
    follower = GoalFollower(goals)
    hand = Pose(position=goals.positions[0].copy(), quaternion=DOWN)
    thing = Pose(position=goals.positions[0], quaternion=yaw_quaternions([0.0])[0])
    follower.act({"object": thing}, hand, 0.08)
    follower.act({"object": thing}, hand, 0.08)
    assert follower.phase.name == "CLOSE"
    for _ in range(6):
        follower.act({"object": thing}, hand, 0.001)
    assert follower.phase.name == "APPROACH" and follower.failed_grasps == 1


def test_goals_are_by_way_and_know_what_ends_on_a_support() -> None:
    goals = make_goals(stacking())
    steps = np.linalg.norm(np.diff(goals.positions, axis=0), axis=1)
    assert np.all(steps > 0.004) and np.all(steps < 0.016), "a way is even, whatever the video's speed"
    assert goals.lifted and goals.released and goals.name == "red_cube"
    carried = track("cube", [[0.6, 0.0, 0.02], [0.6, 0.0, 0.2]])
    held = make_goals(Tracks(objects=(carried,), period_s=0.1, source="test"))
    assert held.lifted and not held.released
    still = track("cube", [[0.6, 0.0, 0.02]] * 2)
    with pytest.raises(ValueError, match="Nothing moves in a film"):
        make_goals(Tracks(objects=(still,), period_s=0.1, source="a film"))


def test_fingers_come_down_where_there_is_room() -> None:
    hand = Pose(position=np.array([0.6, 0.0, 0.2]), quaternion=DOWN)
    here = np.array([0.6, 0.0, 0.02])
    free = grasp_proposals(here, 0.0, (0.04, 0.04, 0.04), hand, ())
    assert len(free) == 2 and abs(free[0].turn) < 1e-9
    beside = Obstacle(position=np.array([0.6, 0.05, 0.02]), size=(0.04, 0.04, 0.04))
    turned = grasp_proposals(here, 0.0, (0.04, 0.04, 0.04), hand, (beside,))
    assert abs(abs(turned[0].turn) - np.pi / 2) < 1e-6 and turned[0].room > 0 > turned[1].room
    assert grasp_proposals(here, 0.0, (0.2, 0.2, 0.1), hand, ()) == []


def test_what_is_too_wide_for_the_hand_is_one_sentence() -> None:
    goals = replace(make_goals(stacking()), size=(0.12, 0.1, 0.1))
    with pytest.raises(UserError, match="100 mm wide, and the hand opens 78 mm"):
        GoalFollower(goals)


def test_what_is_in_the_hand_goes_with_it() -> None:
    felt = InHand((0.04, 0.04, 0.04))
    thing = Pose(position=np.array([0.6, 0.004, 0.02]), quaternion=yaw_quaternions([0.2])[0])
    hand = Pose(position=np.array([0.6, 0.0, 0.02]), quaternion=DOWN)
    assert felt.update(thing, hand, 0.08, closing=False) is None
    held = felt.update(thing, hand, 0.041, closing=True)
    assert held is not None and abs(held.position[1]) < 1e-9, "the fingers have centred it"
    lifted = felt.update(
        thing, Pose(position=np.array([0.6, 0.0, 0.12]), quaternion=DOWN), 0.041, closing=True
    )
    assert lifted is not None and np.allclose(lifted.position, [0.6, 0.0, 0.12])
    assert felt.update(thing, hand, 0.005, closing=True) is None, "it slipped out"


def test_nothing_that_acts_reads_what_only_a_simulator_knows() -> None:
    """`.objects` and `.success` of a world are read in scoring, and where the expert's episode becomes a video."""
    allowed = {
        "execution/reality.py": {"judge"},
        "video/oracle.py": {"_film"},
        "video/object_clips.py": {"film_objects", "object_poses"},
    }
    for path in sorted(PACKAGE.rglob("*.py")):
        where = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or node.name in allowed.get(where, set()):
                continue
            for part in ast.walk(node):
                read = isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name)
                if read and part.value.id in {"seen", "observation", "_last"}:  # type: ignore[attr-defined]
                    assert part.attr not in {"objects", "success"}, f"{where}: {node.name}"  # type: ignore[attr-defined]
    assert {field.name for field in fields(Seen)} == {"picture", "positions", "gripper_width", "tcp_pose"}


def test_a_ladder_is_summarized_with_intervals_and_stages() -> None:
    def trial(seed: int, success: bool, stage: str) -> LadderTrial:
        return LadderTrial(
            task="PickCube-v1",
            seed=seed,
            rung="oracle",
            execution="base",
            success=success,
            stage=stage,
            detail="",
            steps=60,
            failed_grasps=0,
            end_error_mm=10.0 if success else np.nan,
            track_start_mm=1.0,
            track_end_mm=2.0,
            track_yaw_deg=1.0,
        )

    trials = [trial(seed, seed < 8, "" if seed < 8 else "grasp") for seed in range(10)]
    (row,) = summarize(trials)
    assert row["successes"] == 8 and row["n"] == 10 and row["failures"] == {"grasp": 2}
    assert row["wilson_95"] == [0.49, 0.943] and row["median_end_error_mm"] == 10.0
    assert "| PickCube-v1 | oracle | base | 8 of 10 | 49 to 94 % | 10 mm | 2 grasp |" in ladder_text([row])
