# SPDX-License-Identifier: Apache-2.0
"""The command from a foreign film to acting: every step leaves a JSON, a picture and hashes, and is not repeated."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_scene import film
from PIL import Image

from physgen_control.errors import UserError
from physgen_physworld.commands.physworld import main
from physgen_physworld.video.camera_file import camera_text

pytest.importorskip("mujoco", reason="the extra physworld is not installed")
pytest.importorskip("stable_baselines3", reason="the extra physworld is not installed")
from twin_reality import TwinReality

from physgen_physworld.pipeline.reconstruct_step import load_situation
from physgen_physworld.pipeline.run_step import act

PUSH = ("--instruction", "push the cube to the goal")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clip")
    count = 6
    positions = np.stack([np.linspace(0.55, 0.66, count), np.full(count, 0.02), np.full(count, 0.02)], axis=1)
    video = film(positions, np.zeros(count))
    pictures = [Image.fromarray(frame) for frame in video.frames]
    pictures[0].save(folder / "clip.gif", save_all=True, append_images=pictures[1:], duration=100)
    (folder / "camera.yaml").write_text(camera_text(video.camera))
    return folder / "clip.gif", folder / "camera.yaml"


def test_a_foreign_film_becomes_actions_step_by_step(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    video = ["video", str(run), "--video", str(clip[0]), "--camera", str(clip[1])]
    train = ["train", str(run), "--steps", "256", "--twins", "2"]
    for step, arguments in (
        ("video", video),
        ("reconstruct", ["reconstruct", str(run), *PUSH]),
        ("train", train),
    ):
        assert main(arguments) == 0
        assert f"{step}: done in" in capsys.readouterr().out
        record = json.loads((run / step / f"{step}.json").read_text())
        assert record["step"] == step and all(len(digest) == 64 for digest in record["inputs"].values())
        assert record["outputs"] and (run / step / f"{step}.png").stat().st_size > 1000
        assert main(arguments) == 0
        assert f"{step}: is done already" in capsys.readouterr().out
    result = json.loads((run / "reconstruct" / "reconstruct.json").read_text())["result"]
    assert result["moved"] == "cube" and not result["lifted"]
    assert result["objects"][0]["end_m"][0] == pytest.approx(0.66, abs=0.006)
    _, _, scene = load_situation(run)
    world = TwinReality(scene, PUSH[1], np.array([0.66, 0.02, 0.02]))
    for how in ("base", "residual"):
        outcome = act(run, how, lambda: world, 5)
        assert outcome["success"] and outcome["phase"] == "done"
        assert (run / f"run-{how}" / f"run-{how}.png").stat().st_size > 1000
        film = cv2.VideoCapture(str(run / f"run-{how}" / f"run-{how}.mp4"))
        assert film.read()[1].shape == (256, 3 * 256, 3) and film.get(cv2.CAP_PROP_FRAME_COUNT) > 15
    looks = world.looks
    assert (
        act(run, "base", lambda: world, 5)
        == json.loads((run / "run-base" / "run-base.json").read_text())["result"]
    )
    assert world.looks == looks, "what is done is not repeated"
    with pytest.raises(UserError, match="does not say in which scene to act"):
        main(["run", str(run)])


def test_a_changed_input_makes_a_step_again(clip: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    main(["video", str(run), "--video", str(clip[0]), "--camera", str(clip[1])])
    main(["reconstruct", str(run), *PUSH])
    tracks = run / "reconstruct" / "tracks.npz"
    before = tracks.read_bytes()
    tracks.write_bytes(b"damaged")
    main(["reconstruct", str(run), *PUSH])
    assert tracks.read_bytes()[:100] == before[:100] and len(tracks.read_bytes()) == len(before)


def test_tracks_of_another_program_enter_in_the_middle(clip: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for run in (first, second):
        main(["video", str(run), "--video", str(clip[0]), "--camera", str(clip[1])])
    main(["reconstruct", str(first), *PUSH])
    main(["reconstruct", str(second), *PUSH, "--from", str(first / "reconstruct" / "tracks.npz")])
    mine, theirs = load_situation(first)[1], load_situation(second)[1]
    assert np.array_equal(mine.positions, theirs.positions)
    record = json.loads((second / "reconstruct" / "reconstruct.json").read_text())
    assert set(record["inputs"]) == {"video", "tracks"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["video", "RUN"], "Say where the video is from"),
        (["video", "RUN", "--video", "a.mp4"], "of no use without its camera"),
        (["video", "RUN", "--video", "a.mp4", "--bag", "b", "--camera", "c"], "not both"),
        (["video", "RUN", "--video", "none.mp4", "--camera", "none.yaml"], "no video file"),
        (["video", "RUN", "--task", "OpenDrawer-v1"], "no ManiSkill task"),
        (["reconstruct", "RUN", "--instruction", "push the cube"], "has no video yet"),
        (["train", "RUN"], "has no tracks yet"),
        (["run", "RUN"], "has no video yet"),
        (["reconstruct", "RUN", *PUSH, "--object", "cube"], "NAME=COLUMN,ROW"),
        (["ladder", "--out", "x.json", "--seeds", "ten"], "FIRST:COUNT"),
        (["ladder", "--out", "x.json", "--tasks", "Fly-v1"], "no task or rung"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    words = [str(tmp_path / "run") if word == "RUN" else word for word in arguments]
    with pytest.raises(UserError, match=sentence):
        main(words)
