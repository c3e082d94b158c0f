# SPDX-License-Identifier: Apache-2.0
"""One benchmark of a policy: variants side by side, the analytic floor of every row, encoder and frame rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from physgen_policy.bench import encoder, frames, stages, subjects
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.cost import decoding as cost
from physgen_policy.cost.decoding import Cost
from physgen_policy.cost.machine import Calibration, calibrate, machine_facts, peak_memory
from physgen_policy.model.config import ModelConfig
from physgen_policy.runtime.engine_options import EngineOptions
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig
from physgen_policy.sampling.solver import SolverKind

FORMAT = 1
NAIVE_STEPS = 100  # what the paper writes down: DDPM, ancestral steps
DEFAULT_FRAME = (64, 25)  # autoregressive and denoise steps of the published sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSpec:
    """What to measure."""

    dtype: str = "float32"
    iterations: int = 10
    """Episodes of context_packs + 1 chunks per variant."""
    sampler: SolverKind = "ddim"
    denoise_steps: int = 10
    """Of the optimised variant."""
    action_samples: int = 8
    """Drawn per chunk."""
    threads: int = 0
    """0 leaves torch's number."""
    naive: bool = False
    """Also measure 100 DDPM steps with everything off."""
    encoder_repeats: int = 3
    """0 leaves the encoder rows out."""
    calibration_repeats: int = 7
    """Of matrix products and copies."""
    frame_budget: float = 20.0
    """Seconds above which an imagined frame is estimated; 0 leaves frames out."""


def run(checkpoint: Checkpoint, spec: BenchSpec, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything; plain values, ready for JSON. `say` is told what is going on."""
    if spec.threads:
        torch.set_num_threads(spec.threads)
    config = checkpoint.model.config
    device = next(checkpoint.model.parameters()).device
    say("calibrating: matrix products and copies")
    calibration = calibrate(device, repeats=spec.calibration_repeats)
    say("measuring the stages of a chunk")
    policies = _policies(checkpoint, spec, device)
    times = stages.measure(policies, spec.iterations)
    stage_peak = peak_memory(device)
    result: dict[str, Any] = {
        "format": FORMAT,
        "subject": checkpoint.name,
        "spec": asdict(spec),
        "machine": machine_facts(device),
        "calibration": asdict(calibration),
        "variants": {
            name: _variant(policy, times[name], config, spec, calibration)
            for name, (policy, _) in policies.items()
        },
        "peak_memory_bytes": stage_peak,
        "encoder": [],
        "incremental_over_full": {},
        "frames": [],
    }
    if spec.encoder_repeats:
        say("measuring the video encoder in float32 and bfloat16")
        cases = encoder.measure(checkpoint.model.nova.video_encoder, config, device, spec.encoder_repeats)
        result["encoder"] = [asdict(case) for case in cases]
        result["incremental_over_full"] = incremental_over_full(cases)
    if spec.frame_budget:
        say("measuring imagined frames")
        nova = policies["optimised"][0].checkpoint.model.nova
        defaults = PolicyConfig()
        for mode, ar_steps, denoise in (
            ("default sampling", *DEFAULT_FRAME),
            ("preview", defaults.frame_ar_steps, defaults.frame_denoise_steps),
        ):
            timed = frames.frame_time(
                nova, mode=mode, ar_steps=ar_steps, denoise_steps=denoise, budget=spec.frame_budget
            )
            result["frames"].append(asdict(timed))
    result["machine"]["load_average_after"] = machine_facts(device)["load_average"]
    return result


def incremental_over_full(cases: list[encoder.EncoderCase]) -> dict[str, float]:
    """Return the time of a new pack with the cache over that of a full window, by dtype (both without a dense mask)."""
    ratios = {}
    for dtype in sorted({case.dtype for case in cases}):
        of = {case.case: case.seconds for case in cases if case.dtype == dtype}
        ratios[dtype] = of["new pack on the cached window"] / of["full window"]
    return ratios


def _policies(
    checkpoint: Checkpoint, spec: BenchSpec, device: torch.device
) -> dict[str, tuple[PhysGenPolicy, stages.StageClock]]:
    base = PolicyConfig(
        sampler=spec.sampler,
        denoise_steps=spec.denoise_steps,
        action_samples=spec.action_samples,
        num_threads=spec.threads,
        dtype="bfloat16" if spec.dtype == "bfloat16" else "float32",
    )
    # The text encoder stays: a preset has no folder to read it from again.
    fast = replace(base, engine=EngineOptions(unload_text_encoder=False))
    plain = replace(base, engine=EngineOptions.all_off())
    cast = torch.bfloat16 if spec.dtype == "bfloat16" else torch.float32
    configs = {
        "eager": (checkpoint, plain),
        "optimised": (subjects.stored_in(checkpoint, cast), fast),
    }
    if spec.naive:
        configs["naive"] = (
            checkpoint,
            replace(plain, sampler="ddpm", denoise_steps=NAIVE_STEPS, action_samples=1),
        )
    made = {}
    for name, (subject, config) in configs.items():
        clock = stages.StageClock(device)
        made[name] = (PhysGenPolicy(subject, config, on_stage=clock.mark), clock)
    return made


def _variant(
    policy: PhysGenPolicy,
    times: stages.StageTimes,
    config: ModelConfig,
    spec: BenchSpec,
    calibration: Calibration,
) -> dict[str, Any]:
    checkpoint = policy.checkpoint
    item = 2 if spec.dtype == "bfloat16" else 4
    costs = stage_costs(config, spec.denoise_steps, item, samples=spec.action_samples)
    rate = calibration.matmul[spec.dtype]
    rows: dict[str, Any] = {}
    for row in _ordered(times.rows):
        milliseconds = np.asarray(times.rows[row]) * 1e3
        p50, p95, p99 = (float(np.percentile(milliseconds, q)) for q in (50, 95, 99))
        rows[row] = {"n": len(milliseconds), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
        if row in costs:
            floor = costs[row].floor(rate, calibration.copy) * 1e3
            rows[row] |= {
                "flops": costs[row].flops,
                "bytes": costs[row].bytes,
                "floor_ms": floor,
                "over_floor": p50 / floor,
            }
    return {
        "engine": asdict(policy.config.engine),
        "sampler": policy.config.sampler,
        "denoise_steps": policy.config.denoise_steps,
        "action_samples": policy.config.action_samples,
        "weights_bytes": cost.weights_bytes(checkpoint.model, checkpoint.codec),
        "cache_bytes": 2 * config.nova.video_depth * config.window_tokens * config.nova.width * item,
        "rows": rows,
    }


def stage_costs(config: ModelConfig, evaluations: int, item: int, *, samples: int = 1) -> dict[str, Cost]:
    """Return the work by row that no program can avoid: optimised arithmetic, weights of `item` bytes per number."""
    pack, text, packs = config.pack_tokens, config.nova.text_len, config.context_packs
    memory = config.action.horizon + (config.nova.frame_tokens if config.action.memory_frames else 0)
    vae = cost.frame_encoder(config, item)
    head = cost.action_head(config.action, config.nova.width, memory, evaluations, item, samples=samples)
    grown = [cost.video_encoder(config, pack, text + index * pack, item) for index in range(1, max(packs, 2))]
    transformer = {
        "first": cost.video_encoder(config, pack, text, item),
        "incremental": Cost(statistics.mean(c.flops for c in grown), statistics.mean(c.bytes for c in grown)),
        "full": cost.video_encoder(config, packs * pack, text, item),
    }
    costs = {"vae": vae, "denoise": head}
    for phase, work in transformer.items():
        costs[f"transformer {phase}"] = work
        costs[f"total {phase}"] = vae + work + head
    return costs


def _ordered(rows: dict[str, list[float]]) -> list[str]:
    order = ["instruction", "preprocess", "vae"]
    order += [f"transformer {phase}" for phase in stages.PHASES]
    order += ["denoise", "chunk"]
    order += [f"total {phase}" for phase in stages.PHASES]
    return [row for row in order if row in rows]
