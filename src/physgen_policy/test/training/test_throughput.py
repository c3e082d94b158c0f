# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of a training step against torch's own count, and the rates that are made of it."""

from dataclasses import replace

import pytest
import torch
from model_windows import make_windows, mini_config, mini_model
from torch.utils.flop_counter import FlopCounterMode

from physgen_policy.cost.peak import Peak, device_peak, published_peak
from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.config import LoraConfig, load_preset
from physgen_policy.model.frame_config import FrameConfig
from physgen_policy.model.frame_loss import draw_visible_count, mean_visible_share
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.window_loss import window_loss
from physgen_policy.training.flops import StepShape, Trained, step_flops
from physgen_policy.training.meter import Meter
from physgen_policy.training.tuning import freeze_all_but_adapters
from physgen_policy.training.waypoints import WaypointHead

TOLERANCE = 0.01
"""Between the formulas and FlopCounterMode, which counts every product that is run; the rest is rounding of neither."""
CPU = torch.device("cpu")


def counted(
    model: PhysGen,
    windows: WindowBatch,
    *,
    frames: int,
    waypoints: WaypointHead | None = None,
    seed: int = 3,
) -> int:
    """FLOPs of forward and backward pass as torch counts them."""
    generator = torch.Generator().manual_seed(seed)
    with FlopCounterMode(display=False) as counter:
        losses = window_loss(model, windows, generator, obs_loss_frames=frames)
        total = losses.total
        if waypoints is not None:
            packs = losses.action_hidden.shape[1]
            total = total + waypoints.loss(
                losses.action_hidden, windows.target_actions[:, :packs], windows.target_mask[:, :packs]
            )
        total.backward()
    return counter.get_total_flops()


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make the frame loss see a known number of tokens."""
    monkeypatch.setattr("physgen_policy.model.frame_loss.draw_visible_count", lambda _tokens, _generator: 2)
    return 2


def shape_of(windows: WindowBatch, frames: int, visible: int, packs: int) -> StepShape:
    count = windows.pack_mask.shape[0]
    return StepShape(
        windows=count,
        packs=packs,
        sequences=int(windows.pack_mask.sum()),
        frames=count * frames,
        instructions=count,
        visible=visible,
    )


@pytest.mark.parametrize("memory_frames", [False, True])
@pytest.mark.parametrize("frames", [0, 1, 2])
def test_full_training_costs_what_torch_counts(visible, frames, memory_frames):
    config = mini_config(memory_frames=memory_frames)
    model, windows = mini_model(config), make_windows(config)
    windows.pack_mask[1, 3:] = False
    flops = step_flops(config, shape_of(windows, frames, visible, 5), Trained(), dense=True)
    assert sum(flops.values()) == pytest.approx(counted(model, windows, frames=frames), rel=TOLERANCE)


@pytest.mark.parametrize("rank", [0, 4])
def test_added_inputs_of_the_frame_path_are_counted(visible, rank):
    """With and without a mixer, which alone needs the anchor."""
    config = mini_config(frames=FrameConfig(prediction="v", up=True, present=True, next_actions=True))
    config = replace(config, nova=replace(config.nova, mixer_rank=rank))
    model, windows = mini_model(config), make_windows(config)
    flops = step_flops(config, shape_of(windows, 1, visible, 5), Trained(), dense=True)
    assert flops["frame_inputs"] > 0
    assert sum(flops.values()) == pytest.approx(counted(model, windows, frames=1), rel=TOLERANCE)


@pytest.mark.parametrize("frames", [0, 1])
def test_a_low_rank_fine_tune_costs_what_torch_counts(visible, frames):
    """Frozen layers only pass gradients on; what no gradient reaches is computed forward only."""
    config = mini_config()
    model, windows = mini_model(config), make_windows(config)
    freeze_all_but_adapters(model, LoraConfig(rank=4))
    trained = Trained.of(torch.nn.ModuleDict({"model": model}))
    assert not trained.backbone and trained.adapter_numbers == 2 * 4 * 16 * 32
    flops = step_flops(config, shape_of(windows, frames, visible, 5), trained, dense=True)
    assert sum(flops.values()) == pytest.approx(counted(model, windows, frames=frames), rel=TOLERANCE)
    whole = step_flops(config, shape_of(windows, frames, visible, 5), Trained(), dense=True)
    assert whole["action_head"] == flops["action_head"] and whole["video_encoder"] > flops["video_encoder"]


def test_the_auxiliary_head_is_counted(visible):
    config = mini_config()
    model, windows = mini_model(config), make_windows(config)
    head = WaypointHead(config.nova.width, config.action.horizon, config.action.num_chunks)
    flops = step_flops(config, shape_of(windows, 1, visible, 5), Trained(waypoints=True), dense=True)
    assert flops["waypoints"] > 0
    assert sum(flops.values()) == pytest.approx(
        counted(model, windows, frames=1, waypoints=head), rel=TOLERANCE
    )


def test_full_size_step_in_teraflops():
    """One full window: 3 x the 1.01 TFLOP of its forward pass; low-rank training saves the weights' gradients."""
    config = load_preset("physgen-732m")
    shape = StepShape(windows=1, packs=5, sequences=5, frames=0, instructions=1, visible=0)
    full = step_flops(config, shape, Trained())["video_encoder"]
    assert full == pytest.approx(3 * 1.01e12, rel=0.01)
    frozen = step_flops(config, shape, Trained(backbone=False, adapter_numbers=4_194_304))["video_encoder"]
    linear = 16 * 2 * 2096 * 12 * 1024**2
    adapters = 3 * 2 * 2096 * 4_194_304
    assert full - frozen == pytest.approx(linear - adapters, rel=0.01)


def test_the_mean_number_of_visible_tokens():
    tokens, generator = 1000, torch.Generator().manual_seed(0)
    drawn = [draw_visible_count(tokens, generator) for _ in range(4000)]
    assert sum(drawn) / len(drawn) / tokens == pytest.approx(mean_visible_share(), abs=0.004)


def test_rates_leave_the_first_step_out(monkeypatch):
    now = iter([0.0, 100.0, 102.0, 106.0])
    monkeypatch.setattr("physgen_policy.training.meter.time.monotonic", lambda: next(now))
    meter = Meter(CPU, Peak(1e12, "a guess"))
    assert meter.tick(5e12, 100)["tflop_per_s"] == pytest.approx(0.05)
    assert meter.tick(1e12, 8)["mfu"] == pytest.approx(0.5)
    last = meter.tick(2e12, 10)
    assert last["seconds_per_step"] == 3.0 and last["windows_per_s"] == pytest.approx(18 / 6)
    assert last["tflop_per_s"] == pytest.approx(0.5) and last["mfu"] == pytest.approx(0.5)
    assert "0.5 TFLOP/s (MFU 50%)" in meter.text()


def test_the_peak_is_published_for_known_gpus_and_measured_otherwise():
    assert published_peak("NVIDIA H200") == 989e12
    assert published_peak("NVIDIA H100 PCIe") == 756e12
    assert published_peak("NVIDIA A100-SXM4-80GB") == 312e12
    assert published_peak("NVIDIA L40S") == 362e12 and published_peak("NVIDIA L4") == 121e12
    assert published_peak("NVIDIA GeForce GTX 1080") is None
    state = torch.random.get_rng_state()
    peak = device_peak(CPU, torch.float32)
    assert peak.flops_per_s > 1e9 and "measured" in peak.source
    assert torch.equal(state, torch.random.get_rng_state()), "measuring must not change what a run draws"
