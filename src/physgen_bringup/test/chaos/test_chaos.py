# SPDX-License-Identifier: Apache-2.0
"""The hazard matrix: its table, its verdicts, its page; and three rows against a live graph."""

import json
import math
from typing import Any

import pytest

from physgen_bringup.chaos.page import page
from physgen_bringup.chaos.report import RowResult, from_json, judge, line, summary, to_json
from physgen_bringup.chaos.row import FAKE, GRAPHS, MANISKILL, Measured, Row, find_rows
from physgen_bringup.commands import chaos


def row(number: int = 1, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "number": number,
        "name": f"row_{number}",
        "hazard": "a thing | breaks",
        "detector": "an eye",
        "reaction": "rest",
        "detection_s": 0.3,
        "rest_s": 0.6,
        "graphs": (FAKE,),
        "inject": lambda rig: Measured(),
    }
    return Row(**(fields | changes))


def test_a_row_passes_when_every_repetition_is_within_its_bounds():
    result = judge(row(), FAKE, [Measured(0.1, 0.2), Measured(0.3, 0.6)])
    assert result.verdict == "passed"
    assert result.repeats == 2
    assert "0.20 / 0.30" in line(result)


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ([Measured(0.1, 0.2), Measured(0.31, 0.2)], "detection took 0.310 s, allowed are 0.3 s"),
        ([Measured(0.1, 0.7)], "rest took"),
        ([Measured(0.1, None)], "no rest was measured"),
        ([], "it was not run"),
    ],
)
def test_a_bound_that_is_broken_or_not_measured_fails(measured, words):
    result = judge(row(), FAKE, measured)
    assert result.verdict == "failed"
    assert words in result.failure


def test_what_is_not_possible_is_never_passed():
    result = judge(row(), FAKE, [], "no netem here", possible=False)
    assert result.verdict == "not possible here"
    text = page([to_json([result], {}, "2026-01-01")])
    assert "**not possible here**: no netem here" in text
    assert "1 not possible here" in summary([result])


def test_results_survive_json():
    results = [judge(row(), FAKE, [Measured(0.1, 0.2, "a note")])]
    values = json.loads(json.dumps(to_json(results, {"machine": {"cores": 2}}, "2026-01-01")))
    assert from_json(values) == results
    with pytest.raises(ValueError, match="format"):
        from_json(values | {"format": 99})
    with pytest.raises(ValueError, match="no results"):
        from_json({"rows": []})


def test_the_page_shows_bounds_times_and_failures():
    results = [
        judge(row(2), FAKE, [Measured(0.1, 0.2)]),
        judge(row(1), FAKE, [Measured(9.0, 0.2)]),
        judge(row(3), MANISKILL, [Measured(0.1, 0.2)]),
    ]
    text = page([to_json(results, {"machine": {"cores": 2, "memory_gb": 25.0}}, "2026-01-01")])
    rows = [entry for entry in text.splitlines() if entry.startswith("| ") and "a thing" in entry]
    assert [entry.split("|")[1].strip() for entry in rows] == ["1", "2", "3"]
    assert "**failed**: detection took 9.000 s" in rows[0]
    assert "passed" in rows[1]
    assert "2026-01-01, 2 cores, 25.0 GB" in text


def test_a_row_of_several_runs_passed_if_every_one_did():
    good, bad = judge(row(1), FAKE, [Measured(0.1, 0.2)]), judge(row(1), FAKE, [Measured(9.0, 0.3)])
    both = [to_json([one], {}, "2026-01-01") for one in (bad, good)]
    shown = next(entry for entry in page(both).splitlines() if "a thing" in entry)
    assert "**failed**: detection took 9.000 s" in shown
    assert "0.25 / 0.30" in shown


def test_rows_are_found_by_number_name_and_range():
    rows = (row(1), row(2), row(3, graphs=(MANISKILL,)))
    assert [found.number for found in find_rows(rows, FAKE, [])] == [1, 2]
    assert [found.number for found in find_rows(rows, FAKE, ["2", "row_1"])] == [2, 1]
    assert [found.number for found in find_rows(rows, FAKE, ["1-9"])] == [1, 2]
    with pytest.raises(KeyError):
        find_rows(rows, FAKE, ["3"])


def test_bad_words_are_refused_with_a_sentence(tmp_path):
    from physgen_control.errors import UserError

    with pytest.raises(UserError, match="--from"):
        chaos.main(["--page", str(tmp_path / "page.md")])
    with pytest.raises(UserError, match="cannot be written"):
        chaos.main(["--page", str(tmp_path / "page.md"), "--from", str(tmp_path / "none.json")])
    with pytest.raises(UserError, match="at least 1"):
        chaos.main(["--repeat", "0"])


def test_the_table_has_unique_rows_with_bounds():
    pytest.importorskip("rclpy")
    pytest.importorskip("physgen_msgs")
    from physgen_bringup.chaos.nodes.table import ROWS

    assert len({entry.number for entry in ROWS}) == len({entry.name for entry in ROWS}) == len(ROWS)
    assert [entry.number for entry in ROWS] == sorted(entry.number for entry in ROWS)
    for entry in ROWS:
        assert entry.graphs and set(entry.graphs) <= set(GRAPHS), entry.name
        assert entry.hazard and entry.detector and entry.reaction, entry.name
        for bound in (entry.detection_s, entry.rest_s):
            assert bound is None or (math.isfinite(bound) and bound > 0), entry.name
    # Nothing has to notice what harms nobody: then the injection itself checks that the arm goes on.
    unbounded = [e.name for e in ROWS if e.detection_s is None and e.rest_s is None]
    assert set(unbounded) == {
        "state_without_joints",
        "pose_without_rotation",
        "twist_without_deadman",
        "recorder_killed",
        "picture_of_tomorrow",
    }


def test_a_row_that_is_not_there_is_named():
    pytest.importorskip("rclpy")
    pytest.importorskip("physgen_msgs")
    from physgen_control.errors import UserError

    with pytest.raises(UserError, match="no row 'lunch'"):
        chaos.main(["--row", "lunch"])


@pytest.mark.ros
@pytest.mark.realtime
def test_three_rows_pass_on_the_fake_franka(tmp_path, capsys):
    pytest.importorskip("rclpy")
    pytest.importorskip("physgen_msgs")
    words = [
        "--graph",
        "fake",
        "--repeat",
        "1",
        "--out",
        str(tmp_path),
        "--json",
        str(tmp_path / "r.json"),
    ]
    status = chaos.main([*words, "--row", "policy_silent", "--row", "chunk_nan", "--row", "hold"])
    assert status == 0, capsys.readouterr().out
    results = from_json(json.loads((tmp_path / "r.json").read_text()))
    assert [result.name for result in results] == ["policy_silent", "chunk_nan", "hold"]
    assert all(isinstance(result, RowResult) and result.verdict == "passed" for result in results)
