# SPDX-License-Identifier: Apache-2.0
"""From a recording of a tag to the camera's place."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_tags import MATRIX, ON_HAND, SIZE, TAG, record

from physgen_physworld.calibration.calibrate import calibrate
from physgen_physworld.calibration.hand_eye import CalibrationError
from physgen_physworld.calibration.tags import Tag
from physgen_physworld.video.camera_file import camera_text, read_camera


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bags") / "tag", 16)


def test_a_camera_is_found_from_a_recording(bag: Path, tmp_path: Path) -> None:
    """Within a few millimetres, from pictures at rest; PhysWorld reads the camera, with pixels from the corner."""
    found = calibrate([bag], "wrist", TAG)
    assert found.pictures.image_size == SIZE and found.pictures.looked_at == 16
    said = " ".join(found.lines())
    assert "reprojection error 0." in said and "16 pictures of 16 places" in said
    np.testing.assert_allclose(found.found.camera[:3, 3], ON_HAND[:3, 3], atol=0.006)
    np.testing.assert_allclose(found.found.camera[:3, :3], ON_HAND[:3, :3], atol=0.01)

    (tmp_path / "camera.yaml").write_text(camera_text(found.scene_camera()))
    read = read_camera(tmp_path / "camera.yaml")
    expected = MATRIX.copy()
    expected[:2, 2] += 0.5
    np.testing.assert_allclose(read.matrix, expected)
    np.testing.assert_allclose(read.base_from_camera.position, found.found.camera[:3, 3])


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


def test_a_damaged_recording_is_left_out_by_name(bag: Path, tmp_path: Path) -> None:
    """One that cannot be read costs nothing but itself; where none can be, the reason is said."""
    damaged = tmp_path / "damaged"
    shutil.copytree(bag, damaged)
    for file in damaged.glob("*.mcap"):
        file.write_bytes(b"no recording")
    found = calibrate([damaged, bag], "wrist", TAG)
    assert found.pictures.looked_at == 16
    assert any("left out" in line and str(damaged) in line for line in found.lines())
    with pytest.raises(CalibrationError, match=r"no recording can be read: .*damaged"):
        calibrate([damaged], "wrist", TAG)
