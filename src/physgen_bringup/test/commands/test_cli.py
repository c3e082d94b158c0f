# SPDX-License-Identifier: Apache-2.0
"""The command line: overview, lazy modules, errors as one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from physgen_bringup import cli
from physgen_bringup.commands import bench, completion, evaluation_options
from physgen_control.errors import UserError
from physgen_control.program.command_line import run_command

ROOT = Path(__file__).resolve().parents[4]


def refuse(_arguments: list[str]) -> int:
    raise UserError("the file x.bag does not exist:\n  name a bag folder.")


def test_user_error_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    """Bad input never shows a traceback."""
    monkeypatch.delenv("PHYSGEN_DEBUG", raising=False)
    assert run_command("physgen view", refuse, []) == 2
    assert capsys.readouterr().err == "physgen view: the file x.bag does not exist: name a bag folder.\n"


def test_debug_keeps_the_traceback(monkeypatch) -> None:
    """PHYSGEN_DEBUG=1 shows where the error came from."""
    monkeypatch.setenv("PHYSGEN_DEBUG", "1")
    with pytest.raises(UserError):
        run_command("physgen view", refuse, [])


def test_interrupt_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with the shell's status for it, and says nothing."""

    def interrupted(_arguments: list[str]) -> int:
        raise KeyboardInterrupt

    assert run_command("physgen demo", interrupted, []) == 130
    assert capsys.readouterr() == ("", "")


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evla"]) == 2
    assert "did you mean `physgen eval`?" in capsys.readouterr().err


def test_unknown_command_without_a_near_one_points_to_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["zzzzzz"]) == 2
    assert "`physgen --help`" in capsys.readouterr().err


@pytest.mark.parametrize("command", [c for c in cli.COMMANDS if c.module], ids=lambda c: c.name)
def test_every_listed_command_exists_and_has_help(command: cli.Command) -> None:
    """A line of the overview is a promise."""
    result = subprocess.run(
        [sys.executable, "-m", "physgen_bringup.cli", command.name, "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    interpreter = command.name == "python"  # shows its own help
    assert ("usage: " if interpreter else f"physgen {command.name}") in result.stdout


@pytest.mark.parametrize("words", [[], ["--help"], ["help"], ["-h"]])
def test_overview_needs_no_set_up_and_leaves_nothing(words: list[str], tmp_path: Path) -> None:
    """`./physgen --help` on a machine with nothing but Python prints the table and installs nothing."""
    home = tmp_path / "home"
    result = run_script(words, home)
    assert result.returncode == 0, result.stderr
    for command in cli.COMMANDS:
        assert f"  {command.name} " in result.stdout
    assert not home.exists()


SUB_HELPS = [f"bench {target}" for target in bench.TARGETS] + ["eval compare", "eval merge"]


@pytest.mark.parametrize("name", [c.name for c in cli.COMMANDS] + SUB_HELPS)
def test_help_of_a_command_needs_no_set_up(name: str, tmp_path: Path) -> None:
    """Options and all: on a machine with nothing but Python, and nothing is installed."""
    home = tmp_path / "home"
    result = run_script([*name.split(), "--help"], home)
    assert result.returncode == 0, result.stderr
    if name == "python":
        assert "usage: " in result.stdout  # the interpreter's own
        return
    assert f"usage: physgen {name} [" in result.stdout
    assert name in {"setup", "test"} or "example" in result.stdout
    assert not home.exists()


def test_the_version_is_that_of_every_package() -> None:
    result = run_script(["--version"], Path("unused"))
    assert result.stdout.startswith(f"physgen {cli.VERSION}"), result.stderr
    for manifest in (ROOT / "src").glob("*/package.xml"):
        assert f"<version>{cli.VERSION}</version>" in manifest.read_text(encoding="utf-8"), manifest


def test_an_option_of_old_still_works_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    options = evaluation_options.build_parser().parse_args(["--suite=fake", "--out", "x"])
    assert options.suite == "fake"
    assert capsys.readouterr().err == "physgen eval: --suite is called --sim now.\n"


@pytest.mark.parametrize("words", [["-v", "eval", "--out", "x"], ["eval", "-v", "--out", "x"]])
def test_verbosity_may_stand_before_the_command_and_behind_it(words: list[str]) -> None:
    assert cli.command_first(words) == ["eval", "-v", "--out", "x"]


def test_completion_knows_commands_options_and_launch_arguments(tmp_path: Path) -> None:
    """The script is bash that completes what one begins to type."""
    script = tmp_path / "completion"
    script.write_text(completion.script("bash"), encoding="utf-8")
    complete = (
        "source {script}; COMP_WORDS=({words}); COMP_CWORD={last}; COMP_TYPE=9; _shtab_physgen; "
        'printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    for words, expected in (
        (["physgen", "col"], "collect"),
        (["physgen", "eval", "--fail"], "--failure-videos"),
        (["physgen", "launch", "sim:=mani"], "sim:=maniskill"),
    ):
        command = complete.format(script=script, words=" ".join(words), last=len(words) - 1)
        result = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60
        )
        assert expected in result.stdout.split(), (words, result.stdout, result.stderr)


def test_unknown_command_sets_nothing_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = run_script(["lunch"], home)
    assert result.returncode == 2
    assert "did you mean `physgen launch`?" in result.stderr
    assert not home.exists()


def test_setup_refuses_an_unknown_simulation(tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = run_script(["setup", "--sim", "gazebo"], home)
    assert result.returncode == 2
    assert "gazebo" in result.stderr
    assert not home.exists()


def test_no_python_is_a_sentence(tmp_path: Path) -> None:
    result = subprocess.run(
        [str(ROOT / "physgen"), "--help"],
        env={"PATH": os.defpath, "PHYSGEN_PYTHON": "python-that-is-not-there"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert "no Python 3.11 or newer was found" in result.stderr


def run_script(words: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    """Run `./physgen` as a user without any of this process's environment."""
    base = str(Path(sys.base_prefix) / "bin")
    return subprocess.run(
        [str(ROOT / "physgen"), *words],
        env={"PATH": f"{base}{os.pathsep}{os.defpath}", "HOME": str(home.parent), "PHYSGEN_HOME": str(home)},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
