# SPDX-License-Identifier: Apache-2.0
"""`pip install` of the checkout: what it brings, and that the front door works from it alone."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


def test_the_distribution_lists_every_shipped_checkpoint_and_configuration_file():
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())
    data = described["tool"]["setuptools"]["data-files"]
    shipped = sorted(path.name for path in (ROOT / "src/physgen_policy/checkpoints").iterdir())
    listed = [Path(name).name for name in data if name.startswith("share/physgen_policy/checkpoints/")]
    assert sorted(listed) == shipped
    for patterns in data.values():
        assert all(list(ROOT.glob(pattern)) for pattern in patterns)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_lines_run_from_an_installed_wheel(tmp_path):
    """Heavy dependencies come from this environment; the packages and the checkpoints from the wheel alone."""
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "src", source / "src", ignore=shutil.ignore_patterns("test", "__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    site = tmp_path / "site"
    plain = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AMENT_PREFIX_PATH")
    }
    install = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
        str(source),
    ]
    subprocess.run([sys.executable, *install], env=plain, check=True, timeout=400)
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "five_lines.py")],
        cwd=tmp_path,
        env={**plain, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.stdout == "(3, 8, 7) float32\n", done.stderr
