# SPDX-License-Identifier: Apache-2.0
"""The process that holds a policy of lerobot: `server.py FOLDER`, requests on its input, answers on its output.

    ready           after loading; or refused (text), and it ends
    reset (seed)    a new episode: random numbers from this seed -> done
    chunk (task)    arrays images of CAMERA uint8 [n, y, x, 3], state float32 [n, 15], n successive observations,
                    the newest last -> chunk: actions float32 [k, 7]; or failed (text)

It ends when its input does. Everything that lerobot prints goes to the error output.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from physgen_control.errors import UserError
from physgen_policy.contract.splice import resize_view
from physgen_policy.data.lerobot.features import ACTION_KEY, STATE_KEY, image_key
from physgen_policy.peer.description import LerobotDescription, read_lerobot_description
from physgen_policy.peer.framing import Message, read_message, write_message
from physgen_policy.peer.imports import prepare


class LerobotPolicy:
    """A policy with its own pre- and postprocessors, as lerobot saved them. Not thread-safe."""

    def __init__(self, description: LerobotDescription) -> None:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        folder = str(description.folder)
        config = PreTrainedConfig.from_pretrained(folder, local_files_only=True)
        # The saved weights follow; these would be downloaded only to be overwritten.
        config.pretrained_backbone_weights = None
        self._description = description
        self._policy = get_policy_class(config.type).from_pretrained(folder, config=config, strict=True)
        self._before, self._after = make_pre_post_processors(
            config,
            pretrained_path=folder,
            preprocessor_overrides={"device_processor": {"device": config.device}},
        )

    def reset(self, seed: int) -> None:
        """Start an episode with random numbers from `seed`."""
        torch.manual_seed(seed)
        self._policy.reset()

    @torch.no_grad()
    def chunk(self, images: dict[str, NDArray[np.uint8]], state: NDArray[Any], task: str) -> NDArray[Any]:
        """Predict, float32 [k, 7] in the units of the dataset.

        Args:
            images: By camera, n successive ones, uint8 [n, y, x, 3].
            state: float32 [n, 15], of the same observations.
            task: The instruction.
        """
        batches = [
            self._before(self._item({camera: views[i] for camera, views in images.items()}, state[i], task))
            for i in range(len(state))
        ]
        if self._description.ensembles:
            action = self._policy.select_action(batches[-1])
            return self._after(action).reshape(1, -1).float().numpy()
        if self._description.type == "diffusion":
            batches[-1] = self._remember(batches)
        actions = self._policy.predict_action_chunk(batches[-1])
        return self._after(actions[0]).float().numpy()

    def _item(self, images: dict[str, NDArray[np.uint8]], state: NDArray[Any], task: str) -> dict[str, Any]:
        """Return one observation as a row of a LeRobot dataset: images float [3, y, x] in 0 .. 1."""
        item: dict[str, Any] = {"task": task}
        if self._description.sees_state:
            item[STATE_KEY] = torch.from_numpy(state)
        for camera, (height, width) in self._description.views.items():
            view = np.ascontiguousarray(resize_view(images[camera], height, width).transpose(2, 0, 1))
            item[image_key(camera)] = torch.from_numpy(view).float() / 255
        return item

    def _remember(self, batches: list[dict[str, Any]]) -> dict[str, Any]:
        """Fill the policy's memory as its `select_action` would have done at every one of these observations."""
        from lerobot.policies.utils import populate_queues

        self._policy.reset()
        batch: dict[str, Any] = {}
        for before in batches:
            batch = {key: value for key, value in before.items() if key != ACTION_KEY}
            views = [batch[key] for key in self._policy.config.image_features]
            if views:
                batch["observation.images"] = torch.stack(views, dim=-4)
            self._policy._queues = populate_queues(self._policy._queues, batch)
        return batch


def serve(requests: BinaryIO, answers: BinaryIO, load: Callable[[], LerobotPolicy]) -> None:
    """Answer until the requests end."""
    try:
        policy = load()
    except Exception as error:  # noqa: BLE001  (whatever lerobot raises at a damaged folder is told and ends this process)
        write_message(answers, Message("refused", {"text": sentence(error)}))
        return
    write_message(answers, Message("ready"))
    while (request := read_message(requests)) is not None:
        try:
            answer = _answer(policy, request)
        except Exception as error:  # noqa: BLE001  (costs this request only)
            answer = Message("failed", {"text": sentence(error)})
        write_message(answers, answer)


def _answer(policy: LerobotPolicy, request: Message) -> Message:
    if request.kind == "reset":
        policy.reset(int(request.fields["seed"]))
        return Message("done")
    arrays = dict(request.arrays)
    state = arrays.pop("state")
    return Message("chunk", arrays={"actions": policy.chunk(arrays, state, str(request.fields["task"]))})


def sentence(error: Exception) -> str:
    """Return an error in one line, with its type unless it is meant for users."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def main(words: list[str]) -> int:
    """Serve the policy of a folder on the standard streams; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; its end closes our input
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    prepare()
    serve(sys.stdin.buffer, answers, lambda: LerobotPolicy(read_lerobot_description(Path(words[0]))))
    answers.flush()
    # The threads of a video decoder may never end at a regular exit.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
