# SPDX-License-Identifier: Apache-2.0
"""What our own tiny model computes: every number a refactoring must leave alone. `python tiny_recording.py` renews it.

Weights, inputs and noise follow from names and seeds, not from initialisers, so only the computation is recorded.
Renew the file only when a change of the numbers is the purpose; the command prints what moved.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from model_windows import make_windows, mini_config
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from physgen_policy.model.frame_codec import OpenSoraCodec, build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import build_text_encoder
from physgen_policy.model.vae_config import VaeConfig
from physgen_policy.model.window_loss import window_loss
from physgen_policy.sampling.actions import sample_actions
from physgen_policy.sampling.frame import FrameSampler, sample_frame
from physgen_policy.sampling.solver import SamplerConfig

STORED = Path(__file__).with_name("golden") / "tiny_model.safetensors"
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "options": {
        "prediction": "v",
        "attention": "causal_by_chunk",
        "memory_frames": True,
        "plan_conditioning": False,
        "rope": "rope_t",
    },
}
SAMPLED: tuple[tuple[Literal["ddim", "ddpm"], int, bool], ...] = (
    ("ddim", 10, True),
    ("ddim", 10, False),
    ("ddpm", 25, True),
)
"""Sampler, its steps, and whether the executed plan is given."""
GRADIENTS = (
    "nova.video_encoder.blocks.0.attn.qkv.bias",
    "nova.video_encoder.mixer.lora.weight",
    "nova.image_decoder.norm.proj.bias",
    "nova.mask_embed.mask_token",
    "action_tokenizer.boa",
    "action_head.blocks.1.modulation.bias",
    "action_head.output.weight",
)
VIDEO = VaeConfig(kind="open_sora", block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_groups=4)


M = TypeVar("M", bound=nn.Module)


def named_weights(module: M) -> M:
    """Weights that depend on their names and shapes only; vectors of norms stay near one."""
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        normal = torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(value.shape))).float()
        fan_in = value[0].numel() if value.ndim > 1 else 1
        centre = 1.0 if "norm" in name and name.endswith("weight") and value.ndim == 1 else 0.0
        value.copy_(centre + (0.1 if value.ndim < 2 else fan_in**-0.5) * normal)
    return module.eval()


def record() -> dict[str, Tensor]:
    """Compute everything anew, fp32 on one CPU thread."""
    tensors: dict[str, Tensor] = {}
    for name, changes in VARIANTS.items():
        recorded = _record_model(**changes)
        tensors |= {f"{name}.{key}": value for key, value in recorded.items()}
    tensors |= _record_codecs()
    return {name: value.detach().float().contiguous().clone() for name, value in tensors.items()}


def _record_model(**changes: Any) -> dict[str, Tensor]:
    config = mini_config(**changes)
    with torch.no_grad():
        model = named_weights(PhysGen(config))
        text_encoder = named_weights(build_text_encoder(config))
    windows = make_windows(config, batch=2)
    out: dict[str, Tensor] = {}

    losses = window_loss(model, windows, torch.Generator().manual_seed(3), obs_loss_frames=2, draws=2)
    losses.total.backward()
    out |= {"loss.total": losses.total, "loss.action": losses.action, "loss.observation": losses.observation}
    out["loss.action_per_chunk"] = losses.action_per_chunk
    parameters = dict(model.named_parameters())
    for name in GRADIENTS:
        gradient = parameters[name].grad
        assert gradient is not None, name
        out[f"gradient.{name}"] = gradient

    with torch.no_grad():
        text = model.text_tokens(windows.text_states, windows.text_lengths)
        out["text.states"], _ = text_encoder.encode(["push", ""])
        out["text.tokens"] = text
        full = model.full(text, windows.latents[:, :5], windows.past_actions, windows.boa)
        out["full.frame_hidden"], out["full.action_hidden"] = full.frame_hidden, full.action_hidden
        context = model.start(text)
        assert context.anchor is not None
        out["anchor"] = context.anchor
        for pack in range(5):
            past = None if pack == 0 else windows.past_actions[:, pack]
            last = model.append(context, windows.latents[:, pack], past)
        again = model.append(model.rebuild(context, 4), windows.latents[:, 5], windows.past_actions[:, 0])
        out["shifted.frame_hidden"], out["shifted.action_hidden"] = again.frame_hidden, again.action_hidden
        plan = windows.plan_actions[:, 0]
        for kind, steps, planned in SAMPLED:
            given = plan if planned else None
            out[f"chunk.{kind}{steps}{'' if given is None else '.plan'}"] = sample_actions(
                model,
                last.action_hidden,
                given,
                SamplerConfig(kind=kind, steps=steps),
                torch.Generator().manual_seed(5),
                frame_hidden=last.frame_hidden,
            )
        out["frame"] = sample_frame(
            model,
            model.frame_condition(context.anchor, last.frame_hidden),
            FrameSampler(ar_steps=4, denoise_steps=5),
            torch.Generator().manual_seed(7),
        )
    return out


@torch.no_grad()
def _record_codecs() -> dict[str, Tensor]:
    numbers = np.random.RandomState(11)
    images = torch.from_numpy(numbers.randint(0, 256, (1, 32, 48, 3), dtype=np.uint8))
    clip = torch.from_numpy(numbers.uniform(-1, 1, (1, 3, 5, 16, 16))).float()
    still, video = named_weights(build_frame_codec(mini_config())), named_weights(OpenSoraCodec(VIDEO))
    out = {}
    for name, codec in (("autoencoder_kl", still), ("open_sora", video)):
        latents = codec.encode(images)
        out[f"{name}.latents"] = latents
        out[f"{name}.pixels"] = codec.decode_latents(latents / codec.config.scaling_factor)
    out["open_sora.clip_mean"], out["open_sora.clip_logvar"] = video.vae.encode(clip)
    return out


def main() -> None:
    """Renew the stored file and say what moved."""
    torch.set_num_threads(1)
    fresh = record()
    stored = load_file(STORED) if STORED.exists() else {}
    for name in sorted(set(stored) ^ set(fresh)):
        print(f"{'new' if name in fresh else 'gone':4s} {name}")
    for name in sorted(set(stored) & set(fresh)):
        scale = stored[name].abs().max().clamp(min=1e-30)
        moved = float((fresh[name] - stored[name]).abs().max() / scale)
        if moved > 1e-6:
            print(f"{moved:.2e} {name}")
    save_file(fresh, STORED)
    print(f"{len(fresh)} tensors, {STORED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
