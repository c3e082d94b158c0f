# SPDX-License-Identifier: Apache-2.0
"""The reference pages, written from the code: launch arguments, parameters of nodes, training keys, messages.

`./physgen python tools/physgen_checks/reference.py` writes docs/reference/ again; a test compares.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference"
NODES = (
    ("physgen_policy.nodes.policy_node", "PolicyNodeConfig"),
    ("physgen_control.nodes.controller_node", "ControllerConfig"),
    ("physgen_control.nodes.motion_monitor_node", "MotionMonitorConfig"),
    ("physgen_control.nodes.recorder_node", "RecorderNodeConfig"),
    ("physgen_control.nodes.replay_node", "ReplayConfig"),
    ("physgen_control.nodes.rollout_node", "RolloutNodeConfig"),
    ("physgen_control.nodes.keyboard_teleop_node", "KeyboardNodeConfig"),
    ("physgen_control.nodes.joy_teleop_node", "JoyConfig"),
    ("physgen_control.nodes.spacemouse_teleop_node", "SpaceMouseConfig"),
    ("physgen_control.nodes.gello_teleop_node", "GelloConfig"),
    ("physgen_sim_bridge.nodes.bridge_node", "BridgeConfig"),
    ("physgen_sim_bridge.nodes.expert_node", "ExpertConfig"),
    ("physgen_sim_bridge.nodes.script_teleop_node", "ScriptConfig"),
    ("physgen_sim_bridge.nodes.fake_franka_node", "FakeFrankaConfig"),
    ("physgen_bringup.nodes.episode_runner_node", "EpisodeRunnerConfig"),
    ("physgen_bringup.nodes.viewer_node", "ViewerConfig"),
)
"""Module of each node, and the dataclass of its parameters there."""
HEADER = "<!-- Written by tools/physgen_checks/reference.py from the code; change the code. -->\n\n"


def pages() -> dict[Path, str]:
    """Return every reference page: its path and its text."""
    texts = {
        "commands.md": commands_page(),
        "launch.md": launch_page(),
        "parameters.md": parameters_page(),
        "training.md": training_page(),
        "messages.md": messages_page(),
    }
    return {FOLDER / name: HEADER + text for name, text in texts.items()}


def commands_page() -> str:
    """Return the arguments of every command, and of the parts of `bench` and `eval`, as tables."""
    from physgen_bringup.cli import COMMANDS
    from physgen_bringup.commands.bench import TARGETS

    modules = {command.name: command.module for command in COMMANDS}
    modules |= {f"bench {target}": module for target, (module, _) in TARGETS.items()}
    modules |= {f"eval {part}": f"physgen_bringup.commands.{part}_results" for part in ("compare", "merge")}
    summaries = {command.name: f"{command.summary}." for command in COMMANDS}
    lines = [
        "# Commands\n",
        "All take `-q` (results and errors only) and `-v` (every line of every node, and the traceback of an error). "
        "`./physgen COMMAND --help` shows examples.\n",
    ]
    for name, module in sorted(modules.items()):
        lines.append(f"## {name}\n\n{summaries.get(name, '')}\n".replace("\n\n\n", "\n"))
        build = getattr(importlib.import_module(module), "build_parser", None) if module else None
        rows = [] if build is None else list(_argument_rows(build()))
        if rows:
            lines += ["| argument | default | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _argument_rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        if action.help == argparse.SUPPRESS or {"--quiet", "--verbose"} & set(action.option_strings):
            continue
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper().replace("_", "-"))
        names = ", ".join(action.option_strings) or value
        shown = f"{names} {value}" if action.option_strings and value else names
        default = "" if action.default in (None, "", False, argparse.SUPPRESS) else str(action.default)
        choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
        meaning = (
            (action.help or "")
            .replace("%(default)s", default)
            .replace("%(choices)s", choices)
            .replace("|", "\\|")
        )
        yield f"| `{shown}` | {f'`{default}`' if default else ''} | {meaning}{choices} |"


def launch_page() -> str:
    """Return the launch arguments as a table."""
    from physgen_bringup.graph.arguments import ARGUMENTS

    lines = [
        "# Launch arguments\n",
        "`./physgen launch NAME:=VALUE ...` and `ros2 launch physgen_bringup franka.launch.py NAME:=VALUE ...` take "
        "the same ones.\n",
        "| argument | values | default | meaning |",
        "|---|---|---|---|",
    ]
    for argument in ARGUMENTS:
        values = ", ".join(argument.choices) or {
            "bool": "true, false",
            "count": f"whole number from {argument.minimum}",
            "profile": "WIDTHxHEIGHTxFPS",
        }.get(argument.kind, "text")
        lines.append(
            _row(f"`{argument.name}`", values, argument.default and f"`{argument.default}`", argument.help)
        )
    return "\n".join(lines) + "\n"


def parameters_page() -> str:
    """Return the ROS parameters of every node as tables."""
    from physgen_control.program.parameter_field import default_of, range_text

    lines = [
        "# Parameters of the nodes\n",
        "All are read-only: set at the start, by `params_file:=FILE` or `--ros-args -p NAME:=VALUE`. Most are set by "
        "the launch arguments.\n",
    ]
    for module, name in NODES:
        config = getattr(importlib.import_module(module), name)
        lines += [
            f"## {module.rpartition('.')[2]}\n",
            "| parameter | default | unit | allowed | meaning |",
            "|---|---|---|---|---|",
        ]
        for entry in fields(config):
            default = default_of(entry)
            shown = getattr(default, "value", default)
            text = f"`{list(shown) if isinstance(shown, tuple) else shown}`" if shown != "" else ""
            unit, meaning = entry.metadata.get("unit", ""), entry.metadata.get("description", "")
            lines.append(_row(f"`{entry.name}`", text, unit, range_text(entry), meaning))
        lines.append("")
    return "\n".join(lines)


def training_page() -> str:
    """Return the keys of a training configuration as tables; the text of each stands under it in the source."""
    from physgen_policy.training import config

    lines = [
        "# Training configuration\n",
        "A YAML file for `./physgen train FILE`; shipped ones are in `src/physgen_policy/config/train/`. "
        "Keys that are absent have their default.\n",
    ]
    documented = _attribute_texts(Path(config.__file__))
    for title, name in (("The run", "TrainConfig"), ("`codec`", "CodecStage"), ("`policy`", "PolicyStage")):
        kind = getattr(config, name)
        lines += [f"## {title}\n", "| key | type | default | meaning |", "|---|---|---|---|"]
        for entry in fields(kind):
            default = entry.default if entry.default_factory is not dict else {}
            if is_dataclass(getattr(config, str(entry.type), None)):
                continue
            shown = f"`{default!r}`" if "MISSING" not in repr(default) else "required"
            lines.append(
                _row(f"`{entry.name}`", f"`{entry.type}`", shown, documented.get((name, entry.name), ""))
            )
        lines.append("")
    return "\n".join(lines)


def messages_page() -> str:
    """Return the messages, services and actions as they are declared."""
    lines = [
        "# Messages, services, actions\n",
        "Of the package `physgen_msgs`. Topics, QoS and frames: [interfaces](../interfaces.md).\n",
    ]
    for kind in ("msg", "srv", "action"):
        for path in sorted((ROOT / "src" / "physgen_msgs" / kind).iterdir()):
            lines += [f"## {path.name}\n", "```", path.read_text(encoding="utf-8").rstrip(), "```\n"]
    return "\n".join(lines)


def _attribute_texts(path: Path) -> dict[tuple[str, str], str]:
    """Return the text under each attribute of each class of a file."""
    return {
        (node.name, attribute): text
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        for attribute, text in _texts_of(node)
    }


def _texts_of(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for before, after in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            yield before.target.id, re.sub(r"\s+", " ", str(after.value.value)).strip()


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
