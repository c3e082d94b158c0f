# SPDX-License-Identifier: Apache-2.0
"""The benchmark's arithmetic against independent numbers, and one whole run of it on a tiny checkpoint."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_windows import mini_config
from rich.console import Console
from tiny_checkpoint import VIDEO_VAE, VIEW, tiny_embodiment, write_tiny_checkpoint

from physgen_control.errors import UserError
from physgen_policy.bench import quality, report, stages
from physgen_policy.bench.frames import frame_time
from physgen_policy.bench.policy import BenchSpec, run, stage_costs
from physgen_policy.bench.subjects import from_checkpoint
from physgen_policy.commands import bench_policy
from physgen_policy.cost import decoding as cost
from physgen_policy.cost.decoding import Cost
from physgen_policy.data.dataset import Dataset, DatasetError, EpisodeRecord
from physgen_policy.data.dataset_writer import DatasetWriter
from physgen_policy.model.config import load_preset
from physgen_policy.model.mask import window_mask
from physgen_policy.model.nova import Nova


def load_tiny(folder: Path) -> Any:
    path = write_tiny_checkpoint(folder / "tiny", model={"vae": VIDEO_VAE})
    return from_checkpoint(str(path), torch.device("cpu"))


@pytest.mark.parametrize(("new", "cached", "tera"), [(2096, 0, 1.13), (368, 1728, 0.199), (624, 0, 0.277)])
def test_encoder_flops_are_the_known_ones(new, cached, tera):
    """Full window, new pack on four cached ones, first step of the full-size encoder under a dense mask."""
    work = cost.video_encoder(load_preset("physgen-732m"), new, cached, item=2, dense=True)
    assert work.flops == pytest.approx(tera * 1e12, rel=0.005)
    assert work.bytes > 201e6 * 2


def test_head_and_frame_encoder_flops_are_the_known_ones():
    """One evaluation of the Action-DiT 2.5 GFLOP; one 480 x 768 image 1.59 TFLOP collapsed and 2.90 as a clip."""
    config = load_preset("physgen-732m")
    assert cost.action_head(config.action, 1024, 8, 1, 2).flops == pytest.approx(2.5e9, rel=0.03)
    assert cost.frame_encoder(config, 2).flops == pytest.approx(1.59e12, rel=0.005)
    assert cost.frame_encoder(config, 2, collapse=False).flops == pytest.approx(2.90e12, rel=0.005)


@pytest.mark.parametrize("cached_packs", [None, 0, 1, 3])
def test_counted_pairs_are_those_of_the_mask(cached_packs):
    """Attention arithmetic counts exactly what the window mask allows."""
    config = mini_config()
    text, pack, packs = config.nova.text_len, config.pack_tokens, 4
    mask = window_mask(text, packs, config.nova.frame_tokens, config.action.horizon, first_pack=cached_packs)
    cached = 0 if cached_packs is None else text + cached_packs * pack
    new = text + packs * pack - cached
    linear = cost.video_encoder(config, new, cached, item=1, dense=True).flops
    linear -= config.nova.video_depth * 4.0 * config.nova.width * new * (new + cached)
    exact = cost.video_encoder(config, new, cached, item=1).flops
    pairs = (exact - linear) / (config.nova.video_depth * 4.0 * config.nova.width)
    assert pairs == pytest.approx(float(mask.sum()))


def test_the_floor_is_the_slower_of_two():
    """Computing and moving overlap at best."""
    assert Cost(10.0, 4.0).floor(5.0, 1.0) == 4.0
    assert (Cost(10.0, 4.0) + Cost(30.0, 0.0)).floor(5.0, 1.0) == 8.0
    costs = stage_costs(load_preset("physgen-732m"), 10, 2)
    assert (
        costs["transformer first"].flops
        < costs["transformer incremental"].flops
        < costs["transformer full"].flops
    )


@torch.inference_mode()
def test_a_slow_frame_is_estimated_and_a_fast_one_is_measured():
    """The budget decides; both say what they are."""
    nova = Nova(mini_config().nova).eval()
    steps: dict[str, Any] = {"mode": "x", "ar_steps": 8, "denoise_steps": 2}
    assert frame_time(nova, budget=1e9, **steps).measured
    estimate = frame_time(nova, budget=0.0, **steps)
    assert not estimate.measured and estimate.seconds > 0


def test_a_whole_run(tmp_path, capsys):
    """Every row has percentiles, rows with known work have a floor; tables and picture can be made from the JSON."""
    checkpoint = load_tiny(tmp_path)
    spec = BenchSpec(iterations=1, denoise_steps=2, encoder_repeats=1, calibration_repeats=1, naive=True)
    result = json.loads(json.dumps(run(checkpoint, spec, lambda _: None)))
    assert set(result["variants"]) == {"eager", "optimised", "naive"}
    packs = checkpoint.model.config.context_packs
    for variant in result["variants"].values():
        rows = variant["rows"]
        assert rows["vae"]["n"] == packs + 1
        assert [rows[f"total {phase}"]["n"] for phase in ("first", "incremental", "full")] == [
            1,
            packs - 1,
            1,
        ]
        for row in rows.values():
            assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        with_floor = {name for name, row in rows.items() if "floor_ms" in row}
        assert with_floor == set(stage_costs(checkpoint.model.config, 2, 4))
    assert {case["dtype"] for case in result["encoder"]} == {"float32", "bfloat16"}
    assert set(result["incremental_over_full"]) == {"float32", "bfloat16"}
    assert [frame["mode"] for frame in result["frames"]] == ["default sampling", "preview"]
    report.print_tables(result, Console(width=300))
    assert "over floor" in capsys.readouterr().out
    total = max(
        result["variants"]["optimised"]["rows"][f"total {phase}"]["p95_ms"] for phase in stages.PHASES
    )
    assert "fast enough" in report.verdict(result, total / 1e3 + 0.01)
    assert "the arm would wait" in report.verdict(result, total / 1e3 - 0.001)
    report.draw(result, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_samplers_are_compared_on_a_dataset(tmp_path):
    """The reference is at distance zero of itself, every other sampler is not; translations only, in metres."""
    checkpoint = load_tiny(tmp_path)
    random = np.random.default_rng(0)
    writer = DatasetWriter(tmp_path / "dataset", tiny_embodiment())
    for seed in range(2):
        writer.add(
            EpisodeRecord(
                images=random.integers(0, 256, (21, VIEW, 2 * VIEW, 3), dtype=np.uint8),
                actions=random.uniform(-0.01, 0.01, (20, 7)).astype(np.float32),
                labels=np.ones(20, bool),
                intervention=np.zeros(20, bool),
                task="PushCube-v1",
                seed=seed,
                instruction="push",
                success=True,
                source=str(seed),
            )
        )
    writer.finish()
    rows = quality.measure(checkpoint, Dataset(tmp_path / "dataset"), episodes=2, draws=2)
    by = {(row.sampler, row.steps, row.samples): row for row in rows}
    assert set(by) == {(s.kind, s.steps, s.samples) for s in quality.SAMPLERS}
    distances = {key: row.from_reference for key, row in by.items() if row.from_reference is not None}
    assert {key[0] for key in distances} == {"ddim", "dpm"}
    assert distances.pop(("ddim", 100, 1)) == 0
    assert all(0 < distance < 0.06 for distance in distances.values())
    assert all(row.from_demonstration > 0 and row.mean_from_published > 0 for row in rows)
    report.print_quality(json.loads(json.dumps([asdict(row) for row in rows])), Console(width=300))
    with pytest.raises(DatasetError, match="long enough"):
        quality.measure(checkpoint, Dataset(tmp_path / "dataset"), episodes=0)
    with pytest.raises(UserError, match="give its --checkpoint too"):
        bench_policy.main(["--dataset", str(tmp_path)])


def test_samplers_are_compared_on_the_same_frames_of_fewer_pictures(tmp_path):
    """An episode with a picture per four control steps shows the starts of its chunks all the same."""
    checkpoint = load_tiny(tmp_path)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (21, VIEW, 2 * VIEW, 3), dtype=np.uint8)
    actions = random.uniform(-0.01, 0.01, (20, 7)).astype(np.float32)
    rows = []
    for every in (1, 4):
        writer = DatasetWriter(tmp_path / str(every), tiny_embodiment())
        writer.add(
            EpisodeRecord(
                images=images[::every],
                actions=actions,
                labels=np.ones(20, bool),
                intervention=np.zeros(20, bool),
                task="PushCube-v1",
                seed=0,
                instruction="push",
                success=True,
                source="0",
                picture_every=every,
            )
        )
        writer.finish()
        with torch.inference_mode():
            rows.append(list(quality._windows(checkpoint, Dataset(tmp_path / str(every)), 1)))
    ((memory, chunks, labels),), ((few_memory, few_chunks, few_labels),) = rows
    assert torch.equal(few_memory, memory)
    np.testing.assert_array_equal(few_chunks, chunks)
    np.testing.assert_array_equal(few_labels, labels)


@pytest.mark.parametrize("words", [["--iterations", "0"], ["--denoise-steps", "0"], ["--threads", "-1"]])
def test_impossible_arguments_are_refused(words):
    """One sentence that names the argument, before anything is built."""
    with pytest.raises(UserError, match=words[0]):
        bench_policy.main(words)


def test_an_unknown_preset_is_a_sentence():
    """With the list of presets."""
    with pytest.raises(UserError, match="presets are"):
        bench_policy.main(["--preset", "huge"])
