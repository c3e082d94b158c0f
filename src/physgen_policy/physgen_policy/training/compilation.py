# SPDX-License-Identifier: Apache-2.0
"""Compiles the transformer blocks of a policy for training (torch.compile); numbers stay the same up to rounding."""

from __future__ import annotations

import shutil

import torch

from physgen_control.errors import UserError
from physgen_policy.model.physgen import PhysGen


def compile_blocks(model: PhysGen, device: torch.device) -> None:
    """Compile the blocks of the video encoder and the action head in place; names of weights do not change.

    Lengths and batch sizes stay variables: windows differ in packs, and every length would be compiled anew. The first
    steps take a minute more.

    Raises:
        UserError: the blocks would run on a CPU, and there is no C++ compiler.
    """
    if device.type == "cpu" and shutil.which("g++") is None:
        raise UserError(
            "policy.compile_blocks needs a C++ compiler (g++) on a CPU; install one or leave it out"
        )
    for block in (*model.nova.video_encoder.blocks, *model.action_head.blocks):
        block.compile(dynamic=True)
