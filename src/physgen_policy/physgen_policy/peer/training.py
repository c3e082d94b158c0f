# SPDX-License-Identifier: Apache-2.0
"""The options with which lerobot's training script learns from one of our LeRobot datasets; pure values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from physgen_control.errors import UserError
from physgen_control.messages.topics import CAMERAS
from physgen_control.program.plain_values import read_json_object
from physgen_control.types import HORIZON, NUM_CHUNKS
from physgen_policy.data.lerobot.features import image_key
from physgen_policy.peer.description import LAST_CHECKPOINT, TYPES

TRAIN_CONFIG = LAST_CHECKPOINT / "train_config.json"
# Of the image's side: Diffusion Policy crops at random while it learns (76 of 84 pixels, arXiv 2303.04137).
CROP = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTraining:
    """What is trained on what."""

    dataset: Path
    """A LeRobot dataset."""
    out: Path
    """Run folder."""
    type: str = "act"
    """lerobot's name of the policy."""
    steps: int = 20000
    batch_size: int = 32
    """Of all processes together."""
    processes: int = 1
    device: str = "cpu"
    seed: int = 1000
    save_every: int = 5000
    """Steps between checkpoints."""
    loaders: int = 0
    """Processes that read the dataset; 0: the training's own."""
    learning_rate: float = 0.0
    """0: ours for ACT (1e-4, see `options`), lerobot's for others."""
    sees_state: bool = True
    """The policy is given the robot's state beside the images."""

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise UserError(f"--type must be one of {', '.join(TYPES)}, got {self.type!r}")
        if min(self.steps, self.batch_size, self.processes, self.save_every) < 1 or self.loaders < 0:
            raise UserError("--steps, --batch-size, --processes and --save-every must be at least 1")
        if self.batch_size % self.processes:
            raise UserError(
                f"--batch-size {self.batch_size} cannot be shared equally by {self.processes} processes"
            )
        if not self.sees_state and self.type != "act":
            raise UserError(f"--no-state is for --type act: lerobot's {self.type} needs the robot's state")

    @property
    def resumable(self) -> bool:
        """Whether a checkpoint is there to continue from."""
        return (self.out / TRAIN_CONFIG).is_file()

    def options(self) -> list[str]:
        """Return the command line of lerobot's script for a new run.

        Differences from lerobot's defaults: chunks of the three times eight actions that PhysGen predicts, of which
        eight are executed; a backbone without pretraining, so nothing is downloaded, at the transformer's learning
        rate, tenfold lerobot's, which is meant for fine-tuning; image statistics of the dataset instead of ImageNet's.

        Raises:
            UserError: The dataset is not one that `physgen convert --format lerobot` wrote.
        """
        sides = image_sides(self.dataset)
        words = {
            "dataset.repo_id": f"local/{self.dataset.resolve().name}",
            "dataset.root": str(self.dataset.resolve()),
            "dataset.video_backend": "pyav",
            "dataset.use_imagenet_stats": "false",
            "policy.type": self.type,
            "policy.device": self.device,
            "policy.push_to_hub": "false",
            "policy.pretrained_backbone_weights": "null",
            "output_dir": str(self.out.resolve()),
            "batch_size": str(self.batch_size // self.processes),
            "steps": str(self.steps),
            "save_freq": str(self.save_every),
            "log_freq": str(max(1, min(100, self.steps // 20))),
            "eval_freq": "0",
            "num_workers": str(self.loaders),
            "seed": str(self.seed),
            "wandb.enable": "false",
        }
        rate = self.learning_rate or (1e-4 if self.type == "act" else 0.0)
        if rate:
            words["policy.optimizer_lr"] = str(rate)
        if self.type == "act":
            words |= {
                "policy.chunk_size": str(NUM_CHUNKS * HORIZON),
                "policy.n_action_steps": str(HORIZON),
                "policy.optimizer_lr_backbone": str(rate),
            }
            if not self.sees_state:
                features = {
                    image_key(camera): {"type": "VISUAL", "shape": [3, *sides[camera]]} for camera in CAMERAS
                }
                words["policy.input_features"] = json.dumps(features)
        else:
            height, width = sides[CAMERAS[0]]
            words |= {
                "policy.n_action_steps": str(HORIZON),
                "policy.horizon": str(2 * HORIZON),
                "policy.crop_shape": json.dumps([round(CROP * height), round(CROP * width)]),
                # So that pushed and led steps are left out of the loss; ACT's always leaves them out (labels.py).
                "policy.do_mask_loss_for_padding": "true",
                # Ten denoising steps instead of a hundred when it acts, as on the authors' robot.
                "policy.noise_scheduler_type": "DDIM",
                "policy.num_inference_steps": "10",
            }
        return [f"--{name}={value}" for name, value in words.items()]

    def resume_options(self) -> list[str]:
        """Return the command line that continues the run in `out` up to `steps`; everything else stays as it was.

        Raises:
            UserError: There is no checkpoint.
        """
        if not self.resumable:
            raise UserError(f"{self.out} has no checkpoint to continue from; drop --resume")
        config = (self.out / TRAIN_CONFIG).resolve()
        return [
            f"--config_path={config}",
            "--resume=true",
            f"--output_dir={self.out.resolve()}",
            f"--steps={self.steps}",
        ]


def image_sides(dataset: Path) -> dict[str, tuple[int, int]]:
    """Return height and width of each camera of a LeRobot dataset [pixels].

    Raises:
        UserError: It is none of ours.
    """
    path = dataset / "meta" / "info.json"
    try:
        info = read_json_object(path)
        shapes = [info["features"][image_key(camera)]["shape"] for camera in CAMERAS]
        return {camera: (int(shape[0]), int(shape[1])) for camera, shape in zip(CAMERAS, shapes, strict=True)}
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise UserError(
            f"{dataset} is no LeRobot dataset of two cameras; make one with `physgen convert BAGS --format lerobot "
            f"--out DATASET` ({error!r})"
        ) from error
