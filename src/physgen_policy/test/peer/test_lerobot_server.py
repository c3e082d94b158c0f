# SPDX-License-Identifier: Apache-2.0
"""A policy that lerobot saved acts here as it does in lerobot's own loop; needs the lerobot package."""

import os
import subprocess
import sys
from pathlib import Path

import lerobot_reference as reference
import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_policy.peer.client import LerobotClient
from physgen_policy.peer.description import read_lerobot_description
from physgen_policy.peer.environment import find_lerobot, lerobot_environment
from physgen_policy.peer.observation import LerobotObservation

# Every process that imports lerobot takes ten seconds of a core.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    try:
        find_lerobot(os.environ)
    except UserError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run(
        [sys.executable, "-P", reference.__file__, folder, "act", "diffusion", "ensemble"],
        env=lerobot_environment(os.environ),
        check=True,
        timeout=600,
    )
    return folder


def observations_of(seen: dict[str, np.ndarray], *steps: int) -> list[LerobotObservation]:
    return [LerobotObservation({c: seen[c][k] for c in ("fixed", "wrist")}, seen["state"][k]) for k in steps]


@pytest.mark.parametrize("name", ["act", "diffusion", "ensemble"])
def test_chunks_are_those_of_lerobot_itself(saved: Path, name: str) -> None:
    """Its `select_action` sees every control step; we ask once per chunk, with as many observations as it looks at."""
    seen = dict(np.load(saved / f"{name}.npz"))
    expected = seen.pop("actions")
    description = read_lerobot_description(saved / name)
    client = LerobotClient(description)
    try:
        for _ in range(2):  # a new episode with the same seed repeats the first
            client.reset(reference.SEED)
            found: list[np.ndarray] = []
            while len(found) < reference.STEPS:
                now = len(found)
                memory = range(now - description.num_observations + 1, now + 1)
                chunk = client.chunk(observations_of(seen, *(max(0, k) for k in memory)), reference.TASK)
                assert len(chunk) >= description.execute_steps
                found += list(chunk[: description.execute_steps])
            np.testing.assert_allclose(np.stack(found), expected, rtol=1e-6, atol=1e-6)
        with pytest.raises(UserError, match="could not run"):
            client.chunk(observations_of({**seen, "state": seen["state"][:, :3]}, 0), reference.TASK)
    finally:
        client.close()
