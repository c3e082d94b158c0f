# SPDX-License-Identifier: Apache-2.0
"""What surrounds LIBERO and needs neither it nor its scenes: task names, limits, stored states, assets, scripts."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physgen_control.errors import UserError
from physgen_control.geometry import matrix_from_rotation_vector, rotation_vector_from_matrix
from physgen_control.types import Pose
from physgen_sim_bridge.canonical_action import libero_action
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.libero import assets
from physgen_sim_bridge.libero.experts import ScriptExpert
from physgen_sim_bridge.libero.init_states import decode_matrix, read_init_states
from physgen_sim_bridge.libero.motion import State, Target, action_towards, downward, nearest_heading
from physgen_sim_bridge.libero.tasks import libero_tasks
from physgen_sim_bridge.registry import UnknownTaskError, check_task, known_tasks, resolve_suite

finite = st.floats(-10, 10, width=32)
vectors = arrays(np.float64, 3, elements=st.floats(-1.5, 1.5))


@given(arrays(np.float32, 7, elements=finite))
def test_actions_are_in_the_simulators_range_and_keep_sign_and_scale(action):
    """0.05 m and 0.5 rad are 1.0; the gripper's sign turns round."""
    result = libero_action(action)
    assert result.dtype == np.float32 and np.all(np.abs(result) <= 1.0)
    np.testing.assert_allclose(result[:3], np.clip(action[:3] * 20.0, -1, 1), atol=1e-6)
    assert result[6] == -np.clip(action[6], -1, 1)


@given(vectors)
def test_a_long_rotation_is_shortened_along_its_axis(rotation):
    """Clipping per component would turn about another axis."""
    result = libero_action(np.array([0, 0, 0, *rotation, 0], dtype=np.float32))[3:6] * 0.5
    length = float(np.linalg.norm(rotation))
    np.testing.assert_allclose(result, rotation * min(1.0, 0.5 / max(length, 1e-9)), atol=1e-6)


@given(arrays(np.float64, 3, elements=st.floats(-1.0, 1.0)))
def test_rotation_vectors_rebuild_the_matrix(vector):
    """Both ways, up to almost half a turn."""
    rotation = matrix_from_rotation_vector(vector)
    np.testing.assert_allclose(
        matrix_from_rotation_vector(rotation_vector_from_matrix(rotation)), rotation, atol=1e-6
    )


@given(st.floats(-3, 3), st.floats(-1.2, 1.2))
def test_downward_is_a_rotation_with_the_fingers_along_its_heading(heading, tilt):
    """Right-handed; without tilt it points straight down."""
    rotation = downward(heading, tilt)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation[2, 2] == pytest.approx(-np.cos(tilt))
    np.testing.assert_allclose(downward(heading)[:2, 1], [np.cos(heading), np.sin(heading)], atol=1e-12)


@given(st.floats(-6, 6), st.floats(-1.5, 1.5))
def test_nearest_heading_is_an_equal_one_within_a_quarter_turn(heading, current):
    """Fingers are symmetric: half a turn more is the same grasp."""
    state = State({}, np.zeros(3), downward(current), 0.08)
    found = nearest_heading(heading, state)
    assert abs(found - current) <= np.pi / 2 + 1e-9
    assert np.sin(found - heading) == pytest.approx(0.0, abs=1e-9)


@given(vectors, vectors, st.floats(-3, 3))
def test_script_actions_stay_within_the_simulators_limits(position, hand, heading):
    """And point to the target."""
    state = State({}, hand, downward(0.0), 0.08)
    action = action_towards(Target(position, downward(heading), -1.0), state)
    assert np.abs(action[:3]).max() <= 0.0501 and np.linalg.norm(action[3:6]) <= 0.301 and action[6] == -1.0
    assert float(action[:3] @ (position - hand)) >= 0.0


def test_a_script_that_ended_holds_still_and_open():
    """And can be started again."""

    def script(state):
        return (yield Target(state.hand + 1.0, state.rotation, -1.0))

    expert = ScriptExpert(script)
    pose = Pose(position=np.zeros(3), quaternion=np.array([1.0, 0.0, 0.0, 0.0]))
    for _ in range(2):
        expert.reset()
        assert expert.act({}, pose, 0.08)[6] == -1.0
        for _ in range(2):
            action = expert.act({}, pose, 0.08)
            assert action[6] == 1.0 and np.abs(action[:6]).max() < 1e-6


def test_tasks_have_the_benchmarks_names_words_and_limits():
    """130 tasks, in the benchmark's order."""
    tasks = libero_tasks()
    assert len(tasks) == 130 and len({task.bddl_sha256 for task in tasks.values()}) == 130
    assert tasks["libero_object/3"].instruction == "pick up the bbq sauce and place it in the basket"
    assert tasks["libero_10/2"].instruction == "turn on the stove and put the moka pot on it"
    limits = {
        suite: tasks[f"libero_{suite}/0"].max_steps for suite in ("spatial", "object", "goal", "10", "90")
    }
    assert limits == {"spatial": 220, "object": 280, "goal": 300, "10": 520, "90": 400}
    assert known_tasks("libero") == tuple(tasks)


def test_a_suite_is_a_simulator_and_half_a_task():
    """What people write after --sim and --task."""
    assert resolve_suite("libero_object", "3") == ("libero", "libero_object/3")
    assert resolve_suite("libero_object", "") == ("libero", "libero_object/0")
    assert resolve_suite("libero_goal", "libero_goal/4") == ("libero", "libero_goal/4")
    assert resolve_suite("libero", "libero_goal/4") == ("libero", "libero_goal/4")
    assert resolve_suite("maniskill", "PushCube-v1") == ("maniskill", "PushCube-v1")
    with pytest.raises(UnknownTaskError, match="libero_object/0 to libero_object/9") as caught:
        check_task("libero", "libero_object/10")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_experts_exist_for_the_suites_that_say_so_and_only_there():
    """All of libero_object and libero_spatial, nine of libero_goal."""
    for suite, numbers in (
        ("libero_object", range(10)),
        ("libero_spatial", range(10)),
        ("libero_goal", range(9)),
    ):
        for number in numbers:
            make_expert("libero", f"{suite}/{number}")
    with pytest.raises(UserError, match="libero_90/3"):
        make_expert("libero", "libero_90/3")


def archive_of(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return buffer.getvalue()


def protocol_2(array: np.ndarray) -> bytes:
    """What NumPy 1 wrote: its array under its old module name."""
    return pickle.dumps(array, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@given(arrays(np.float64, st.tuples(st.integers(1, 60), st.integers(1, 200)), elements=st.floats(-1e6, 1e6)))
def test_a_matrix_is_read_without_unpickling(array):
    """Bit for bit."""
    np.testing.assert_array_equal(decode_matrix(protocol_2(np.ascontiguousarray(array))), array)


@pytest.mark.parametrize(
    "thing",
    [
        [1, 2],
        {"a": 1},
        np.zeros(3),
        np.zeros((2, 2), dtype=np.float32),
        np.zeros((2, 2, 2)),
        np.array([[print]], dtype=object),
    ],
)
def test_anything_but_a_float64_matrix_is_refused(thing):
    """A pickle that calls a function does not get so far."""
    with pytest.raises(ValueError):
        decode_matrix(protocol_2(thing))


def test_changed_files_are_refused_with_a_sentence(tmp_path):
    """The pinned hash is checked before anything is read."""
    path = tmp_path / "x.pruned_init"
    path.write_bytes(archive_of(protocol_2(np.zeros((2, 2)))))
    with pytest.raises(UserError, match="SHA-256"):
        read_init_states(path, "0" * 64)
    with pytest.raises(UserError, match="cannot be read"):
        read_init_states(tmp_path / "absent", "0" * 64)


def make_assets(folder: Path, **files: str) -> Path:
    for name in assets.FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "a.xml").write_text(name)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_assets_are_found_by_variable_then_in_the_state_folder(tmp_path):
    """A folder that is none is refused, a named one wins."""
    one, home = make_assets(tmp_path / "one"), tmp_path / "home"
    two = make_assets(home / "libero" / "assets")
    assert assets.find_assets({"PHYSGEN_HOME": str(home)}) == two
    assert assets.find_assets({"PHYSGEN_HOME": str(home), assets.VARIABLE: str(one)}) == one
    with pytest.raises(UserError, match="no folder of LIBERO assets"):
        assets.find_assets({assets.VARIABLE: str(tmp_path / "absent")})
    with pytest.raises(UserError, match="no folder scenes"):
        assets.find_assets({assets.VARIABLE: str(tmp_path)})


def test_an_interrupted_download_is_not_taken_for_assets(tmp_path):
    """The hub's client leaves .cache in the folder; the last step writes where it came from."""
    folder = make_assets(tmp_path / "libero" / "assets")
    (folder / ".cache").mkdir()
    with pytest.raises(UserError, match="--libero-assets"):
        assets.find_assets({"PHYSGEN_HOME": str(tmp_path)})
    (folder / "PHYSGEN_SOURCE.json").write_text(json.dumps({"repository": "r", "commit": "0123456789abcdef"}))
    assert assets.find_assets({"PHYSGEN_HOME": str(tmp_path)}) == folder
    assert assets.describe_assets(folder).kind == "r at 0123456789ab"


def test_the_hash_is_of_contents_and_names_only(tmp_path):
    """Notes and hidden files do not change it, one byte of a mesh does; placeholders are told."""
    one = make_assets(tmp_path / "one", README_md="a")
    two = make_assets(tmp_path / "two", MANIFEST_json=json.dumps({"placeholders": {"a": "", "b": ""}}))
    (two / ".cache").mkdir()
    (two / ".cache" / "x").write_text("x")
    first, second = assets.describe_assets(one), assets.describe_assets(two)
    assert first.tree_sha256 == second.tree_sha256
    assert (first.kind, second.kind) == ("unknown origin", "2 placeholders")
    (two / "scenes" / "a.xml").write_text("other")
    assert assets.tree_sha256(two) != first.tree_sha256


def test_without_a_network_the_download_ends_with_one_sentence(tmp_path, monkeypatch):
    """Nothing listens at that address."""
    pytest.importorskip("huggingface_hub")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(UserError, match="--libero-assets") as caught:
        assets.download_assets(tmp_path / "assets")
    assert "\n" not in str(caught.value)


def test_set_up_remembers_a_named_folder(tmp_path, monkeypatch, capsys):
    """`physgen setup --sim libero --libero-assets DIR`; a wrong folder is one sentence and status 1."""
    folder = make_assets(tmp_path / "mine")
    monkeypatch.setenv("PHYSGEN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(assets.VARIABLE, raising=False)
    assert assets.main([str(folder)]) == 0
    assert assets.find_assets().resolve() == folder
    assert assets.main([str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
