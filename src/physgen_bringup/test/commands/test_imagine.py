# SPDX-License-Identifier: Apache-2.0
"""Films of imagined frames: from pictures, from a scene, beside a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
from tiny_checkpoint import VIEW, write_tiny_checkpoint

from physgen_bringup.collection.run import CollectionConfig, Collector
from physgen_bringup.commands import imagine
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_control.errors import UserError
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.registry import make_world

TASK = "FakePush-v0"
FRAMES = {"prediction": "v", "up": True, "present": True, "next_actions": True}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_checkpoint(tmp_path_factory.mktemp("c") / "tiny", model={"frames": FRAMES}))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One episode of the scripted expert with a picture per four steps."""
    words = ["sim:=fake", f"task:={TASK}", "policy:=expert"]
    controller = controller_config(build_graph(parse_arguments(words)).node("controller_node"))
    config = CollectionConfig(picture_every=4)
    collector = Collector(make_world("fake", TASK), make_expert("fake", TASK), controller, config)
    return collector.collect(0, tmp_path_factory.mktemp("bags")).path


def film(out: Path) -> tuple[int, tuple[int, int], dict[str, Any]]:
    """How many pictures it has, their columns and rows, and the numbers beside it."""
    reader = imageio_ffmpeg.read_frames(str(out))
    size = next(reader)["size"]
    reader.close()  # before ffmpeg ends by itself: the reader leaves its pipes open where it did
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(out))
    return frames, size, json.loads(out.with_suffix(".json").read_text())


def test_recorded_and_imagined_run_side_by_side(
    checkpoint: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recorded actions, chunk by chunk; what the recording does not have is not compared."""
    out = tmp_path / "beside.mp4"
    words = ["--checkpoint", checkpoint, "--bag", str(bag), "--frames", "2", "--out", str(out)]
    assert imagine.main(words) == 0
    frames, size, values = film(out)
    assert "has 1 whole chunks" in capsys.readouterr().out
    assert (
        frames == 2 * 8 + 20 and size[0] == 2 * 256 and 3 * 256 < size[1] < 4 * 256
    )  # a row of what differs
    assert values["actions"] == "recorded actions" and values["instruction"]
    (sample,) = values["samples"]
    assert np.array(sample["actions"]).shape == (1, 8, 7) and len(sample["track_error_px"]) == 1
    own = tmp_path / "own.mp4"
    assert imagine.main([*words[:-1], str(own), "--own-actions", "--samples", "2", "--attention"]) == 0
    frames, size, values = film(own)
    assert frames == 3 * 8 + 20 and size[1] > 5 * 256
    assert [s["seed"] for s in values["samples"]] == [0, 1]
    assert values["samples"][0]["actions"] != sample["actions"]


def test_a_scene_and_two_pictures_are_enough_to_begin(checkpoint: str, tmp_path: Path) -> None:
    """The same seed is the same film; pictures of any size are what the checkpoint sees."""
    seen: list[tuple[int, tuple[int, int], dict[str, Any]]] = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.mp4"
        words = ["--task", TASK, "--sim", "fake", "--seed", "3", "--frames", "1", "--sampler", "sample"]
        assert imagine.main(["--checkpoint", checkpoint, *words, "--out", str(out)]) == 0
        seen.append(film(out))
    assert seen[0] == seen[1] and seen[0][2]["samples"][0]["actions"]
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    rng = np.random.default_rng(0)
    for name, side in (("fixed", VIEW), ("wrist", 2 * VIEW)):
        iio.imwrite(tmp_path / f"{name}.png", rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    pictures = [str(tmp_path / "fixed.png"), str(tmp_path / "wrist.png")]
    words = [
        "--checkpoint",
        checkpoint,
        "--image",
        *pictures,
        "--frames",
        "1",
        "--out",
        str(tmp_path / "c.mp4"),
    ]
    assert imagine.main([*words, "--instruction", "push the cube"]) == 0
    with pytest.raises(UserError, match="with --instruction"):
        imagine.main(words)


def test_unusable_input_is_a_sentence(
    checkpoint: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wrong and what is expected."""
    with pytest.raises(UserError, match="--frames must be at least 1"):
        imagine.main(["--bag", str(bag), "--frames", "0"])
    with pytest.raises(SystemExit):
        imagine.main(["--bag", str(bag), "--out", "x.gif"])
    assert "must end in .mp4, got x.gif" in capsys.readouterr().err
    with pytest.raises(UserError, match="give --bag"):
        imagine.main(["--task", TASK, "--own-actions"])
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(UserError, match="cannot be read as a picture"):
        imagine.main(["--image", str(tmp_path / "no.png"), str(tmp_path / "no.png")])
    with pytest.raises(UserError, match="holds 0"):
        imagine.main(["--bag", str(tmp_path)])
    with pytest.raises(UserError, match="temperature"):
        imagine.main(["--checkpoint", checkpoint, "--bag", str(bag), "--temperature", "9"])
