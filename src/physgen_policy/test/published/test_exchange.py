# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and datasets travel to a hub folder and back; what is no such thing, and no connection, is a sentence."""

import os
import re
from pathlib import Path

import pytest
import torch
from tiny_checkpoint import tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

from physgen_control.errors import UserError
from physgen_policy.checkpoint import checkpoint_sha256
from physgen_policy.commands import pull, push
from physgen_policy.contract.tensor_file import save_file
from physgen_policy.data.dataset import Dataset
from physgen_policy.published.exchange import Place, parse_place


def test_a_checkpoint_travels_through_a_hub_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit, without what nobody should run, and readable as the umask says."""
    source = write_tiny_checkpoint(tmp_path / "mine")
    (source / "surprise.py").write_text("raise SystemExit")
    assert push.main([str(source), str(tmp_path / "hub")]) == 0
    assert f"next: ./physgen pull {tmp_path / 'hub' / 'mine'}" in capsys.readouterr().out
    assert pull.main([str(tmp_path / "hub" / "mine"), "--out", str(tmp_path / "copy")]) == 0
    assert checkpoint_sha256(tmp_path / "copy") == checkpoint_sha256(source)
    assert not (tmp_path / "copy" / "surprise.py").exists()
    assert "is a checkpoint, complete" in capsys.readouterr().out
    with pytest.raises(UserError, match="is there already"):
        push.main([str(source), str(tmp_path / "hub")])
    with pytest.raises(UserError, match="exists already"):
        pull.main([str(tmp_path / "hub" / "mine"), "--out", str(tmp_path / "copy")])


def test_a_dataset_travels_through_a_hub_folder(tmp_path: Path) -> None:
    source = write_tiny_dataset(tmp_path / "data", tiny_embodiment())
    assert push.main([str(source), str(tmp_path / "hub")]) == 0
    assert pull.main([str(tmp_path / "hub" / "data"), "--out", str(tmp_path / "copy")]) == 0
    assert len(Dataset(tmp_path / "copy")) == len(Dataset(source))
    assert Dataset(tmp_path / "copy").episode_sha256(0) == Dataset(source).episode_sha256(0)


def test_a_damaged_checkpoint_gets_no_name(tmp_path: Path) -> None:
    """What arrives is checked first."""
    source = write_tiny_checkpoint(tmp_path / "mine")
    (source / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be used"):
        push.main([str(source), str(tmp_path / "hub")])
    with pytest.raises(UserError, match="cannot be used"):
        pull.main([str(source), "--out", str(tmp_path / "copy")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a checkpoint nor a dataset"):
        push.main([str(tmp_path / "empty"), str(tmp_path / "hub")])
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "hub").exists()


def test_no_connection_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens on stands for it."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"the hub repository me/mine cannot be used .* give a folder in its place"
    ):
        pull.main(["hf://me/mine", "--out", str(tmp_path / "copy")])
    with pytest.raises(UserError, match="hf auth login"):
        push.main([str(write_tiny_checkpoint(tmp_path / "mine")), "hf://me/mine"])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/mnt/hub", Place(folder=Path("/mnt/hub"))),
        ("./me/mine", Place(folder=Path("me/mine"))),
        ("me/mine", Place(repository="me/mine")),
        ("hf://me/mine@v1", Place(repository="me/mine", revision="v1")),
        ("mine", Place(folder=Path("mine"))),
    ],
)
def test_what_people_write_is_a_folder_or_a_repository(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_tensor_files_have_the_mode_of_other_files(umask: int, mode: int, tmp_path: Path) -> None:
    """safetensors itself writes them for their owner alone."""
    before = os.umask(umask)
    try:
        save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode


def test_every_checkpoint_has_a_card_and_a_persons_card_is_kept(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "mine")
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: physgen\n")
    assert "| tasks | " in text and "./physgen eval --task " in text
    (folder / "README.md").write_text("# Measured by hand\n")
    write_tiny_checkpoint(folder)
    assert (folder / "README.md").read_text() == "# Measured by hand\n"


def test_tensors_are_written_in_one_place_only() -> None:
    """Whoever calls safetensors itself writes files that others cannot read."""
    package = Path(__file__).parents[2] / "physgen_policy"
    pattern = re.compile(r"^from safetensors\S* import .*\bsave", re.MULTILINE)
    others = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if pattern.search(path.read_text())
    ]
    assert others == []
