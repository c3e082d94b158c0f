# SPDX-License-Identifier: Apache-2.0
"""A fake world whose wrist camera is smaller than its fixed one, as many real ones are."""

from dataclasses import replace

from physgen_sim_bridge.fake.painter import FakePainter
from physgen_sim_bridge.fake.world import FakeWorld

WRIST_PX = 24


class TwoSizesWorld(FakeWorld):
    """See the module."""

    name = "two_sizes"

    def __init__(self, task: str, *, image_size: int = 128, render: bool = True) -> None:
        super().__init__(task, image_size=image_size, render=render)
        wrist = replace(self.spec.wrist_camera, image_size=(WRIST_PX, WRIST_PX))
        self.spec = replace(self.spec, wrist_camera=wrist)
        self._painter = FakePainter(image_size, WRIST_PX, visible=render)
