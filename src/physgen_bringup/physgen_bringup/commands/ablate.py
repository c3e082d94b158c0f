# SPDX-License-Identifier: Apache-2.0
"""`physgen ablate`: train variants of one policy that differ in one thing, evaluate all on the same seeds, compare."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen_control.program.command_parser import CommandParser, add_out, add_workers

if TYPE_CHECKING:
    from physgen_bringup.evaluation.ablation import Ablation, Variant
    from physgen_bringup.results.results import Evaluation


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen ablate",
        description="Train and evaluate the variants of an ablation and write a table. A run that was interrupted "
        "continues in its output folder.",
        examples=("physgen ablate src/physgen_bringup/config/ablation_pushcube.yaml --out runs/ablation",),
        old_names={"--jobs": "--workers"},
    )
    parser.add_argument(
        "config", type=Path, help="YAML file, see src/physgen_bringup/config/ablation_pushcube.yaml"
    )
    add_out(parser, "output folder (ablation.md)", type=Path, required=True)
    parser.add_argument(
        "--variants", default="", help="names, separated by commas; the first of the file takes part always"
    )
    parser.add_argument("--steps", type=int, help="training steps of every variant (overrides the file)")
    parser.add_argument("--episodes", type=int, default=125, help="episodes per variant (default 125)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode (default 0)")
    parser.add_argument(
        "--processes", type=int, default=1, help="training processes that share every batch (default 1)"
    )
    add_workers(
        parser,
        "variants that train at the same time, with their share of the cores each and a log in OUT/NAME.log "
        "(default 1); on CPU cores faster than --processes",
        default=1,
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ablation; return the exit status.

    Raises:
        UserError: The file or an argument cannot be used, or a training failed.
    """
    options = build_parser().parse_args(arguments)
    from physgen_bringup.commands.next_steps import after_training
    from physgen_bringup.evaluation.ablation import parse_ablation, table, variant_config, video_config
    from physgen_bringup.results.results import summarize
    from physgen_control.errors import UserError
    from physgen_control.program.plain_values import read_yaml
    from physgen_control.program.progress import Progress

    counts = (options.episodes, options.processes, options.workers, options.steps or 1)
    if min(counts) < 1 or options.seed < 0:
        raise UserError(
            "--episodes, --processes, --workers and --steps must be at least 1, --seed at least 0"
        )
    if not options.config.is_file():
        raise UserError(f"there is no ablation file {options.config}")
    ablation = parse_ablation(read_yaml(options.config), str(options.config))
    variants = ablation.chosen([name for name in options.variants.split(",") if name])
    out = options.out.expanduser().resolve()
    progress = Progress()
    progress.say(f"{len(variants)} variants of {ablation.task}; everything goes to {out}")
    configs = [variant_config(ablation, variant, out) for variant in variants]
    _check_datasets(configs)
    out.mkdir(parents=True, exist_ok=True)
    if any(variant.pretrained for variant in variants):
        _train(video_config(ablation, out), out, options.processes)
    if options.steps:
        configs = [{**c, "policy": {**c.get("policy", {}), "steps": options.steps}} for c in configs]
    if options.workers == 1:
        _train_all(configs, out, options.processes, options.workers)  # each tells its own course
    else:
        with progress.stage(f"training {len(configs)} variants, {options.workers} at a time"):
            _train_all(configs, out, options.processes, options.workers)
    rows: list[tuple[Variant, Evaluation]] = []
    for variant in variants:
        rows.append((variant, _evaluate(ablation, variant, out, options)))
        text = table(rows)
        (out / "ablation.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"Results are in {out}", flush=True)
    best = max(rows, key=lambda row: summarize(row[1].episodes)["success_rate"] or 0.0)[0]
    progress.next(*after_training(out / best.name / "checkpoint"))
    return 0


def _check_datasets(configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError for a dataset that is not there or cannot be read, before a process is started to find out."""
    from physgen_policy.data.dataset import Dataset

    named = [config.get("dataset", ()) for config in configs]
    folders = [folder for names in named for folder in ([names] if isinstance(names, str) else names)]
    for folder in dict.fromkeys(folders):
        Dataset(Path(folder))


def _train_all(configs: Sequence[Mapping[str, Any]], out: Path, processes: int, jobs: int) -> None:
    """Train every variant, up to `jobs` of them at the same time.

    Raises:
        UserError: A training failed: the first failure, when all have ended.
    """
    if jobs == 1:
        for config in configs:
            _train(config, out, processes)
        return
    with ThreadPoolExecutor(jobs) as pool:
        trainings = [pool.submit(_train, config, out, processes, jobs) for config in configs]
    for training in trainings:
        training.result()


def _train(config: Mapping[str, Any], out: Path, processes: int, jobs: int = 1) -> None:
    """Train in a process of its own, unless the run is complete; one that was interrupted is resumed.

    Raises:
        UserError: The folder holds another configuration, or the training failed.
    """
    from physgen_control.errors import UserError
    from physgen_control.program.plain_values import yaml_text

    name, path = config["name"], out / f"{config['name']}.yaml"
    text = yaml_text(dict(config))
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise UserError(f"{path} holds another configuration of {name}; choose another --out")
    path.write_text(text, encoding="utf-8")
    if _complete(Path(config["output"]) / "checkpoint" / "config.json"):
        print(f"{name}: already trained", flush=True)
        return
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command += ["physgen_policy.commands.train", str(path), "--resume"]
    if jobs == 1:
        print(f"{name}: training", flush=True)
        log, where = None, "its last lines say why"
        status = subprocess.run(command, check=False).returncode
    else:
        log = out / f"{name}.log"
        where = f"the end of {log} says why"
        print(f"{name}: training (progress in {log})", flush=True)
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        with log.open("a", encoding="utf-8") as stream:
            status = subprocess.run(
                command,
                env={**os.environ, "OMP_NUM_THREADS": threads},
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
    if status:
        raise UserError(
            f"the training of {name} ended with status {status}; {where}. The same command continues it"
        )
    if log:
        print(f"{name}: trained", flush=True)


def _complete(description: Path) -> bool:
    """Return whether a checkpoint is that of its run's last step."""
    if not description.is_file():
        return False
    training = json.loads(description.read_text(encoding="utf-8")).get("training", {})
    return bool(training) and training["step"] == training["config"]["policy"]["steps"]


def _evaluate(ablation: Ablation, variant: Variant, out: Path, options: argparse.Namespace) -> Evaluation:
    from physgen_bringup.commands import evaluate
    from physgen_bringup.results.results import FILE_NAME, read
    from physgen_control.errors import UserError

    folder = out / f"{variant.name}-eval"
    words = ["--sim", ablation.suite, "--task", ablation.task, "--out", str(folder)]
    words += ["--checkpoint", str(out / variant.name / "checkpoint")]
    words += ["--episodes", str(options.episodes), "--seed", str(options.seed)]
    if evaluate.main(words):
        raise UserError(f"episodes of {variant.name} crashed; {folder} says why")
    return read(folder / FILE_NAME)
