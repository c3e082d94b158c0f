# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to the process of a LeRobot policy is one sentence, and the next episode starts a new one."""

import os

import numpy as np
import pytest
from lerobot_folder import write_lerobot_folder

from physgen_control.errors import UserError
from physgen_control.types import Pose, RobotState
from physgen_policy.peer.client import LerobotClient
from physgen_policy.peer.description import read_lerobot_description
from physgen_policy.peer.observation import StateVector


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise RuntimeError('wrong\\nversion')", "could not run .*: RuntimeError: wrong version"),
        (
            "import os, sys; print('no memory', file=sys.stderr); os._exit(7)",
            "ended with status 7: no memory",
        ),
    ],
)
def test_a_process_that_fails_is_a_sentence(tmp_path, code, sentence):
    package = tmp_path / "packages" / "lerobot"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    description = read_lerobot_description(write_lerobot_folder(tmp_path / "policy"))
    client = LerobotClient(description, {**os.environ, "PHYSGEN_LEROBOT_PATH": str(package.parent)})
    with pytest.raises(UserError, match=sentence):
        client.reset(1)
    client.close()


def test_the_sign_of_a_rotation_does_not_jump():
    """As in the datasets; q and -q are the same rotation."""
    vector = StateVector()
    for step in range(8):
        angle = 0.3 * step
        quaternion = np.array([np.sin(angle), 0.0, 0.0, np.cos(angle)])
        pose = Pose(position=np.array([0.4, 0.0, 0.3]), quaternion=quaternion * (-1) ** step)
        robot = RobotState(
            stamp_ns=step,
            positions=np.arange(7.0),
            velocities=np.zeros(7),
            gripper_width=0.04,
            tcp_pose=pose,
        )
        found = vector(robot)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [*range(7), 0.04, 0.4, 0.0, 0.3, *quaternion], atol=1e-6)
