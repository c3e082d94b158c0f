# SPDX-License-Identifier: Apache-2.0
"""Downloads a published model folder from the Hugging Face hub: one commit, resumable, large files checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from physgen_policy.checkpoint import file_sha256
from physgen_policy.published.nova_folder import NovaFolderError

WANTED = (
    "model_index.json",
    "transformer/*.json",
    "transformer/*.safetensors",
    "vae/*.json",
    "vae/*.safetensors",
    "text_encoder/*.json",
    "text_encoder/*.safetensors",
    "tokenizer/*.json",
)
"""Weights and descriptions; the code files of a repository are never fetched."""


@dataclass(frozen=True, slots=True)
class Download:
    """A complete local folder and what it is a copy of."""

    folder: Path
    repository: str
    revision: str
    """Hash of the commit."""


def download(repository: str, revision: str = "main", *, endpoint: str | None = None) -> Download:
    """Fetch a model folder into the hub's cache (HF_HOME); what is there already is not fetched again.

    Args:
        repository: Its name on the hub, OWNER/NAME.
        revision: Branch, tag or commit; what it means now is looked up first and that commit is fetched.
        endpoint: Address of the hub, if not the public one (or HF_ENDPOINT).

    Raises:
        NovaFolderError: The hub cannot be reached, has no such model, or a file does not have the published hash.
    """
    # Slow to import, and only needed here.
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    api = HfApi(endpoint=endpoint)
    try:
        info = api.model_info(repository, revision=revision, files_metadata=True)
        commit = str(info.sha)
        folder = Path(api.snapshot_download(repository, revision=commit, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise NovaFolderError(
            f"{repository} cannot be downloaded ({reason}); fetch it on another machine with "
            f"`hf download {repository}` and pass the local folder in place of the name"
        ) from error
    for sibling in info.siblings or []:
        path = folder / sibling.rfilename
        if sibling.lfs is not None and path.is_file() and file_sha256(path) != sibling.lfs.sha256:
            raise NovaFolderError(f"{path} does not have the published SHA-256; delete it and download again")
    return Download(folder, repository, commit)
