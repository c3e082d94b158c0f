# SPDX-License-Identifier: Apache-2.0
"""What the policy node and its session need of a policy: a checkpoint's or one of somebody's own."""

from __future__ import annotations

from typing import Protocol

from physgen_control.types import ActionChunk, Episode, RobotState, UInt8Image
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.runtime.mailbox import CancelToken
from physgen_policy.runtime.prediction_error import PredictionError


class ServedPolicy(Protocol):
    """A policy that is served to a graph; one thread calls everything but `put_state`."""

    @property
    def policy_id(self) -> str:
        """Its name in chunks, bags and results."""

    @property
    def gpu_memory(self) -> float:
        """Bytes that it holds on a GPU."""

    @property
    def needs_state(self) -> bool:
        """Whether it wants the measured state of the arm (`put_state`)."""

    @property
    def prediction_errors(self) -> tuple[PredictionError, ...]:
        """Errors of the views of the newest observation against what was imagined for it, see predict_frame; or ()."""

    def put_state(self, state: RobotState) -> None:
        """Take a measured state; called from other threads."""

    def mismatches(self, graph: GraphDescription) -> list[str]:
        """Return what forbids its use in a graph, as sentences."""

    def warm_up(self, imagine: bool = False) -> None:
        """Run every path once, so that no real observation is a slow one."""

    def reset(self, episode: Episode, session_id: str = "") -> None:
        """Start an episode; session_id marks its chunks."""

    def set_instruction(self, instruction: str) -> None:
        """Follow another instruction from the next chunk on."""

    def act(
        self, observation: PolicyObservation, now_ns: int, cancel: CancelToken | None = None
    ) -> ActionChunk:
        """Predict; `now_ns` is ROS time and ends up in the chunk's inference stamps only.

        Raises:
            Cancelled: `cancel` was set; the observation left no trace.
        """

    def predict_frame(self) -> UInt8Image | None:
        """Imagine the frame after the last chunk, uint8 [height, width, 3]; None where it cannot."""
