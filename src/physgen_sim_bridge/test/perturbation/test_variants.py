# SPDX-License-Identifier: Apache-2.0
"""The frozen list, and the pure values behind it."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgen_control.errors import UserError
from physgen_control.program.plain_values import build
from physgen_sim_bridge.perturbation import frozen_list as frozen
from physgen_sim_bridge.perturbation.condition import CLEAN, Condition, parse_condition, parse_conditions
from physgen_sim_bridge.perturbation.picture_noise import FILTERS, PictureNoise, spoil
from physgen_sim_bridge.perturbation.scene import CameraShift, SceneChange, free_places
from physgen_sim_bridge.perturbation.variant import CATEGORIES, LEVELS, draw, size_of
from physgen_sim_bridge.perturbation.viewpoint import looking_axes, orbit, turn_direction
from physgen_sim_bridge.perturbation.wording import changed_words
from physgen_sim_bridge.registry import instructions

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")
SENTENCES = sorted(
    {*instructions("maniskill", ""), *(text for s in SUITES for text in instructions("libero", f"{s}/0"))}
)


def test_the_list_is_the_committed_one_and_a_changed_one_is_refused(tmp_path, monkeypatch):
    """A result names the list by this hash: whoever changes a variant changes the name."""
    assert frozen.SHA256 == "0a9ed531b51dbe6d9c199cb7e02eb07d75318464a4bd59d08ac9927be79581fe"
    contents = {name: (frozen.config_folder() / name).read_bytes() for name in frozen.FILES}
    assert hashlib.sha256(b"".join(contents.values())).hexdigest() == frozen.SHA256
    (tmp_path / "config").mkdir()
    for name, content in contents.items():
        (tmp_path / "config" / name).write_bytes(content + b"\n")
    monkeypatch.setattr(frozen, "config_folder", lambda: tmp_path / "config")
    with pytest.raises(UserError, match="SHA-256"):
        frozen.frozen_list.__wrapped__()


def test_the_list_holds_what_is_drawn():
    """Level, number and category alone decide a variant: the list can be made again."""
    variants = frozen.frozen_list().variants
    assert sorted(variants) == sorted((c, level) for c in CATEGORIES for level in LEVELS)
    for (category, level), some in variants.items():
        assert some == tuple(draw(category, level, number) for number in range(frozen.NUMBERS))
        if category not in ("language",):
            assert len({repr((v.scene, v.noise)) for v in some}) == frozen.NUMBERS


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_higher_level_is_always_more_and_level_0_is_nothing(category):
    variants = frozen.frozen_list().variants
    sizes = [[size_of(v) for v in variants[category, level]] for level in LEVELS]
    for lower, higher in pairwise(sizes):
        assert max(lower) < min(higher) + 1e-3
    assert max(sizes[-1]) <= 1.001 and min(sizes[0]) > 0.05
    nothing = draw(category, 0, 3)
    assert size_of(nothing) == 0.0 and nothing.scene == SceneChange() and not nothing.noise.filter


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_category_changes_its_own_part_only(category):
    part = {"robot": "joints"}.get(category, category)
    for level in LEVELS:
        for variant in frozen.frozen_list().variants[category, level]:
            assert variant.scene.parts == (() if category in ("noise", "language") else (part,))
            assert bool(variant.noise.filter) == (category == "noise")


@given(st.sampled_from(CATEGORIES), st.integers(0, 5), st.integers(0, 10**6))
def test_a_variant_survives_a_text_file(category, level, number):
    variant = draw(category, level, number)
    assert build(type(variant), frozen.plain_values(variant), "variant") == variant


def test_the_words_of_every_task_change_more_and_more():
    """By the share of words that must be replaced; every sentence of every level differs from the instruction."""
    words = frozen.frozen_list().paraphrases
    shares = []
    for level in LEVELS:
        changed = [
            changed_words(text, words.reword(text, level, n)) / len(text.split())
            for text in SENTENCES
            for n in range(4)
        ]
        assert min(changed) > 0.0
        shares.append(np.mean(changed))
    assert shares == sorted(shares)
    assert all(words.reword(text, 0, 0) == text for text in SENTENCES)
    assert words.reword("pick up the red cube and move it to the goal", 5, 1).count("after you") == 1


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_changes_a_picture_more_and_more_and_never_the_given_one(name):
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    before = picture.copy()
    noises = [PictureNoise(filter=name, strength=s, seed=5) for s in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    spoiled = [spoil(picture, noise, 0, 0) for noise in noises]
    distances = [float(np.abs(image.astype(float) - before).mean()) for image in spoiled]
    assert distances[0] == 0.0 and distances == sorted(distances) and distances[1] > 0.1
    assert spoiled[-1].shape == picture.shape and spoiled[-1].dtype == np.uint8
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(spoil(picture, noises[-1], 0, 0), spoiled[-1])
    later = spoil(picture, noises[-1], 0, 1)
    assert np.array_equal(later, spoiled[-1]) == (name != "sensor_noise")


vectors = st.tuples(*[st.floats(-2.0, 2.0)] * 2, st.floats(0.1, 2.0)).map(np.array)
turns = st.floats(-1.5, 1.5)


@given(vectors, turns, turns)
def test_a_turned_direction_keeps_its_length_and_stays_above_the_table(vector, azimuth, elevation):
    turned = turn_direction(vector, azimuth, elevation)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(vector))
    assert turned[2] > 0.0


def test_a_shifted_camera_looks_at_the_same_point_from_where_it_was_sent():
    """Azimuth turns to the left seen from above, elevation lifts, distance is a factor; the axes are a rotation."""
    eye, target = np.array([1.0, 0.0, 1.0]), np.zeros(3)
    quarter = orbit(eye, target, CameraShift(azimuth=np.pi / 2, distance=2.0))
    assert quarter == pytest.approx([0.0, 2.0, 2.0])
    assert orbit(eye, target, CameraShift(elevation=0.3))[2] > 1.0
    axes = looking_axes(quarter, target, 0.2)
    assert axes.T @ axes == pytest.approx(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert axes[:, 0] == pytest.approx(-quarter / np.linalg.norm(quarter))


def test_places_leave_the_way_of_the_task_alone():
    cube, goal = np.array([0.5, 0.0, 0.02]), np.array([0.7, 0.0, 0.0])
    places = [(0.6, 0.05), (0.4, 0.05), (0.6, 0.2), (0.62, 0.2), (0.6, -0.2), (0.2, 0.0)]
    assert free_places(places, 5, [cube, goal]) == [(0.6, 0.2), (0.6, -0.2), (0.2, 0.0)]
    assert free_places(places, 1, [cube, goal]) == [(0.6, 0.2)]
    assert free_places(places, 0, [cube]) == []


def test_conditions_are_read_as_people_write_them():
    assert parse_conditions("camera, frozen_picture", "1,3..4") == [
        CLEAN,
        Condition("camera", 1),
        Condition("camera", 3),
        Condition("camera", 4),
        Condition("frozen_picture"),
    ]
    assert len(parse_conditions("all,noise", "1..5")) == 1 + 7 * 5
    for condition in parse_conditions("all,wrong_instruction", "2"):
        assert parse_condition(str(condition)) == condition
    assert Condition("camera", 3).folder == "camera_3" and CLEAN.folder == "clean"


@pytest.mark.parametrize(
    ("categories", "levels"), [("zoom", "3"), ("camera", "0"), ("camera", "6"), ("camera", "4..2")]
)
def test_what_is_no_condition_is_a_sentence(categories, levels):
    with pytest.raises(UserError, match=r"perturbation|level"):
        parse_conditions(categories, levels)


@pytest.mark.parametrize("text", ["camera", "camera:0", "camera:9", "wrong_instruction:3", "fog:1"])
def test_what_is_no_single_condition_is_a_sentence(text):
    with pytest.raises(UserError, match="from 1 to 5"):
        parse_condition(text)
