# SPDX-License-Identifier: Apache-2.0
"""The texts beside the pictures: what is done, by whom, in which state, and the keys of the keyboard."""

from __future__ import annotations

from physgen_control.messages.status import PolicyReport, SafetyReport
from physgen_control.teleop.keys import HELP
from physgen_control.types import Episode, EpisodePhase, Fault, SafetyState

_SIGNS = {
    SafetyState.DISARMED: "disarmed: nothing moves the arm",
    SafetyState.SHADOW: "shadow: computed, not sent",
    SafetyState.ARMED: "armed: the arm follows",
    SafetyState.HOLD: "HOLD: the arm rests",
    SafetyState.FAULT: "FAULT",
}


def status_text(
    episode: Episode | None,
    step: int,
    safety: SafetyReport | None,
    policy: PolicyReport | None,
    refusal: str,
) -> str:
    """Return the state of the graph as Markdown.

    Args:
        episode: The newest episode.
        step: Control steps of it so far.
        safety: What the controller said last.
        policy: What the policy said last.
        refusal: Why the newest chunk was refused; empty where it was not.
    """
    lines = []
    instruction = (policy.instruction if policy else "") or (episode.instruction if episode else "")
    lines.append(f"# {_plain(instruction)}" if instruction else "# no instruction yet")
    if episode is not None:
        limit = f" of {episode.max_steps}" if episode.max_steps else ""
        seed = f", seed {episode.seed}" if episode.seed >= 0 else ""
        lines.append(
            f"**{_plain(episode.task) or 'no task'}**{seed}: {episode.phase.name.lower()}, step {step}{limit}"
        )
        if episode.detail and episode.phase != EpisodePhase.RUNNING:
            lines.append(_plain(episode.detail))
    if safety is not None:
        lines.append(f"**safety** {_SIGNS[safety.state]}")
        if safety.faults != Fault.NONE:
            lines.append(f"faults: {names_of(safety.faults)}")
        if safety.intervention:
            lines.append("a person is in command")
        if safety.estop:
            lines.append("stop requested")
        if safety.detail:
            lines.append(_plain(safety.detail))
    if refusal:
        lines.append(f"last chunk refused: {_plain(refusal)}")
    if policy is not None:
        ready = "" if policy.ready else " (not ready)"
        lines.append(f"**policy** {_plain(policy.policy_id)}{ready}, {policy.predictions} predictions")
        if policy.detail:
            lines.append(_plain(policy.detail))
    return "\n\n".join(lines)


def keys_text() -> str:
    """Return the keys of the keyboard teleoperation as Markdown."""
    return f"Keys go to the terminal that the graph runs in.\n\n```\n{HELP}```\n"


def names_of(flags: Fault) -> str:
    """Return the names of set flags, in lower case."""
    return ", ".join(flag.name.lower() for flag in Fault if flag in flags and flag.name) or "none"


def _plain(text: str) -> str:
    """Keep what nodes say from being read as Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_#[]<>|" else c for c in text.replace("\n", " ")).strip()
