# SPDX-License-Identifier: Apache-2.0
"""The residual: it begins as nothing, its reward is the object's way, and it survives its file."""

from pathlib import Path

import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_control.types import Pose
from physgen_physworld.plan.goals import Goals, make_goals
from physgen_physworld.residual.network import ResidualNetwork, load_residual, with_residual
from physgen_physworld.residual.observation import OBSERVATION_DIM
from physgen_physworld.residual.reward import FollowingReward
from physgen_physworld.scene.scene import build_scene
from physgen_physworld.values import ObjectTrack, Tracks, yaw_quaternions

pytest.importorskip("mujoco", reason="the extra physworld is not installed")
pytest.importorskip("stable_baselines3", reason="the extra physworld is not installed")
from physgen_physworld.residual.environment import Randomization, ResidualEnv, Situation
from physgen_physworld.residual.training import TrainingConfig, train_residual

QUIET = Randomization(properties=False, position=0.0, yaw=0.0, jitter=0.0, dropout=0.0, most_delay=0)
SCALE = np.array([0.015] * 3 + [0.08] * 3)
NO_TURN = np.array([0.0, 0.0, 0.0, 1.0])


def tracks(lifted: bool) -> Tracks:
    height = 0.14 if lifted else 0.02
    way = np.array([[0.6, 0.05, 0.02], [0.6, 0.05, height], [0.66, 0.0, height]])
    at = np.linspace(0, 2, 12)
    positions = np.stack([np.interp(at, np.arange(3), way[:, axis]) for axis in range(3)], axis=1)
    track = ObjectTrack(
        name="cube",
        size=(0.04, 0.04, 0.04),
        positions=positions,
        quaternions=yaw_quaternions(np.zeros(12)),
        confidence=np.ones(12),
    )
    return Tracks(objects=(track,), period_s=0.1, source="a drawn way")


def situation(lifted: bool = True) -> Situation:
    seen = tracks(lifted)
    return Situation(scene=build_scene(seen), goals=make_goals(seen))


def goals() -> Goals:
    return make_goals(tracks(True))


def pay(points: np.ndarray, residual: float = 0.0, penetration: float = 0.0) -> float:
    reward = FollowingReward(goals())
    total = sum(
        reward.step(Pose(position=point, quaternion=NO_TURN), np.full(6, residual), penetration)
        for point in points
    )
    return total + reward.end(Pose(position=points[-1], quaternion=NO_TURN))


def test_the_reward_is_the_objects_way() -> None:
    """Following exactly pays most; beside the way less; standing still nothing; pressing and large residuals cost."""
    way = goals().positions
    still = np.tile(way[0], (len(way), 1))
    beside = way + np.array([0.0, 0.015, 0.0])
    assert pay(way) > pay(beside) + 1.0 > pay(still) + 3.0
    assert pay(still) < 0.05
    assert pay(way[: len(way) // 2]) < 0.6 * pay(way)
    assert pay(way, residual=1.0) < pay(way) and pay(way, penetration=0.006) < pay(way) - 5.0
    around = np.concatenate([way, way[::-1], way])
    assert pay(around) < pay(way), "a goal is paid once"


def test_a_residual_of_zero_is_the_base_and_its_episode_pays_well() -> None:
    env = ResidualEnv([situation()], SCALE, QUIET)
    env.reset(seed=1)
    base = env._base_action.copy()
    assert np.array_equal(with_residual(base, np.zeros(6)), base)
    info: dict[str, float] = {}
    total, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, info = env.step(np.zeros(6, np.float32))
        assert observation.shape == (OBSERVATION_DIM,) and np.all(np.isfinite(observation))
        total, over = total + reward, terminated or truncated
    assert info["end_error"] < 0.015 and info["failed_grasps"] == 0
    assert total > 8.0
    pushed_off = ResidualEnv([situation()], SCALE, QUIET)
    pushed_off.reset(seed=1)
    worse, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, _ = pushed_off.step(np.array([0, 1, 0, 0, 0, 0], np.float32))
        worse, over = worse + reward, terminated or truncated
    assert worse < total - 3.0


def test_an_episode_repeats_with_its_seed_and_differs_with_another() -> None:
    env = ResidualEnv([situation(), situation(lifted=False)], SCALE)

    def run(seed: int) -> np.ndarray:
        observation, _ = env.reset(seed=seed)
        seen = [observation]
        for _ in range(12):
            seen.append(env.step(np.zeros(6, np.float32))[0])
        return np.stack(seen)

    assert np.array_equal(run(3), run(3)) and not np.array_equal(run(3), run(4))


def test_a_short_training_starts_at_zero_and_leaves_a_file_that_acts_the_same(tmp_path: Path) -> None:
    config = TrainingConfig(steps=256, twins=4, rollout=32, batch=64, epochs=1, width=16)
    seen: list[int] = []
    result = train_residual([situation()], config, report=lambda steps, _: seen.append(steps))
    assert result.steps >= 256
    path = tmp_path / "residual.safetensors"
    result.network.save(path)
    again = load_residual(path)
    rng = np.random.default_rng(0)
    for _ in range(5):
        observation = rng.normal(size=OBSERVATION_DIM).astype(np.float32)
        residual = again.residual(observation)
        assert np.allclose(residual, result.network.residual(observation), atol=1e-8)
        assert np.all(np.abs(residual[:6]) <= SCALE + 1e-9) and residual[6] == 0
        # After two updates with a small rate it is still near to nothing.
        assert np.abs(residual[:6] / SCALE).max() < 0.2
    with pytest.raises(UserError, match="train one with"):
        load_residual(tmp_path / "none")
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is no residual"):
        load_residual(path)


def test_the_untrained_network_adds_nothing() -> None:
    zero = ResidualNetwork(
        weights=(
            np.ones((4, OBSERVATION_DIM), np.float32),
            np.ones((4, 4), np.float32),
            np.zeros((6, 4), np.float32),
        ),
        biases=(np.zeros(4, np.float32), np.zeros(4, np.float32), np.zeros(6, np.float32)),
        mean=np.zeros(OBSERVATION_DIM, np.float32),
        deviation=np.ones(OBSERVATION_DIM, np.float32),
        scale=SCALE,
    )
    assert not np.any(zero.residual(np.ones(OBSERVATION_DIM, np.float32)))
