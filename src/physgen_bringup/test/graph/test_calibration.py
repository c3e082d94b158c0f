# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import yaml

from physgen_bringup.graph.calibration import calibration_text, mounting_of, read_calibration, with_mounting
from physgen_bringup.paths import share_folder
from physgen_control.errors import UserError
from physgen_control.geometry import matrix_from_quaternion, matrix_from_rotation_vector


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"translation": [0, 0]}, "3 finite numbers"),
        ({"translation": [0, 0, float("nan")]}, "3 finite numbers"),
        ({"quaternion_xyzw": [0, 0, 0, 2]}, "length 1"),
        ({"parent": ""}, "names of frames"),
        ({"child": None}, "names of frames"),
    ],
)
def test_a_bad_calibration_is_one_sentence(tmp_path, change, expected):
    values = yaml.safe_load((share_folder() / "config" / "camera_extrinsics.yaml").read_text())
    values["wrist_camera"].update(change)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=expected) as caught:
        read_calibration(path)
    assert "wrist_camera" in str(caught.value)


def test_an_optical_frame_becomes_the_entry_of_its_link_and_is_kept_beside_the_other(tmp_path):
    """Link and optical frame lie as the driver says: x of the link is the optical z, and here 15 mm to its left."""
    optical = np.eye(4)
    optical[:3, :3], optical[:3, 3] = matrix_from_rotation_vector(np.array([0.3, -0.2, 1.1])), (0.4, 0.1, 0.6)
    path = tmp_path / "cameras.yaml"
    fixed = mounting_of("fixed", optical, optical_in_link=(0.0, 0.015, 0.0))
    link = np.eye(4)
    link[:3, :3], link[:3, 3] = matrix_from_quaternion(np.array(fixed.quaternion)), fixed.translation
    driver = np.array([[0, 0, 1, 0], [-1, 0, 0, 0.015], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(link @ driver, optical, atol=1e-6)
    path.write_text(calibration_text(with_mounting(path, fixed)))
    with pytest.raises(UserError, match="camera calibrate"):  # the other is not known yet
        read_calibration(path)
    wrist = mounting_of("wrist", optical, parent="hand", child="eye")
    path.write_text(calibration_text(with_mounting(path, wrist)))
    assert [(m.name, m.parent, m.child) for m in read_calibration(path)] == [
        ("fixed_camera", "base", "fixed_link"),
        ("wrist_camera", "hand", "eye"),
    ]
