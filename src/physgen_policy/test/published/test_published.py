# SPDX-License-Identifier: Apache-2.0
"""A published folder becomes a checkpoint bit for bit, or is refused with the tensor's name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from published_folder import published_config, write_published_folder
from safetensors.torch import load_file, save_file
from tiny_checkpoint import tiny_embodiment, write_tiny_dataset

from physgen_control.errors import UserError
from physgen_policy.checkpoint import load_checkpoint
from physgen_policy.commands import import_nova
from physgen_policy.cost.parameters import read_config
from physgen_policy.model.config import load_preset
from physgen_policy.published.checkpoint import import_published, nova_config
from physgen_policy.published.hub import download
from physgen_policy.published.nova_folder import NovaFolderError
from physgen_policy.training.config import PolicyStage, TrainConfig
from physgen_policy.training.run import TrainingRun


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published_folder(
        tmp_path_factory.mktemp("published") / "nova", published_config(), shards=True
    )


@pytest.fixture(scope="module")
def imported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "base"
    return import_published(folder, out, published_config(), origin={"folder": "nova"})


def test_sizes_come_from_the_folder(folder: Path) -> None:
    """A preset of other sizes gets the folder's; the mixer's rank, which its config leaves out, is a tensor's."""
    assert nova_config(folder, load_preset("tiny").nova) == published_config().nova


def test_every_tensor_is_stored_bit_for_bit(folder: Path, imported: Path) -> None:
    stored = load_file(imported / "model.safetensors")
    sources = {
        "model.nova.": load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"),
        "codec.vae.": load_file(folder / "vae" / "diffusion_pytorch_model.safetensors"),
        "text_encoder.phi.": {
            key.removeprefix("model."): value
            for name in ("a", "b")
            for key, value in load_file(folder / "text_encoder" / f"{name}.safetensors").items()
            if not key.startswith("lm_head.")
        },
    }
    for prefix, tensors in sources.items():
        own = {key for key in stored if key.startswith(prefix)}
        assert own == {prefix + key for key in tensors}
        for key, value in tensors.items():
            assert stored[prefix + key].dtype == torch.float16
            assert torch.equal(stored[prefix + key], value), key


def test_the_text_encoder_is_transformers_own(folder: Path, imported: Path) -> None:
    from transformers import PhiForCausalLM

    encoder = load_checkpoint(imported).text_encoder
    states, lengths = encoder.encode(["push the cube"])
    assert lengths.tolist() == [3]
    reference = PhiForCausalLM.from_pretrained(str(folder / "text_encoder"), dtype=torch.float32).model
    with torch.no_grad():
        expected = reference(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state
    torch.testing.assert_close(states[:, :3], expected, atol=1e-5, rtol=1e-5)


def test_the_checkpoint_needs_nothing_of_the_folder_and_can_be_fine_tuned(
    imported: Path, tmp_path: Path
) -> None:
    """Copied elsewhere, it starts a low-rank fine-tune with the statistics of the data; the result is complete."""
    base = shutil.copytree(imported, tmp_path / "base")
    assert read_config(str(base)).text_encoder.tokenizer == str(base / "tokenizer")
    config = TrainConfig(
        name="n",
        model="checkpoint",
        dataset=(str(write_tiny_dataset(tmp_path / "data", tiny_embodiment())),),
        output=str(tmp_path / "run"),
        device="cpu",
        precision="fp32",
        num_threads=1,
        validation_episodes=0,
        policy=PolicyStage(steps=1, batch_size=1, warmup_steps=1, init_from=str(base), tuning="lora"),
    )
    result = load_checkpoint(TrainingRun(config, resume=False).fit())
    assert result.norm.count == 24
    assert result.model.config.lora.rank == 2
    assert (result.path / "tokenizer" / "tokenizer.json").is_file()
    assert (
        json.loads((result.path / "config.json").read_text())["model"]["text_encoder"]["tokenizer"]
        == "tokenizer"
    )


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
@pytest.mark.parametrize("fault", ["missing", "renamed", "shape"])
def test_a_tensor_that_does_not_fit_is_named(folder: Path, tmp_path: Path, part: str, fault: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = sorted((copy / part).glob("*.safetensors"))[0]
    tensors = load_file(path)
    key = next(k for k in sorted(tensors) if tensors[k].ndim > 1 and "lm_head" not in k and "mixer" not in k)
    value = tensors.pop(key)
    if fault == "renamed":
        tensors[key + "x"] = value
    elif fault == "shape":
        tensors[key] = value[:-1].contiguous()
    save_file(tensors, path)
    with pytest.raises(NovaFolderError, match=key.removeprefix("model.").replace(".", r"\.")):
        import_published(copy, tmp_path / "out", published_config(), origin={})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("tokenizer/tokenizer.json", r"no tokenizer\.json"),
        ("vae/config.json", "cannot be read"),
        ("text_encoder/config.json", "cannot be read"),
        ("model_index.json", r"model_index\.json"),
        ("transformer/diffusion_pytorch_model.safetensors", "cannot be read"),
    ],
)
def test_an_absent_file_is_a_sentence(folder: Path, tmp_path: Path, file: str, sentence: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / file).unlink()
    with pytest.raises(NovaFolderError, match=sentence):
        import_published(copy, tmp_path / "out", published_config(), origin={})


def test_the_rotary_variant_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rotary_pos_embed": True}))
    with pytest.raises(NovaFolderError, match="rotary_pos_embed"):
        import_published(copy, tmp_path / "out", published_config(), origin={})


def test_without_a_network_the_local_folder_is_suggested() -> None:
    with pytest.raises(NovaFolderError, match="pass the local folder in place of the name"):
        download("BAAI/nova-d48w1024-osp480", endpoint="http://127.0.0.1:9")


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert import_nova.main([str(folder), "--out", str(out), "--preset", "tiny"]) == 0
    assert "train --finetune" in capsys.readouterr().out
    with pytest.raises(UserError, match="exists already"):
        import_nova.main([str(folder), "--out", str(out)])
    with pytest.raises(UserError, match="there is no folder"):
        import_nova.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "other")])


def test_random_weights_of_a_preset_stand_in_for_a_published_model(tmp_path: Path) -> None:
    """No graph accepts them; apart from the small text encoder the architecture is the preset's."""
    out = tmp_path / "random"
    assert import_nova.main(["--random", "--preset", "tiny", "--out", str(out)]) == 0
    made, preset = load_checkpoint(out), load_preset("tiny")
    assert made.embodiment.robot == "none" and made.norm.count == 0
    assert made.model.config.nova == preset.nova and made.model.config.action == preset.action
    assert made.model.config.text_encoder.num_layers == 1
    stored = load_file(out / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}
    assert all(value.any() for key, value in stored.items() if key.startswith("model.action_head."))
    with pytest.raises(SystemExit):
        import_nova.main(["--out", str(tmp_path / "nothing")])
