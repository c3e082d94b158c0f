# SPDX-License-Identifier: Apache-2.0
"""Makes ManiSkill's environments: the task's scene with a Panda and our two cameras."""

from __future__ import annotations

import math
import warnings
from typing import Any

from physgen_control.errors import UserError
from physgen_sim_bridge.maniskill.tasks import ManiSkillTask

CONTROL_MODE = "pd_ee_delta_pose"
CONTROL_PERIOD_NS = 50_000_000
"""pd_ee_delta_pose runs at 20 Hz."""

ROBOT_UID = "panda_wristcam"
"""The stock uid is reused on purpose: the scenes choose the start pose of the arm by this name."""

# Camera on panda_hand: position [m] and quaternion (w, x, y, z) of the stock RealSense mount, field of view 90 degrees.
WRIST_POSITION = (0.0464982, -0.0200011, 0.0360011)
WRIST_QUATERNION = (0.70710678, 0.0, -0.70710678, 0.0)
WRIST_FOV = math.pi / 2


def make_native_env(
    task_id: str, task: ManiSkillTask, image_size: int, *, obs_mode: str = "none", render: bool = True
) -> Any:
    """Return the unwrapped environment with both cameras; the World renders itself, so its obs_mode is "none".

    Raises:
        UserError: There is no device to draw with.
        RuntimeError: The simulator failed otherwise.
    """
    import gymnasium
    import sapien
    import torch
    from mani_skill import logger
    from mani_skill.agents.registration import register_agent
    from mani_skill.agents.robots.panda.panda import Panda
    from mani_skill.sensors.camera import CameraConfig
    from mani_skill.utils import sapien_utils

    # Every tensor here has a handful of numbers: more threads only cost time.
    torch.set_num_threads(1)
    # Two warnings per start-up tell of the reused uid: intended.
    logger.setLevel("ERROR")
    # SAPIEN asks pinocchio for a joint by its old name.
    warnings.filterwarnings("ignore", "Deprecated member", module="sapien")
    import mani_skill.envs  # noqa: F401  (registers the tasks)

    class LitePandaWristCam(Panda):
        """Panda with a wrist camera and no camera mesh: the stock one has 425,160 of the scene's 582,216 triangles."""

        uid = ROBOT_UID

        @property
        def _sensor_configs(self) -> list[Any]:
            return [
                CameraConfig(
                    uid="hand_camera",
                    pose=sapien.Pose(WRIST_POSITION, WRIST_QUATERNION),
                    width=image_size,
                    height=image_size,
                    fov=WRIST_FOV,
                    near=0.01,
                    far=100,
                    mount=self.robot.links_map["panda_hand"],
                )
            ]

    register_agent(override=True)(LitePandaWristCam)
    sensor_configs = {
        "width": image_size,
        "height": image_size,
        "base_camera": {"pose": sapien_utils.look_at(task.eye, task.target), "fov": task.fov},
    }
    try:
        env = gymnasium.make(
            task.env_id or task_id,
            obs_mode=obs_mode,
            control_mode=CONTROL_MODE,
            sim_backend="physx_cpu",
            render_backend="cpu" if render else "none",
            robot_uids=ROBOT_UID,
            sensor_configs=sensor_configs,
        )
    except RuntimeError as error:
        if "rendering device" in str(error) or "physical device" in str(error):
            raise UserError(
                "ManiSkill found no Vulkan device: install Mesa's lavapipe 24.3 or newer and point VK_ICD_FILENAMES at "
                f"its lvp_icd JSON file (the simulator said: {error})."
            ) from error
        raise
    # The wrapper would end episodes after 50 steps; the step limit is the caller's.
    return env.unwrapped
