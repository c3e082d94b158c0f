# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from pathlib import Path

import pytest

from physgen_control.errors import UserError
from physgen_control.program.user_folder import user_folder


def test_the_folder_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = user_folder("locks")
    assert folder == tmp_path / "physgen" / "locks"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert user_folder("locks") == folder


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "physgen").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        user_folder("locks")
