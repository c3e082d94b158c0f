# SPDX-License-Identifier: Apache-2.0
"""Rolling forward without a world: the same chunks and frames as the policy's, and every input matters."""

from pathlib import Path

import numpy as np
import pytest
import torch
from random_episode import EPISODE, observations
from tiny_checkpoint import PATCH_VAE, VIEW, tiny_config, write_tiny_checkpoint

from physgen_control.errors import UserError
from physgen_policy.checkpoint import Checkpoint, load_checkpoint
from physgen_policy.runtime.imagination import Imagination
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig, PolicyError
from physgen_policy.sampling.frame import FrameSampler

FRAMES = {"prediction": "v", "up": True, "present": True, "next_actions": True}


@pytest.fixture(scope="module", params=["one codec", "two codecs"])
def checkpoint(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Checkpoint:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    model: dict[str, object] = {"frames": FRAMES}
    if request.param == "two codecs":
        whole = tiny_config().to_dict()
        model = {"frames": {**FRAMES, "codec": PATCH_VAE}, "nova": {**whole["nova"], "image_channels": 6}}
    return load_checkpoint(write_tiny_checkpoint(folder, model=model))


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (VIEW, 2 * VIEW, 3), dtype=np.uint8)


def test_the_first_step_is_what_the_policy_sends_and_shows(checkpoint: Checkpoint) -> None:
    """Same seed, same picture: the same chunk, and the frame that the live preview shows."""
    first = next(observations(1))
    policy = PhysGenPolicy(checkpoint)
    policy.reset(EPISODE)
    chunk, shown = policy.act(first, 0).data[0], policy.predict_frame()
    imagination = Imagination(checkpoint)
    image = imagination.spliced(first.frames["fixed"].rgb, first.frames["wrist"].rgb)
    imagination.begin(image, EPISODE.instruction, EPISODE.seed)
    frame = imagination.step()
    limit = checkpoint.norm.center + checkpoint.norm.half_range
    np.testing.assert_allclose(frame.actions[:, :6], np.clip(chunk, -limit, limit)[:, :6], atol=1e-6)
    np.testing.assert_array_equal(np.abs(frame.actions[:, 6]), 1.0)
    assert shown is not None
    assert np.abs(frame.image.astype(int) - shown.astype(int)).max() <= 1
    assert frame.seconds > 0


def test_frames_answer_what_if(checkpoint: Checkpoint) -> None:
    """Other actions lead to another frame, equal ones to the same; a frame is the history of the next."""
    imagination = Imagination(checkpoint)
    still = np.zeros((8, 7), np.float32)
    moving = still + np.float32(0.005)

    def film(*chunks: np.ndarray) -> list[np.ndarray]:
        imagination.begin(picture(0), "push the cube")
        return [imagination.step(chunk).image for chunk in chunks]

    once, again, other = film(still, still), film(still, still), film(moving, still)
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (once[0] != other[0]).any() and (once[1] != other[1]).any()


def test_a_picture_that_was_seen_takes_the_place_of_the_imagined_one(checkpoint: Checkpoint) -> None:
    """After a correction it does not matter what had been imagined; a window longer than the model's goes on."""
    still = np.zeros((8, 7), np.float32)
    ends = []
    for temperature in (0.0, 1.0):
        imagination = Imagination(
            checkpoint, FrameSampler(ar_steps=1, denoise_steps=1, temperature=temperature)
        )
        imagination.begin(picture(0), "push the cube")
        for seed in range(1, 7):
            imagined = imagination.step(still).image
            imagination.correct(picture(seed))
        ends.append((imagined, imagination._window._packs))
    assert (ends[0][0] != ends[1][0]).any()
    for a, b in zip(ends[0][1], ends[1][1], strict=True):
        assert torch.equal(a.latent, b.latent)


def test_what_cannot_be_imagined_is_a_sentence(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """No picture, a wrong one, half a chunk, and a mean of a model that has none."""
    imagination = Imagination(checkpoint)
    with pytest.raises(UserError, match="call begin first"):
        imagination.step()
    with pytest.raises(UserError, match="of 32 x 64 pixels"):
        imagination.begin(picture(0)[:, :VIEW], "push")
    imagination.begin(picture(0), "push")
    with pytest.raises(UserError, match="8 actions of 7 finite numbers"):
        imagination.step(np.zeros((4, 7), np.float32))
    plain = load_checkpoint(write_tiny_checkpoint(tmp_path / "plain"))
    with pytest.raises(UserError, match="no mean frame"):
        Imagination(plain, FrameSampler(kind="mean"))
    with pytest.raises(PolicyError, match="frame_sampler mean needs"):
        PhysGenPolicy(plain, PolicyConfig(frame_sampler="mean"))
    assert PolicyConfig(frame_sampler="auto").frames_of(plain.model).kind == "sample"
    assert PolicyConfig(frame_sampler="sample").frames_of(checkpoint.model).kind == "sample"
