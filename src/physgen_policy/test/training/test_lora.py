# SPDX-License-Identifier: Apache-2.0
"""Low-rank fine-tuning: the right layers and no others, frozen stays frozen, merged acts like unmerged."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from accelerate.state import AcceleratorState
from model_windows import make_windows
from safetensors.torch import load_file, save_file
from tiny_checkpoint import tiny_config, tiny_embodiment, write_tiny_checkpoint, write_tiny_dataset

from physgen_policy.checkpoint import CheckpointError, load_checkpoint, resolve_checkpoint
from physgen_policy.checkpoint.adapters import (
    AdapterError,
    add_adapters,
    current_adapter,
    read_adapter,
    target_layers,
    write_adapter,
)
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.config import LoraConfig, load_preset
from physgen_policy.model.nova import Nova
from physgen_policy.model.window_loss import window_loss
from physgen_policy.training import run as training_run
from physgen_policy.training.config import PolicyStage, TrainConfig, TrainConfigError, parse_config
from physgen_policy.training.held_out import episode_position
from physgen_policy.training.tuning import TRAINED_WHOLE, freeze_all_but_adapters


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("lora") / "base")


@pytest.fixture(scope="module")
def config(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    root = tmp_path_factory.mktemp("lora-run")
    return TrainConfig(
        name="lora",
        model="checkpoint",
        dataset=(str(write_tiny_dataset(root / "data", tiny_embodiment())),),
        output=str(root / "run"),
        device="cpu",
        precision="fp32",
        num_threads=1,
        validation_episodes=0,
        save_every=2,
        log_every=1,
        store_dtype="float32",
        policy=PolicyStage(
            steps=4,
            batch_size=2,
            warmup_steps=1,
            init_from=str(base),
            tuning="lora",
            lora_rank=4,
            ema_decay=0.5,
        ),
    )


@pytest.fixture(scope="module")
def run(config: TrainConfig) -> Path:
    return training_run.TrainingRun(config, resume=False).fit().parent


def test_the_targets_are_the_linear_layers_of_the_video_blocks_and_nothing_else() -> None:
    """A plain name match on "proj" would also hit patch and text embeddings, the mixer and the diffusion MLP."""
    config = load_preset("physgen-732m")
    with torch.device("meta"):
        nova = Nova(config.nova)
        found = target_layers(nova, config.lora)
        expected = [
            f"video_encoder.blocks.{i}.{name}"
            for i in range(16)
            for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        ]
        assert sorted(found) == sorted(expected)
        assert sorted(add_adapters(nova, config.lora)) == sorted(expected)
    assert sum(p.numel() for p in nova.parameters() if p.requires_grad) == 4_194_304


def test_adapters_that_would_do_nothing_are_refused() -> None:
    nova = Nova(tiny_config().nova)
    with pytest.raises(AdapterError, match="no linear layer"):
        target_layers(nova, LoraConfig(rank=4, targets="proj"))
    with pytest.raises(AdapterError, match="rank"):
        target_layers(nova, LoraConfig(rank=0))


def test_a_fresh_adapter_changes_nothing_and_only_the_named_parts_are_trained(base: Path) -> None:
    model = load_checkpoint(base).model
    windows = make_windows(model.config, packs=3)
    before = window_loss(model, windows, torch.Generator().manual_seed(0)).total
    freeze_all_but_adapters(model, LoraConfig(rank=4))
    after = window_loss(model, windows, torch.Generator().manual_seed(0)).total
    torch.testing.assert_close(after, before)
    for name, parameter in model.named_parameters():
        adapted = ".blocks." in name and ".lora_" in name and name.startswith("nova.video_encoder.")
        assert parameter.requires_grad == (adapted or name.startswith(TRAINED_WHOLE)), name


def test_base_weights_stay_and_the_merged_checkpoint_holds_the_change(run: Path, base: Path) -> None:
    """In the self-contained result only adapted layers and the parts trained whole differ from the base."""
    before, after = load_file(base / "model.safetensors"), load_file(run / "checkpoint" / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    layers = {
        f"model.nova.{name}.weight" for name in target_layers(Nova(tiny_config().nova), LoraConfig(rank=4))
    }
    whole = {key for key in before if key.removeprefix("model.").startswith(TRAINED_WHOLE)}
    assert layers <= moved <= layers | whole
    assert any(key.startswith("model.action_head.") for key in moved)


def test_merged_acts_like_unmerged(run: Path, base: Path) -> None:
    """The network with PEFT's layers in place, the adapter folder and the merged folder give the same loss."""
    unmerged = load_checkpoint(base).model
    config = LoraConfig(rank=4, alpha=8)
    unmerged.load_state_dict(
        {
            key.removeprefix("model."): value
            for key, value in load_file(run / "adapter" / "trained.safetensors").items()
        },
        strict=False,
    )
    wrapped = peft.PeftModel.from_pretrained(unmerged.nova, str(run / "adapter"))
    assert read_adapter(run / "adapter").scale == config.alpha / config.rank
    assert wrapped.base_model.model is unmerged.nova
    merged, referring = load_checkpoint(run / "checkpoint"), load_checkpoint(run / "adapter")
    windows = make_windows(merged.model.config, packs=3)
    losses = [
        window_loss(model, windows, torch.Generator().manual_seed(0)).total.item()
        for model in (unmerged, merged.model, referring.model)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=1e-5)
    original = window_loss(
        load_checkpoint(base).model, windows, torch.Generator().manual_seed(0)
    ).total.item()
    assert abs(original - losses[0]) > 1e-4


def test_the_merged_folder_needs_nothing_else_and_the_adapter_names_its_base(
    run: Path, config: TrainConfig, tmp_path: Path
) -> None:
    copied = shutil.copytree(run / "checkpoint", tmp_path / "elsewhere")
    assert resolve_checkpoint(str(copied), "") == copied
    assert not {"base.json", "adapter_config.json"} & {p.name for p in copied.iterdir()}
    other = write_tiny_checkpoint(tmp_path / "other", seed=5)
    lost = shutil.copytree(run / "adapter", tmp_path / "adapter")
    (lost / "base.json").write_text('{"checkpoint": "gone", "sha256": "0"}')
    with pytest.raises(CheckpointError, match="not here; bring it back, or use the self-contained"):
        load_checkpoint(lost)
    (lost / "base.json").write_text(f'{{"checkpoint": "{other}", "sha256": "0"}}')
    with pytest.raises(CheckpointError, match="another version of the checkpoint"):
        load_checkpoint(lost)


def test_an_interrupted_fine_tune_ends_like_a_whole_one(
    run: Path, config: TrainConfig, tmp_path: Path
) -> None:
    parts = replace(config, output=str(tmp_path / "parts"))
    first = training_run.TrainingRun(parts, resume=False)

    class InterruptedRunError(Exception):
        pass

    def stop(stage: str, step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise InterruptedRunError

    first.log.numbers = stop  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError):
        first.fit()
    assert not (tmp_path / "parts" / "checkpoint").exists()
    resumed = training_run.TrainingRun(parts, resume=True).fit()
    expected, found = (
        load_file(run / "checkpoint" / "model.safetensors"),
        load_file(resumed / "model.safetensors"),
    )
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    with pytest.raises(ValueError, match=r"policy\.tuning was 'lora' and is 'full'"):
        training_run.TrainingRun(
            replace(parts, policy=replace(parts.policy, tuning="full")), resume=True
        ).fit()


def between_the_first_two(folders: tuple[str, ...]) -> float:
    """The share by which exactly one episode is held out."""
    datasets = [Dataset(Path(folder)) for folder in folders]
    positions = sorted(episode_position(d.actions(i)) for d in datasets for i in range(len(d)))
    return (positions[0] + positions[1]) / 2


@pytest.fixture
def fresh_accelerator() -> Iterator[None]:
    """accelerate fixes the number format for the whole process; give it back afterwards."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.mark.usefixtures("fresh_accelerator")
def test_bf16_keeps_the_frozen_weights_of_the_checkpoint_exact(
    config: TrainConfig, base: Path, tmp_path: Path
) -> None:
    """Frozen layers are rounded in memory to save it; what is saved comes from the base."""
    rounded = replace(
        config,
        output=str(tmp_path / "run"),
        precision="bf16",
        validation_share=between_the_first_two(config.dataset),
        validation_episodes=1,
    )
    folder = training_run.TrainingRun(rounded, resume=False).fit()
    assert '"stage": "validation"' in (tmp_path / "run" / "metrics.jsonl").read_text()
    before, after = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    frozen = [key for key in before if "image_encoder" in key or key.startswith(("codec.", "text_encoder."))]
    assert frozen and all(torch.equal(before[key], after[key]) for key in frozen)


def test_text_states_are_computed_once(run: Path) -> None:
    stored = [load_file(path) for path in run.glob("text-*.safetensors")]
    assert len(stored) == 1 and len(stored[0]) == 1
    assert next(iter(stored[0].values())).shape == (len(b"pick"), 16)


def test_damaged_adapters_are_refused_with_a_sentence(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nova, config = Nova(tiny_config().nova), LoraConfig(rank=2, alpha=4)
    add_adapters(nova, config)
    write_adapter(tmp_path, current_adapter(nova, config), config, "base")
    adapter = read_adapter(tmp_path)
    assert adapter.scale == 2.0 and len(adapter.factors) == 8
    with pytest.raises(AdapterError, match="absent in the base"):
        adapter.fold_into({}, "model.nova")
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    key = sorted(tensors)[0]
    save_file({k: v for k, v in tensors.items() if k != key}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match="lacks"):
        read_adapter(tmp_path)
    save_file({"surprise": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match="surprise"):
        read_adapter(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(tmp_path)


def test_folding_adds_scale_times_the_product() -> None:
    rng = np.random.default_rng(0)
    down, up = (torch.from_numpy(rng.normal(size=s).astype(np.float32)) for s in ((2, 3), (4, 2)))
    from physgen_policy.checkpoint.adapters import Adapter

    tensors = {"p.layer.weight": torch.ones(4, 3, dtype=torch.float16)}
    Adapter({"layer": (down, up)}, 0.5).fold_into(tensors, "p")
    torch.testing.assert_close(tensors["p.layer.weight"], 1.0 + 0.5 * up @ down)


def test_bad_tuning_is_refused() -> None:
    good = {"name": "n", "model": "tiny", "dataset": "d", "output": "o"}
    with pytest.raises(TrainConfigError, match="adapts a trained model"):
        parse_config({**good, "policy": {"tuning": "lora"}}, "here")
    with pytest.raises(TrainConfigError, match="must be one of"):
        parse_config({**good, "policy": {"tuning": "some"}}, "here")
