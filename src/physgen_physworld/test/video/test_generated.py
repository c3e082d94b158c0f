# SPDX-License-Identifier: Apache-2.0
"""A video model learns from clips without actions and makes videos that begin with a real picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_scene import camera

from physgen_control.errors import UserError
from physgen_control.types import HORIZON, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.policy.kit import GENERATOR, open_kit, write_kit
from physgen_physworld.video.clip_dataset import ClipDataset
from physgen_physworld.video.generated import VideoGenerator
from physgen_physworld.video.object_clips import CLIP_FRAMES, ObjectClip
from physgen_physworld.video.view import OBJECT_VIEW
from physgen_policy.checkpoint import load_checkpoint
from physgen_policy.training.config import parse_config
from physgen_policy.training.run import TrainingRun

INSTRUCTION = "push the cube to the goal"


def picture(seed: int) -> UInt8Image:
    return np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, trained for two steps on two clips of noise."""
    folder = tmp_path_factory.mktemp("video")
    dataset = ClipDataset(folder / "clips")
    for seed in range(2):
        first = OBJECT_VIEW.cut(picture(seed))
        images = np.stack([first] * CLIP_FRAMES)
        dataset.add(ObjectClip(images=images, task="PushCube-v1", seed=seed, instruction=INSTRUCTION))
    dataset.finish()
    config = parse_config(
        {
            "name": "objects",
            "model": "tiny",
            "architecture": {
                "context_packs": 11,
                "nova": {
                    "image_size": [OBJECT_VIEW.side, OBJECT_VIEW.side],
                    "width": 48,
                    "heads": 2,
                    "video_depth": 1,
                    "image_depth": 1,
                    "head_width": 32,
                    "head_depth": 1,
                    "latent_channels": 4,
                    "mixer_rank": 0,
                },
                "frames": {"prediction": "v", "up": True, "present": True},
                "vae": {
                    "kind": "patch",
                    "latent_channels": 4,
                    "block_out_channels": [16, 16],
                    "layers_per_block": 1,
                },
            },
            "dataset": str(folder / "clips"),
            "output": str(folder / "run"),
            "validation_episodes": 0,
            "num_threads": 1,
            "precision": "fp32",
            "codec": {"steps": 2, "batch_size": 1, "crop": 0, "whole_fraction": 0.0},
            "policy": {
                "objective": "video",
                "steps": 2,
                "batch_size": 2,
                "obs_loss_frames": 3,
                "aligned_fraction": 1.0,
            },
        },
        "test",
    )
    threads = torch.get_num_threads()
    try:
        return TrainingRun(config, resume=False).fit()
    finally:
        torch.set_num_threads(threads)


def test_a_video_begins_with_the_real_picture_and_repeats_itself(trained: Path) -> None:
    generator, seen = VideoGenerator(trained), camera(256)
    video = generator.video(picture(5), seen, INSTRUCTION)
    assert video.frames.shape == (CLIP_FRAMES, OBJECT_VIEW.side, OBJECT_VIEW.side, 3)
    assert np.array_equal(video.frames[0], OBJECT_VIEW.cut(picture(5)))
    assert video.camera.image_size == (OBJECT_VIEW.side, OBJECT_VIEW.side) and video.real_camera is seen
    assert np.array_equal(generator.video(picture(5), seen, INSTRUCTION).frames, video.frames)
    samples = [generator.video(picture(5), seen, INSTRUCTION, number).frames for number in (1, 1, 2)]
    assert np.array_equal(samples[0], samples[1]) and not np.array_equal(samples[0], samples[2])
    assert not np.array_equal(samples[0], video.frames)


def test_the_checkpoint_says_that_it_does_not_act(trained: Path) -> None:
    loaded = load_checkpoint(trained)
    assert not loaded.embodiment.acts and loaded.norm.count == 0
    assert loaded.model.config.action.horizon == HORIZON


def test_a_kit_needs_no_other_folder(trained: Path, tmp_path: Path) -> None:
    folder, seen = tmp_path / "kit", camera(256)
    write_kit(folder, seen, trained, "base", None)
    kit = open_kit(folder)
    assert isinstance(kit.camera, Camera)
    assert kit.camera.matrix == pytest.approx(seen.matrix)
    assert (folder / GENERATOR / "model.safetensors").read_bytes() == (
        trained / "model.safetensors"
    ).read_bytes()
    with pytest.raises(UserError, match=r"red cube .* is not in the first picture"):
        kit.situation(np.full((256, 256, 3), 128, np.uint8), seen, "stack the red cube on the green cube")


def test_what_is_no_kit_is_one_sentence(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run"):
        open_kit(tmp_path)
    with pytest.raises(UserError, match="needs its residual"):
        write_kit(tmp_path / "kit", camera(256), trained, "residual", None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other things"):
        write_kit(tmp_path / "other", camera(256), trained, "base", None)


def test_a_policy_is_no_video_model() -> None:
    from physgen_policy.checkpoint import resolve_checkpoint

    with pytest.raises(UserError, match="no model of object clips"):
        VideoGenerator(resolve_checkpoint("pushcube-tiny", ""))
