# SPDX-License-Identifier: Apache-2.0
"""From pictures to poses: errors in millimetres and degrees, on drawn scenes and in the simulator."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from drawn_scene import ARM, CUBE, GREEN, RED, camera, draw, film
from hypothesis import given, settings
from hypothesis import strategies as st

from physgen_control.errors import UserError
from physgen_control.types import Float64Array
from physgen_physworld.reconstruction.colours import colour_mask, grey_mask
from physgen_physworld.reconstruction.depth import PlaneDepth, SensorDepth
from physgen_physworld.reconstruction.errors import track_errors
from physgen_physworld.reconstruction.silhouette import SilhouetteFitter
from physgen_physworld.reconstruction.smoothing import smooth_positions, smooth_yaws
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.reconstruction.tracks_file import import_tracks, save_tracks
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.values import Tracks, Video, square_turn, yaw_quaternions

STACK = "stack the red cube on the green cube"


def tracked(video: Video, instruction: str) -> Tracks:
    return reconstruct_tracks(video, find_things(video, things_named(instruction), PlaneDepth()))


def carried(lower: Float64Array, count: int = 11) -> Float64Array:
    """Lie, rise, move over the lower cube, come down on it and lie there."""
    start = np.array([0.60, 0.08, 0.02])
    way = np.array(
        [start, start, start, [0.60, 0.08, 0.14], [*lower[:2], 0.14], [*lower[:2], 0.06], [*lower[:2], 0.06]]
    )
    at = np.linspace(0, len(way) - 1, count)
    return np.stack([np.interp(at, np.arange(len(way)), way[:, axis]) for axis in range(3)], axis=1)


@settings(max_examples=12)
@given(x=st.floats(0.45, 0.75), y=st.floats(-0.15, 0.15), yaw=st.floats(-0.78, 0.78))
def test_a_cube_on_the_table_is_found_within_a_millimetre(x: float, y: float, yaw: float) -> None:
    seen = camera()
    picture = draw(seen, [(np.array([x, y, 0.02]), yaw, RED)], None)
    mask = colour_mask(picture, "red")
    start = PlaneDepth().place(seen, mask, CUBE)
    fit = SilhouetteFitter(seen, CUBE).fit(
        mask, np.zeros(mask.shape), start, (-0.785, -0.393, 0.0, 0.393), fixed_height=True
    )
    assert fit is not None
    assert 1000 * np.linalg.norm(fit.position - [x, y, 0.02]) < 1.5
    assert np.degrees(abs(square_turn(fit.yaw - yaw))) < 6.0
    assert fit.agreement > 0.85 and fit.visible == 1.0


def test_what_an_arm_hides_does_not_shift_the_cube() -> None:
    seen = camera()
    middle = np.array([0.6, 0.05, 0.02])
    column, row = seen.project(middle[None])[0]
    picture = draw(seen, [(middle, 0.2, RED)], (0, int(row), int(column) - 3, int(column) + 30))
    mask, hidden = colour_mask(picture, "red"), grey_mask(picture)
    assert hidden.sum() > 500 and ARM[0] == picture[0, int(column)][0]
    fit = SilhouetteFitter(seen, CUBE).fit(
        mask, hidden.astype(float), PlaneDepth().place(seen, mask, CUBE), (0.0, 0.4), fixed_height=True
    )
    assert fit is not None and fit.visible < 0.85
    assert 1000 * np.linalg.norm(fit.position - middle) < 3.0


def test_a_stacked_cube_is_followed_through_the_air_and_comes_to_rest_on_the_other() -> None:
    lower = np.array([0.56, -0.07, 0.02])
    positions = carried(lower)
    yaws = np.full(len(positions), 0.25)
    tracks = tracked(film(positions, yaws, on=lower), STACK)
    assert [track.name for track in tracks.objects] == ["red_cube", "green_cube"]
    red, green = tracks.objects
    assert tracks.moved is red and tracks.others == (green,)
    errors = track_errors(red, positions, yaw_quaternions(yaws))
    assert errors.start_mm < 2.0 and errors.end_mm < 3.0
    assert errors.sideways_mm < 8.0 and errors.height_mm < 8.0 and errors.yaw_deg < 6.0
    assert red.positions[-1, 2] == pytest.approx(0.06, abs=0.002)
    assert np.linalg.norm(green.positions - lower, axis=1).max() < 0.003
    assert np.all((red.confidence >= 0) & (red.confidence <= 1)) and red.confidence.mean() > 0.7


def test_a_cube_that_is_pushed_stays_on_the_table() -> None:
    count = 10
    positions = np.stack([np.linspace(0.5, 0.7, count), np.full(count, 0.03), np.full(count, 0.02)], axis=1)
    tracks = tracked(film(positions, np.zeros(count)), "push the cube to the goal")
    errors = track_errors(tracks.moved, positions, yaw_quaternions(np.zeros(count)))
    assert np.ptp(tracks.moved.positions[:, 2]) < 0.001
    assert errors.sideways_mm < 3.0 and errors.end_mm < 4.0


def test_small_pictures_are_enough_for_the_table() -> None:
    """Generated pictures have 128 pixels: a cube is ten of them wide."""
    count = 8
    positions = np.stack([np.linspace(0.5, 0.65, count), np.full(count, 0.0), np.full(count, 0.02)], axis=1)
    tracks = tracked(film(positions, np.zeros(count), size=128), "push the cube to the goal")
    errors = track_errors(tracks.moved, positions, yaw_quaternions(np.zeros(count)))
    assert errors.sideways_mm < 6.0 and errors.end_mm < 6.0


def test_a_thing_that_is_not_there_is_one_sentence() -> None:
    positions = np.tile([0.6, 0.0, 0.02], (4, 1))
    video = film(positions, np.zeros(4))
    with pytest.raises(UserError, match=r"green cube \(40 x 40 x 40 mm\) is not in the first picture"):
        find_things(video, things_named(STACK), PlaneDepth())
    with pytest.raises(UserError, match="names nothing that can be looked for"):
        things_named("open the drawer")


def test_a_click_chooses_between_things_of_one_name() -> None:
    seen = camera()
    red, green = np.array([0.6, 0.1, 0.02]), np.array([0.55, -0.1, 0.02])
    frames = np.stack([draw(seen, [(red, 0.0, RED), (green, 0.0, GREEN)], None)] * 3)
    video = Video(frames=frames, period_s=0.1, camera=seen, source="two cubes")
    column, row = seen.project(green[None])[0]
    (found,) = find_things(video, things_named("push the cube"), PlaneDepth(), {"cube": (column, row)})
    assert found.colour == "green" and np.linalg.norm(found.start.position - green) < 0.002
    with pytest.raises(UserError, match="none of the colours"):
        find_things(video, things_named("push the cube"), PlaneDepth(), {"cube": (5.0, 5.0)})


def test_a_depth_picture_places_things_and_finds_the_table() -> None:
    """Gravity is the table's normal."""
    seen = camera()
    middle = np.array([0.6, 0.05, 0.02])
    mask = colour_mask(draw(seen, [(middle, 0.2, RED)], None), "red")
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    pixels = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    rays = seen.rays(pixels)
    ahead = -seen.base_from_camera.position[2] / rays[:, 2]
    depth = np.where((ahead > 0) & (ahead < 3), ahead, 0).astype(np.float32).reshape(mask.shape)
    depth[mask] = seen.depth_of(middle[None])[0] - 0.02
    sensor = SensorDepth(depth=depth)
    assert np.linalg.norm(sensor.place(seen, mask, CUBE) - middle) < 0.015
    normal, offset = sensor.table_plane(seen, mask)
    assert np.allclose(normal, [0, 0, 1], atol=1e-3) and abs(offset) < 1e-3
    with pytest.raises(UserError, match="align the depth"):
        SensorDepth(depth=depth[:10]).place(seen, mask, CUBE)
    with pytest.raises(UserError, match="measured nothing"):
        SensorDepth(depth=np.zeros_like(depth)).place(seen, mask, CUBE)


def test_smoothing_bridges_gaps_and_forgives_an_outlier() -> None:
    count = 30
    truth = np.stack([np.linspace(0, 0.2, count), np.zeros(count), np.full(count, 0.1)], axis=1)
    rng = np.random.default_rng(0)
    measured = truth + rng.normal(0, 0.003, truth.shape)
    measured[7] += [0.0, 0.1, 0.0]
    measured[15:18] = np.nan
    smooth = smooth_positions(measured, np.tile(9e-6 * np.eye(3), (count, 1, 1)), 0.1)
    assert np.linalg.norm(smooth - truth, axis=1).max() < 0.008
    yaws = smooth_yaws(np.array([0.75, 0.78, -0.76, np.nan, -0.75]), np.full(5, 0.01))
    assert np.ptp(yaws) < 0.1


def test_tracks_survive_their_file_and_strange_files_are_one_sentence(tmp_path: Path) -> None:
    positions = np.tile([0.6, 0.0, 0.02], (4, 1))
    tracks = tracked(film(positions, np.zeros(4)), "push the cube")
    path = tmp_path / "tracks.npz"
    save_tracks(tracks, path)
    again = import_tracks(path)
    assert again.objects[0].name == "cube" and np.array_equal(
        again.objects[0].positions, tracks.objects[0].positions
    )
    with pytest.raises(UserError, match="no track file"):
        import_tracks(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK nonsense")
    with pytest.raises(UserError, match="is no track file"):
        import_tracks(tmp_path / "broken.npz")
    with np.load(path) as file:
        arrays = dict(file)
    for change, sentence in (
        ({"positions": arrays["positions"] * 1000}, "positions are metres"),
        ({"quaternions": arrays["quaternions"] * 2}, "not 1"),
        ({"sizes": arrays["sizes"][:, :2]}, "expected"),
        ({"positions": arrays["positions"] * np.nan}, "not finite"),
        ({"period_s": np.array(0.0)}, "must be positive"),
        ({"names": np.array(["a", "b"])}, "for 2 names"),
    ):
        np.savez(tmp_path / "strange.npz", **(arrays | change))
        with pytest.raises(UserError, match=sentence):
            import_tracks(tmp_path / "strange.npz")


# The simulator runs in this process, with what its libraries warn of each other.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mani_skill") is None, reason="mani-skill is not installed")
@pytest.mark.parametrize(
    ("task", "names", "most_mm"),
    [
        ("PushCube-v1", {"cube": "cube"}, 4.0),
        ("PickCube-v1", {"cube": "cube"}, 20.0),
        ("StackCube-v1", {"red_cube": "cubeA", "green_cube": "cubeB"}, 6.0),
    ],
)
def test_the_expert_without_its_arm_is_tracked_in_the_simulator(
    task: str, names: dict[str, str], most_mm: float
) -> None:
    """Median over three seeds of the start's and the end's distance from the simulator's truth.

    PickCube ends inside of the drawn goal, which hides most of the cube.
    """
    from physgen_physworld.video.oracle import OracleSource
    from physgen_sim_bridge.maniskill.tasks import TASKS
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    world = ManiSkillWorld(task, image_size=256)
    starts, ends = [], []
    for seed in (7, 8, 9):
        episode = OracleSource(task=task, seed=seed).episode(world)
        tracks = tracked(episode.video, TASKS[task].instruction)
        errors = track_errors(tracks.moved, *episode.truth[names[tracks.moved.name]])
        starts.append(errors.start_mm)
        ends.append(errors.end_mm)
    world.close()
    assert np.median(starts) < 2.0 and np.median(ends) < most_mm
