# SPDX-License-Identifier: Apache-2.0
"""`physgen import SOURCE --out CHECKPOINT`: a published video model as a checkpoint to fine-tune.

SOURCE is a local folder (with model_index.json) or the name of a model on the Hugging Face hub. With --random in its
place the checkpoint holds random weights of the preset and a small text encoder, to measure speed and memory with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from physgen_control.program.command_parser import CommandParser, add_out


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen import",
        description=__doc__ or "",
        examples=("physgen import BAAI/nova-d48w1024-osp480 --out checkpoints/nova",),
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "source", metavar="SOURCE", nargs="?", help="folder, or OWNER/NAME (BAAI/nova-d48w1024-osp480)"
    )
    source.add_argument(
        "--random", action="store_true", help="random weights of the preset, nothing imported"
    )
    add_out(parser, "checkpoint folder to write", required=True, type=Path)
    parser.add_argument("--text-encoder", type=Path, help="Phi folder, if it is not in SOURCE/text_encoder")
    parser.add_argument(
        "--revision", default="main", help="commit, tag or branch of a download (default main)"
    )
    parser.add_argument(
        "--preset",
        default="physgen-732m",
        help="a preset: whose action head and window (default physgen-732m)",
    )
    return parser


def main(argv: list[str]) -> int:
    """Check every tensor, write the checkpoint, say what to do with it.

    Raises:
        UserError: A tensor does not fit, or the folder cannot be written.
    """
    options = build_parser().parse_args(argv)
    from physgen_control.errors import UserError
    from physgen_control.program.progress import Progress
    from physgen_policy.model.config import load_preset
    from physgen_policy.published.checkpoint import import_published
    from physgen_policy.published.hub import download

    if options.out.exists():
        raise UserError(f"{options.out} exists already; choose another --out")
    progress = Progress()
    progress.say(f"Writing the checkpoint {options.out}")
    if options.random:
        from physgen_policy.bench.random_checkpoint import write_random_checkpoint

        with progress.stage(f"random weights of {options.preset}"):
            write_random_checkpoint(options.preset, options.out)
        print(f"checkpoint: {options.out} (random weights of {options.preset}: nothing in it is trained)")
        progress.next("./physgen", "bench", "policy", "--checkpoint", options.out)
        return 0
    folder, origin = Path(options.source).expanduser(), {}
    if folder.is_dir():
        origin = {"folder": folder.name}
    elif options.source.count("/") == 1 and not options.source.startswith((".", "/", "~")):
        with progress.stage(f"fetching {options.source}"):
            fetched = download(options.source, options.revision)
        folder, origin = fetched.folder, {"repository": fetched.repository, "revision": fetched.revision}
        print(f"{fetched.repository} at commit {fetched.revision}")
    else:
        raise UserError(
            f"there is no folder {options.source}; give a folder with model_index.json or OWNER/NAME"
        )
    described: dict[str, Any] = origin
    with progress.stage("checking and writing every tensor"):
        import_published(
            folder,
            options.out,
            load_preset(options.preset),
            text_encoder=options.text_encoder,
            origin=described,
        )
    print(f"checkpoint: {options.out} (its action parts are untrained)")
    run = f"runs/{options.out.name}"
    progress.next("./physgen", "train", "--finetune", options.out, "--bags", "bags", "--out", run)
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
