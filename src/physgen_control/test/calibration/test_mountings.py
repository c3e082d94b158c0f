# SPDX-License-Identifier: Apache-2.0
import pytest
import yaml

from physgen_bringup.paths import share_folder
from physgen_control.calibration.mountings import read_calibration
from physgen_control.errors import UserError


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
