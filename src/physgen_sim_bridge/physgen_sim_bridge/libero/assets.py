# SPDX-License-Identifier: Apache-2.0
"""LIBERO's scene and object files: where they are, which set they are, and how they are downloaded.

The package index has LIBERO's code, tasks and initial states, but no scene. A result is only comparable with others
of the same set of assets, so every result names the set and its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from physgen_control.errors import UserError
from physgen_sim_bridge.libero.simulator import library_root

VARIABLE = "PHYSGEN_LIBERO_ASSETS"
"""Environment variable that names the folder of assets."""

REPOSITORY = "lerobot/libero-assets"
"""Data set on the Hugging Face hub with the published assets (about 420 MB)."""

FOLDERS = (
    "scenes",
    "articulated_objects",
    "stable_hope_objects",
    "stable_scanned_objects",
    "turbosquid_objects",
)
_MANIFEST = "MANIFEST.json"
_SOURCE = "PHYSGEN_SOURCE.json"
_NOT_HASHED = ("README.md", _MANIFEST, "LICENSE", _SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSet:
    """One folder of assets."""

    path: Path
    kind: str
    """Says in words what it is."""
    tree_sha256: str
    """SHA-256 over the lines "SHA256  PATH" of all files, sorted by path; hidden files, README.md, LICENSE and
    manifests are left out."""

    def __str__(self) -> str:
        return f"{self.kind}, tree_sha256 {self.tree_sha256}"


def assets_home(environment: Mapping[str, str]) -> Path | None:
    """Return where set-up downloads the assets to; None outside of the state folder."""
    home = environment.get("PHYSGEN_HOME", "")
    return Path(home) / "libero" / "assets" if home else None


def find_assets(environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder of assets: the environment variable, else set-up's download, else one inside the library.

    Raises:
        UserError: There is none, or the named folder is not one.
    """
    environment = os.environ if environment is None else environment
    named = environment.get(VARIABLE, "")
    if named:
        return check_assets(Path(named).expanduser().resolve())
    home = assets_home(environment)
    candidates = [home] if home else []
    with contextlib.suppress(UserError):
        candidates.append(library_root() / "assets")
    for candidate in candidates:
        if _is_complete(candidate):
            return candidate
    raise UserError(
        "LIBERO's scene files are missing: download them with `physgen setup --sim libero`, or name a folder that "
        f"has them with --libero-assets DIR or {VARIABLE}."
    )


def check_assets(folder: Path) -> Path:
    """Return the folder if it holds LIBERO's assets.

    Raises:
        UserError: It does not exist, or a part is missing.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no folder of LIBERO assets at {folder}; correct --libero-assets or {VARIABLE}."
        )
    missing = [name for name in FOLDERS if not (folder / name).is_dir()]
    if missing:
        raise UserError(
            f"{folder} does not hold LIBERO's assets: it has no folder {missing[0]}; correct --libero-assets or "
            f"{VARIABLE}."
        )
    return folder


def describe_assets(folder: Path) -> AssetSet:
    """Return which set of assets a folder holds; reads every file (about a second)."""
    return AssetSet(path=folder, kind=_kind(folder), tree_sha256=tree_sha256(folder))


def tree_sha256(folder: Path) -> str:
    """Return the digest of all files below a folder, as AssetSet says."""
    lines = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and relative.as_posix() not in _NOT_HASHED:
            with path.open("rb") as stream:
                lines.append((relative.as_posix(), hashlib.file_digest(stream, "sha256").hexdigest()))
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(lines, key=lambda line: line[0].encode()))
    return hashlib.sha256(text.encode()).hexdigest()


def download_assets(folder: Path) -> Path:
    """Download the published assets into a folder; files that are there already are kept, so a second call continues.

    Raises:
        UserError: The hub cannot be reached or the download did not finish.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("HF_HOME", str(folder.parent / "huggingface"))
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi, snapshot_download

    try:
        commit = HfApi().dataset_info(REPOSITORY).sha
        snapshot_download(REPOSITORY, repo_type="dataset", revision=commit, local_dir=folder)
    except Exception as error:  # the hub's client raises a dozen unrelated kinds when there is no network
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"LIBERO's assets could not be downloaded from the Hugging Face hub ({type(error).__name__}: {reason}); "
            "run `physgen setup --sim libero` again with a network, or give a folder with --libero-assets DIR or "
            f"{VARIABLE}."
        ) from error
    check_assets(folder)
    (folder / _SOURCE).write_text(json.dumps({"repository": REPOSITORY, "commit": commit}) + "\n")
    return folder


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in FOLDERS) and (
        # Set-up's folder is complete only when the download's last step wrote its source.
        (folder / _SOURCE).is_file() or not (folder / ".cache").is_dir()
    )


def _remember(folder: Path, home: Path | None) -> None:
    """Let the state folder point at a folder that the user named; a finished download is left alone."""
    if home is None or (home.is_dir() and not home.is_symlink()):
        return
    home.parent.mkdir(parents=True, exist_ok=True)
    home.unlink(missing_ok=True)
    home.symlink_to(folder, target_is_directory=True)


def _kind(folder: Path) -> str:
    manifest, source = folder / _MANIFEST, folder / _SOURCE
    if manifest.is_file():
        placeholders = json.loads(manifest.read_text()).get("placeholders", {})
        return f"{len(placeholders)} placeholders" if placeholders else "complete by its manifest"
    if source.is_file():
        origin = json.loads(source.read_text())
        return f"{origin['repository']} at {str(origin['commit'])[:12]}"
    return "unknown origin"


def main(arguments: Sequence[str]) -> int:
    """Make assets available for set-up: remember the named folder, or download into the state folder.

    Usage: python -m physgen_sim_bridge.libero.assets [DIR]
    """  # noqa: DOC501  # caught here
    try:
        home = assets_home(os.environ)
        if arguments and arguments[0]:
            folder = check_assets(Path(arguments[0]).expanduser().resolve())
            _remember(folder, home)
        elif os.environ.get(VARIABLE):
            folder = find_assets()
        elif home is None:
            raise UserError(
                f"PHYSGEN_HOME is not set, so there is no place for LIBERO's assets; set {VARIABLE}."
            )
        else:
            folder = home if _is_complete(home) else download_assets(home)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"LIBERO assets: {folder} ({describe_assets(folder)})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
