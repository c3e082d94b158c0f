# SPDX-License-Identifier: Apache-2.0
"""What people name is found, or one sentence says why not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from physgen_control.errors import UserError
from physgen_control.program.plugins import (
    PluginTable,
    construct,
    entry_names,
    load_reference,
)

TABLE = PluginTable(group="physgen.things", kind="thing", ours={"own": "pathlib:Path"}, members=("act",))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with entry points, as pip leaves it."""
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[physgen.things]\ngood = others_things:Good\nidle = others_things:Idle\nown = others_things:Idle\n"
        "gone = others_gone:Good\nbroken = others_broken:Good\n"
    )
    (tmp_path / "others_things.py").write_text(
        "class Good:\n    def act(self):\n        return 7\nclass Idle:\n    pass\nclass Asks(Good):\n"
        "    def __init__(self, size):\n        pass\n"
        "class Fails(Good):\n    def __init__(self):\n        raise OSError('no disk')\n"
    )
    (tmp_path / "others_broken.py").write_text("import not_there_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("others_")]:
        del sys.modules[name]


def test_installed_packages_add_names_and_ours_win(package):
    assert entry_names("physgen.things") == ("broken", "gone", "good", "idle", "own")
    assert TABLE.names()[0] == "own"
    assert TABLE.load("good")().act() == 7
    table = PluginTable(group="physgen.things", kind="thing", ours={"own": "pathlib:Path"})
    assert table.load("own") is Path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "there is no thing 'nothing'; choose of own, broken, gone, good, idle"),
        ("goood", "did you mean 'good'"),
        ("idle", "cannot be used as a thing: it has no act"),
        ("gone", "there is no module 'others_gone'"),
        ("broken", "cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("others_things:Missing", "others_things has no 'Missing'"),
        ("others_things:", "write module:Name"),
        ("nowhere/file.py:Good", "there is no file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(package, name, words):
    with pytest.raises(UserError, match=words) as refused:
        TABLE.load(name)
    assert "\n" not in str(refused.value)


def test_a_file_is_imported_once_and_finds_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("VALUE = 3\n")
    file = tmp_path / "mine.py"
    file.write_text("from neighbour_of_mine import VALUE\nclass Mine:\n    value = VALUE\n")
    first = load_reference(f"{file}:Mine", "thing")
    assert first.value == 3
    assert load_reference(f"{file}:Mine", "thing") is first
    sys.path.remove(str(tmp_path))


def test_a_module_is_found_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "module_in_this_folder.py").write_text("VALUE = 4\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    assert load_reference("module_in_this_folder:VALUE", "thing") == 4


def test_what_cannot_be_made_says_why(package):
    things = {name: TABLE.load(f"others_things:{name}") for name in ("Good", "Asks", "Fails")}
    assert construct(things["Good"], "good", "thing").act() == 7
    with pytest.raises(UserError, match="must be made without arguments"):
        construct(things["Asks"], "asks", "thing")
    with pytest.raises(UserError, match="could not be made: OSError: no disk"):
        construct(things["Fails"], "fails", "thing")
