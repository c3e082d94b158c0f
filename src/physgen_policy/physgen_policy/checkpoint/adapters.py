# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA, Hu et al. 2021) of the video encoder, by PEFT: add, read, write, fold into plain weights.

Which layers are adapted is decided by a regular expression over whole module names below the backbone: short names such
as `proj` would also hit patch embeddings, the text projection, the mixer and the diffusion MLP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from physgen_control.errors import UserError
from physgen_control.program.plain_values import convert, read_json_object
from physgen_policy.contract.tensor_file import save_file
from physgen_policy.model.config import LoraConfig

if TYPE_CHECKING:
    import peft  # slow to import at run time, and only training needs it
    from peft.tuners.lora import LoraLayer

CONFIG_FILE, WEIGHT_FILE = "adapter_config.json", "adapter_model.safetensors"
KEY_PREFIX = "base_model.model."
"""What PEFT writes before the names of the adapted model's modules; here that model is the backbone."""


class AdapterError(UserError):
    """Adapters cannot be added or read; the message says why."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Low-rank factors of some layers."""

    factors: dict[str, tuple[Tensor, Tensor]]
    """By layer: `down` [r, in] and `up` [out, r]."""
    scale: float
    """The change of a layer's weight is scale x up @ down."""

    def fold_into(self, tensors: dict[str, Tensor], prefix: str) -> None:
        """Replace the plain weights `PREFIX.LAYER.weight` by fp32 ones that contain the change.

        Raises:
            AdapterError: A layer is absent or of another size.
        """
        for layer, (down, up) in self.factors.items():
            key = f"{prefix}.{layer}.weight"
            weight = tensors.get(key)
            if weight is None or tuple(weight.shape) != (up.shape[0], down.shape[1]):
                size = "absent" if weight is None else f"of shape {tuple(weight.shape)}"
                raise AdapterError(f"the adapter changes {key}, which is {size} in the base checkpoint")
            tensors[key] = weight.float() + self.scale * (up.float() @ down.float())


def target_layers(nova: nn.Module, config: LoraConfig) -> list[str]:
    """Return the names of the linear layers that the configuration adapts.

    Raises:
        AdapterError: The rank is 0, or no linear layer has such a name.
    """
    if config.rank < 1:
        raise AdapterError("adapters need a rank of at least 1; set lora_rank")
    pattern = re.compile(config.targets)
    found = [
        name for name, part in nova.named_modules() if isinstance(part, nn.Linear) and pattern.fullmatch(name)
    ]
    if not found:
        raise AdapterError(f"no linear layer of the backbone is called {config.targets!r}")
    return found


def add_adapters(nova: nn.Module, config: LoraConfig) -> list[str]:
    """Wrap the target layers in place and freeze every other parameter of `nova`; return the names of the layers.

    The change is zero at first. Draws from torch's global generator.

    Raises:
        AdapterError: The rank is 0, no layer fits, or PEFT would adapt others than meant.
    """
    import peft

    wanted = target_layers(nova, config)
    peft.inject_adapter_in_model(_peft_config(config), nova)
    found = list(_adapted(nova))
    if sorted(found) != sorted(wanted):
        raise AdapterError(f"{sorted(set(found) ^ set(wanted))[:3]} would be adapted although not meant to")
    return found


def current_adapter(nova: nn.Module, config: LoraConfig) -> Adapter:
    """Return the adapters in a backbone as values (copies, on the CPU)."""

    def copied(factor: nn.Module) -> Tensor:
        (weight,) = factor.parameters()
        return weight.detach().cpu().float().clone()

    factors = {
        name: (copied(part.lora_A["default"]), copied(part.lora_B["default"]))
        for name, part in _adapted(nova).items()
    }
    return Adapter(factors, config.alpha / config.rank)


def write_adapter(folder: Path, adapter: Adapter, config: LoraConfig, base: str) -> None:
    """Write adapter_config.json and adapter_model.safetensors, as `peft.PeftModel.from_pretrained` reads them."""
    described = _peft_config(config)
    described.base_model_name_or_path = base
    described.inference_mode = True
    described.save_pretrained(str(folder))
    tensors: dict[str, Tensor] = {}
    for layer, (down, up) in adapter.factors.items():
        tensors[f"{KEY_PREFIX}{layer}.lora_A.weight"] = down.contiguous()
        tensors[f"{KEY_PREFIX}{layer}.lora_B.weight"] = up.contiguous()
    save_file(tensors, folder / WEIGHT_FILE, metadata={"format": "pt"})


def read_adapter(folder: Path) -> Adapter:
    """Read what write_adapter, or PEFT for a plain LoRA of the backbone, wrote.

    Raises:
        AdapterError: A file is absent or damaged, or it holds something else than plain LoRA factors.
    """  # noqa: DOC501  # the UserError is caught here
    try:
        values = read_json_object(folder / CONFIG_FILE)
        tensors = load_file(folder / WEIGHT_FILE)
        rank = convert(int, values.get("r"), "r")
        alpha = convert(float, values.get("lora_alpha"), "lora_alpha")
        if rank < 1:
            raise UserError(f"r must be at least 1, got {rank}")
    except (OSError, UserError, SafetensorError) as error:
        raise AdapterError(f"the adapter in {folder} cannot be read: {error}") from error
    if values.get("peft_type") != "LORA" or values.get("use_dora") or values.get("rank_pattern"):
        raise AdapterError(
            f"{folder / CONFIG_FILE} is not a plain LoRA, which is all that can be folded here"
        )
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    for key in tensors:
        layer, side = key.removeprefix(KEY_PREFIX).rsplit(".lora_", 1) if ".lora_" in key else (key, "")
        if side not in ("A.weight", "B.weight"):
            raise AdapterError(f"{folder / WEIGHT_FILE} holds {key}, which is no LoRA factor")
        try:
            pair = tuple(tensors[f"{KEY_PREFIX}{layer}.lora_{s}.weight"] for s in "AB")
        except KeyError as error:
            raise AdapterError(f"{folder / WEIGHT_FILE} lacks {error.args[0]}") from error
        factors[layer] = (pair[0], pair[1])
    return Adapter(factors, alpha / (rank**0.5 if values.get("use_rslora") else rank))


def _adapted(nova: nn.Module) -> dict[str, LoraLayer]:
    from peft.tuners.lora import LoraLayer

    return {name: part for name, part in nova.named_modules() if isinstance(part, LoraLayer)}


def _peft_config(config: LoraConfig) -> peft.LoraConfig:
    import peft

    return peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=config.targets,
    )
