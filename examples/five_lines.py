# SPDX-License-Identifier: Apache-2.0
"""A shipped checkpoint asked for actions, in five lines: `./physgen python examples/five_lines.py`."""

import numpy as np

import physgen

policy = physgen.load("pushcube-tiny")
rgb = np.zeros((128, 128, 3), np.uint8)  # your cameras' images: uint8, RGB
chunk = policy.act(fixed=rgb, wrist=rgb, instruction="push the cube to the goal")
print(chunk.shape, chunk.dtype)  # (3, 8, 7) float32: metres, radians, gripper; the first 8 are to be executed
