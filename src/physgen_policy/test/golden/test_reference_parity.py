# SPDX-License-Identifier: Apache-2.0
"""Numerical parity with recordings of the reference network, where a folder of them is given."""

import os
from pathlib import Path

import pytest

from physgen_control.errors import UserError
from physgen_policy.commands import verify_golden
from physgen_policy.golden import folder

FOLDER = os.environ.get("PHYSGEN_GOLDEN", "")


@pytest.mark.skipif(not FOLDER, reason="set PHYSGEN_GOLDEN to a folder with golden tensors")
def test_every_recorded_tensor_is_reproduced():
    """The whole folder is within tolerance."""
    failed = [result for result in folder.verify_folder(Path(FOLDER)) if not result.ok]
    assert not failed


def test_a_folder_without_recordings_is_a_sentence(tmp_path):
    """Not a pass."""
    with pytest.raises(UserError, match="holds no"):
        verify_golden.main([str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "limit"),
    [("text.out.embed", 1e-5), ("head.out.eps_pred_ids", 2e-5), ("generate.out.latents_nocfg", 1e-4),
     ("generate.out.latents_cfg", 2e-3), ("loss.out.grad.mask_embed.bos_token", 2e-5)],
)  # fmt: skip
def test_tolerances(name, limit):
    """The documented limits."""
    assert folder.tolerance_of(name) == limit


def test_a_nan_is_a_failure():
    """A comparison that could not be made never passes."""
    assert not folder.Comparison("x", float("nan"), 1.0).ok
