# SPDX-License-Identifier: Apache-2.0
"""`physgen doctor` needs nothing but Python, changes nothing, and says what to do where something is wrong."""

import json
import subprocess
from pathlib import Path

import pytest

from physgen_bringup.commands import doctor
from physgen_bringup.commands.machine_checks import findings

ROOT = Path(__file__).resolve().parents[4]


def test_it_works_before_anything_is_installed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "PHYSGEN_HOME": str(home)}
    command = [str(ROOT / "physgen"), "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    found = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["Python"]["verdict"] == "ok"
    assert found["packages"]["do"] == "./physgen setup"
    assert not home.exists()


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"ROS_DOMAIN_ID": "233"}, "DDS domain"),
        ({"ROS_DOMAIN_ID": "mine"}, "DDS domain"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "off"}, "DDS discovery"),
    ],
)
def test_what_would_stop_a_graph_is_wrong_and_has_a_remedy(environment: dict[str, str], what: str) -> None:
    [finding] = [finding for finding in findings(environment) if finding.what == what]
    assert finding.verdict == "wrong"
    assert "unset it" in finding.do


def test_a_wrong_finding_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "mine")
    assert doctor.main([]) == 1
    text = capsys.readouterr().out
    assert "WRONG  DDS domain" in text
    assert "next: ./physgen doctor" in text
