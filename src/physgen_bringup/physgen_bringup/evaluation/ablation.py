# SPDX-License-Identifier: Apache-2.0
"""What an ablation consists of: one training configuration, variants that change it, and the table that compares them.

Pure: files are read and processes started elsewhere (commands/ablate.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physgen_bringup.results.comparison import compare
from physgen_bringup.results.results import Evaluation, summarize
from physgen_control.errors import UserError
from physgen_policy.model.config import changed

KEYS = {"suite", "task", "train", "video", "variants"}
VARIANT_KEYS = {"pretrained", "train", "says"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of the table."""

    name: str
    train: Mapping[str, Any]
    """What it changes in the shared training configuration, nested."""
    pretrained: bool
    """Whether it begins with the video model."""
    says: str
    """A few words for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """A whole ablation."""

    suite: str
    task: str
    train: Mapping[str, Any]
    """Training configuration of all variants."""
    video: Mapping[str, Any] | None
    """That of the pre-training; None if there is none."""
    variants: tuple[Variant, ...]
    """The others are compared with the first."""

    def chosen(self, names: Sequence[str]) -> tuple[Variant, ...]:
        """Return the variants of these names, all of them for none; the first one always takes part.

        Raises:
            UserError: There is no such variant.
        """
        known = [variant.name for variant in self.variants]
        if unknown := [name for name in names if name not in known]:
            raise UserError(f"there is no variant {unknown[0]!r} in this ablation; it has {', '.join(known)}")
        return tuple(v for i, v in enumerate(self.variants) if i == 0 or not names or v.name in names)


def parse_ablation(values: object, where: str) -> Ablation:
    """Build an ablation from the values of its file; `where` is what errors name.

    Raises:
        UserError: A key is missing, unknown or of a wrong type.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must be a mapping with the keys {', '.join(sorted(KEYS))}")
    _refuse_unknown(values, KEYS, where)
    for key in ("task", "train", "variants"):
        if not values.get(key):
            raise UserError(f"{where} lacks the key {key!r}")
    for key in ("train", "video", "variants"):
        if values.get(key) is not None and not isinstance(values[key], dict):
            raise UserError(f"{where}: {key} must be a mapping")
    video = values.get("video")
    variants = tuple(
        _variant(name, value, video is not None, where) for name, value in values["variants"].items()
    )
    return Ablation(
        suite=values.get("suite", "maniskill"),
        task=values["task"],
        train=values["train"],
        video=video,
        variants=variants,
    )


def _variant(name: str, value: object, has_video: bool, where: str) -> Variant:
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{where}: variant {name} must be a mapping")
    value = value or {}
    _refuse_unknown(value, VARIANT_KEYS, f"{where}: variant {name}")
    pretrained = value.get("pretrained", has_video)
    if pretrained and not has_video:
        raise UserError(f"{where}: variant {name} is pretrained, but there is no `video` to begin with")
    return Variant(
        name=name, train=value.get("train") or {}, pretrained=pretrained, says=value.get("says", "")
    )


def _refuse_unknown(values: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(map(str, set(values) - known)):
        raise UserError(
            f"{where} has unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )


def video_config(ablation: Ablation, out: Path) -> dict[str, Any]:
    """Return the training configuration of the video pre-training, in out/video."""
    assert ablation.video is not None
    values = changed(ablation.video, {"policy": {"objective": "video"}})
    return {**values, "name": "video", "output": str(out / "video"), "cache": str(out / "latents")}


def variant_config(ablation: Ablation, variant: Variant, out: Path) -> dict[str, Any]:
    """Return the training configuration of a variant, in out/NAME; a pretrained one starts from out/video."""
    values = changed(ablation.train, variant.train)
    if variant.pretrained:
        start = {"init_from": str(out / "video" / "checkpoint"), "init_parts": "video"}
        values = changed(values, {"policy": start, "codec": {"init_from": ""}})
    name = variant.name
    return {**values, "name": name, "output": str(out / name), "cache": str(out / "latents")}


def table(rows: Sequence[tuple[Variant, Evaluation]]) -> str:
    """Return the ablation as Markdown: success of every variant, and the paired difference to the first one."""
    first = rows[0][1]
    protocol = first.protocol
    lines = [
        f"# {protocol.suite} {protocol.task}",
        "",
        f"Seeds {_seeds(first)}, step limit {protocol.max_steps}; {protocol.success_rule}.",
        "",
        f"| variant | | success | 95 % | difference to {rows[0][0].name} (95 %) | exact McNemar p |",
        "|---|---|---|---|---|---|",
    ]
    for variant, evaluation in rows:
        summary = summarize(evaluation.episodes)
        low, high = summary["wilson_95"]
        cells = [
            variant.name,
            variant.says,
            f"{summary['successes']} of {summary['n']} = {100 * summary['success_rate']:.1f} %",
            f"{100 * low:.1f} to {100 * high:.1f} %",
        ]
        if evaluation is first:
            cells += ["", ""]
        else:
            total = compare([(first, evaluation)])["total"]
            low, high = total["difference_95"]
            cells += [
                f"{100 * total['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
                f"{total['mcnemar_exact_p']:.3f}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _seeds(evaluation: Evaluation) -> str:
    seeds = sorted({episode.seed for episode in evaluation.episodes})
    return f"{seeds[0]} to {seeds[-1]}" if seeds else "none"
