# SPDX-License-Identifier: Apache-2.0
"""Asks a policy of lerobot, which lives in a process of its own; this side imports neither torch nor lerobot."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from physgen_control.errors import UserError
from physgen_control.types import ACTION_DIM
from physgen_policy.peer.description import LerobotDescription
from physgen_policy.peer.environment import lerobot_command, lerobot_environment
from physgen_policy.peer.framing import FramingError, Message, read_message, write_message
from physgen_policy.peer.observation import LerobotObservation

END_TIMEOUT_S = 5.0


class LerobotClient:
    """Starts the process at the first reset, and again after it died. Not thread-safe; close it.

    Args:
        description: The policy that it asks.
        environment: Variables of the process; None: ours.
    """

    def __init__(self, description: LerobotDescription, environment: Mapping[str, str] | None = None) -> None:
        self.description = description
        self._environment = lerobot_environment(os.environ if environment is None else environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(OSError):
                cast(BinaryIO, process.stdin).close()  # it leaves its loop
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            cast(BinaryIO, process.stdout).close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def reset(self, seed: int) -> None:
        """Start an episode with random numbers from `seed` (0 .. 2**63 - 1).

        Raises:
            UserError: The process cannot be started or died; the folder cannot be loaded.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._ask(Message("reset", {"seed": seed}), "done")

    def chunk(self, observations: Sequence[LerobotObservation], task: str) -> NDArray[np.float32]:
        """Predict canonical actions, float32 [k, 7], k >= 1.

        Args:
            observations: Successive ones, the newest last, with images.
            task: The instruction.

        Raises:
            UserError: The process died or lerobot failed.
        """
        arrays: dict[str, NDArray[np.generic]] = {
            camera: np.stack([observation.images[camera] for observation in observations])
            for camera in self.description.views
        }
        arrays["state"] = np.stack([observation.state for observation in observations])
        actions = self._ask(Message("chunk", {"task": task}, arrays), "chunk").arrays["actions"]
        if actions.dtype != np.float32 or actions.ndim != 2 or actions.shape[1:] != (ACTION_DIM,):
            raise UserError(
                f"the policy in {self.description.folder} answered {actions.dtype} {actions.shape} instead of "
                f"float32 (n, {ACTION_DIM})"
            )
        return actions

    def _start(self) -> None:
        self.close()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            lerobot_command("server", str(self.description.folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
        )
        self._answer("ready")

    def _ask(self, request: Message, expected: str) -> Message:
        assert self._process is not None
        try:
            write_message(cast(BinaryIO, self._process.stdin), request)
        except OSError:
            raise UserError(self._death()) from None
        return self._answer(expected)

    def _answer(self, expected: str) -> Message:
        assert self._process is not None
        try:
            answer = read_message(cast(BinaryIO, self._process.stdout))
        except FramingError:
            answer = None
        if answer is None:
            raise UserError(self._death())
        if answer.kind != expected:
            raise UserError(f"lerobot could not run {self.description.folder}: {answer.fields.get('text')}")
        return answer

    def _death(self) -> str:
        """Return how the process ended, with the last line that it wrote."""
        assert self._process is not None
        assert self._log is not None
        try:
            status = self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1].strip()}" if lines else ""
        return f"the process of the LeRobot policy ended with status {status}{last}"
