# SPDX-License-Identifier: Apache-2.0
"""From a recording of a tag to the file that the graph reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_tags import MATRIX, ON_HAND, SIZE, TAG, record

from physgen_control.calibration.calibrate import calibrate, camera_yaml, with_mounting
from physgen_control.calibration.hand_eye import CalibrationError
from physgen_control.calibration.mountings import calibration_text, read_calibration
from physgen_control.calibration.tags import Tag
from physgen_control.errors import UserError
from physgen_control.geometry import matrix_from_quaternion
from physgen_control.program.plain_values import parse_yaml


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bags") / "tag", 16)


def test_a_recording_becomes_an_entry_that_the_graph_reads(bag: Path, tmp_path: Path) -> None:
    """The link of the camera, from which its driver leads on to the optical frame, within a few millimetres."""
    found = calibrate([bag], "wrist", TAG)
    assert found.pictures.image_size == SIZE and found.pictures.looked_at == 16
    said = " ".join(found.lines())
    assert "reprojection error 0." in said and "16 pictures of 16 places" in said

    mounting = found.mounting(optical_in_link=(0.0, 0.015, 0.0))
    link = np.eye(4)
    link[:3, :3], link[:3, 3] = matrix_from_quaternion(np.array(mounting.quaternion)), mounting.translation
    optical = link @ np.array([[0, 0, 1, 0], [-1, 0, 0, 0.015], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(optical[:3, 3], ON_HAND[:3, 3], atol=0.006)
    np.testing.assert_allclose(optical[:3, :3], ON_HAND[:3, :3], atol=0.01)

    path = tmp_path / "cameras.yaml"
    path.write_text(calibration_text(with_mounting(path, mounting)))
    with pytest.raises(UserError, match="camera calibrate"):  # one camera is not yet known
        read_calibration(path)
    fixed = found.mounting("base", "fixed_link")
    other = type(fixed)(
        name="fixed_camera",
        parent="base",
        child="fixed_link",
        translation=fixed.translation,
        quaternion=fixed.quaternion,
    )
    path.write_text(calibration_text(with_mounting(path, other)))
    read = {entry.name: entry for entry in read_calibration(path)}
    assert (read["wrist_camera"].parent, read["wrist_camera"].child) == ("fr3_hand_tcp", "wrist_link")
    np.testing.assert_allclose(read["wrist_camera"].translation, mounting.translation)
    np.testing.assert_allclose(read["wrist_camera"].quaternion, mounting.quaternion, atol=1e-6)


def test_physworld_gets_pixels_from_the_corner(bag: Path) -> None:
    values = parse_yaml(camera_yaml(calibrate([bag], "wrist", TAG)), "camera.yaml")
    assert values["image_size"] == list(SIZE)
    expected = MATRIX.copy()
    expected[:2, 2] += 0.5
    np.testing.assert_allclose(np.array(values["matrix"]).reshape(3, 3), expected)
    np.testing.assert_allclose(values["base_from_camera"]["position"], ON_HAND[:3, 3], atol=0.006)


def test_what_cannot_be_used_is_a_sentence(bag: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="found in 0 usable pictures"):
        calibrate([bag], "fixed", TAG)  # dark pictures
    with pytest.raises(CalibrationError, match=r"0\.001 to 2 m"):
        calibrate([bag], "wrist", Tag(size_m=80.0))
    with pytest.raises(CalibrationError, match="no recording"):
        calibrate([], "wrist", TAG)
    blind = record(tmp_path / "blind", 1, np.zeros((3, 3)))
    with pytest.raises(CalibrationError, match="focal lengths above 0"):
        calibrate([blind], "wrist", TAG)
