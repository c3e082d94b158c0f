# SPDX-License-Identifier: Apache-2.0
"""PhysGen: frames and action chunks as one stream of physical tokens through a video backbone.

Pack n is [frame tokens of O_n; action tokens of the chunk executed before O_n]. Its frame slots condition the next
frame (image encoder and diffusion MLP), its action slots the next actions (Action-DiT). See docs/model.md.

Axes: b or r rows, l text tokens, d width, p packs, c h w of a latent, k actions of a chunk, a numbers of an action, n
or m tokens of a frame. Tests check them at every call (conftest.py).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from physgen_policy.model.action_head import ActionDiT
from physgen_policy.model.action_tokenizer import ActionTokenizer
from physgen_policy.model.attention import Visibility, stream_dtype
from physgen_policy.model.batch import PackOutput
from physgen_policy.model.cache import KVCache
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.context import Context, StoredPack, WindowFullError
from physgen_policy.model.frame_inputs import FrameCondition, FrameInputs
from physgen_policy.model.mask import window_mask, window_segments
from physgen_policy.model.nova import Nova
from physgen_policy.model.rotary import rotate, rotation, window_positions


class PhysGen(nn.Module):
    """The policy network: whole windows, or pack by pack. No state between calls; Context is the caller's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        action, width = config.action, config.nova.width
        self.nova = Nova(config.nova)
        self.action_tokenizer = ActionTokenizer(action.action_dim, action.horizon, action.num_chunks, width)
        self.action_head = ActionDiT(action, width)
        self.frame_inputs = FrameInputs(config) if config.frames.adds_inputs else None

    def text_tokens(
        self, states: Float[Tensor, "b l text_dim"], lengths: Int[Tensor, " b"]
    ) -> Float[Tensor, "b l d"]:
        """Return text-encoder states as tokens.

        Rows beyond a prompt are the table's.

        Raises:
            ValueError: l is not the configured text_len.
        """
        expected = (self.config.nova.text_len, self.config.nova.text_dim)
        if tuple(states.shape[1:]) != expected:
            raise ValueError(
                f"text states must be [b, {expected[0]}, {expected[1]}], got {list(states.shape)}"
            )
        out: Tensor = self.nova.text_embed(states.to(self.action_tokenizer.slot.dtype), lengths)
        return out

    def _pack_tokens(self, latents: Tensor, past_actions: Tensor, boa: Tensor, first_pack: int) -> Tensor:
        """Return packs from first_pack on as tokens [b, p, n + 8, d]; arguments as in full()."""
        num_packs = latents.shape[1]
        index = torch.arange(first_pack, first_pack + num_packs, device=latents.device, dtype=torch.float32)
        time = self.nova.video_pos_embed((index + 1) * self.config.time_scale)
        frames = self.nova.frame_tokens(latents.to(self.action_tokenizer.slot.dtype), time)
        if not self.config.action.past_actions:
            boa = torch.ones_like(boa)
        # A missing chunk may hold any number, even NaN: it must not reach the tokens at all.
        known = past_actions.masked_fill(boa[..., None, None], 0.0)
        begin = self.action_tokenizer.boa + self.action_tokenizer.slot
        actions = torch.where(boa[..., None, None], begin, self.action_tokenizer(known)) + time[:, None]
        return torch.cat([frames, actions], dim=2)

    def full(
        self,
        text_tokens: Float[Tensor, "b l d"],
        latents: Float[Tensor, "b p c h w"],
        past_actions: Float[Tensor, "b p k a"],
        boa: Bool[Tensor, "b p"],
        *,
        split_attention: bool = False,
    ) -> PackOutput:
        """Run all packs at once under the window mask, without a cache.

        Args:
            text_tokens: Of the instructions.
            latents: Scaled latents of the frames.
            past_actions: Normalised.
            boa: Packs that carry Begin-of-Action instead.
            split_attention: Attend by window_segments instead of under a dense mask.

        Returns:
            Outputs of every pack with an axis p after b.
        """
        num_text = text_tokens.shape[1]
        packs = self._pack_tokens(latents, past_actions, boa, 0)
        batch, num_packs, _, width = packs.shape
        hidden = self.nova.video_encoder(
            torch.cat([text_tokens.to(packs.dtype), packs.flatten(1, 2)], dim=1),
            mask=self._visible(num_text, num_packs, None, split_attention, packs.device),
            rope=self._rope(num_text, 0, num_packs, packs.device),
            skip=num_text,
        )
        return self._split(hidden.view(batch, num_packs, -1, width))

    def start(
        self, text_tokens: Float[Tensor, "b l d"], *, with_anchor: bool = True, split_attention: bool = False
    ) -> Context:
        """Return a context that holds only the text.

        Args:
            text_tokens: Of the instructions.
            with_anchor: Also compute what generated frames need; actions do not need it.
            split_attention: Attend by window_segments instead of under a dense mask.
        """
        config, (batch, num_text, _) = self.config, text_tokens.shape
        device = text_tokens.device
        cache = KVCache(
            layers=config.nova.video_depth,
            batch=batch,
            heads=config.nova.heads,
            capacity=num_text + config.context_packs * config.pack_tokens,
            head_dim=config.nova.head_dim,
            dtype=stream_dtype(self.action_tokenizer.slot),
            device=device,
        )
        tokens = text_tokens.to(self.action_tokenizer.slot.dtype)
        self.nova.video_encoder(tokens, cache=cache, rope=self._rope(num_text, 0, 0, device))
        return Context(
            cache=cache,
            anchor=self.nova.anchor(tokens) if with_anchor else None,
            num_text=num_text,
            max_packs=config.context_packs,
            split_attention=split_attention,
        )

    def append(
        self,
        context: Context,
        latent: Float[Tensor, "b c h w"],
        past_actions: Float[Tensor, "b k a"] | None,
        boa: Bool[Tensor, " b"] | None = None,
    ) -> PackOutput:
        """Add one pack to the context (the one documented mutation) and return its outputs.

        Args:
            context: The window.
            latent: Scaled latent of the newest frame.
            past_actions: Normalised actions executed since the previous frame; None for Begin-of-Action.
            boa: Rows that begin although past_actions is given.

        Raises:
            WindowFullError: The window already holds context_packs packs; use rebuild.
        """
        output = self.extend(context, [self.stored_pack(latent, past_actions, boa)])
        return PackOutput(output.frame_hidden[:, -1], output.action_hidden[:, -1])

    def stored_pack(
        self,
        latent: Float[Tensor, "b c h w"],
        past_actions: Float[Tensor, "b k a"] | None,
        boa: Bool[Tensor, " b"] | None = None,
    ) -> StoredPack:
        """Return a pack as extend takes it; arguments as in append."""
        rows = latent.shape[0]
        if past_actions is None:
            shape = (rows, self.config.action.horizon, self.config.action.action_dim)
            past_actions = torch.zeros(shape, device=latent.device)
            boa = torch.ones(rows, dtype=torch.bool, device=latent.device)
        elif boa is None:
            boa = torch.zeros(rows, dtype=torch.bool, device=latent.device)
        return StoredPack(latent, past_actions, boa)

    def rebuild(self, context: Context, keep: int) -> Context:
        """Return a context with the same text and only the last `keep` packs, recomputed at their new time indices.

        Raises:
            ValueError: There are not as many packs.
        """
        if not 0 <= keep <= min(context.num_packs, context.max_packs):
            raise ValueError(f"cannot keep {keep} packs of a context that holds {context.num_packs}")
        fresh = replace(context, cache=context.cache.truncated_copy(context.num_text), packs=[])
        if keep:
            self.extend(fresh, context.packs[-keep:])
        return fresh

    def evict(self, context: Context, count: int = 1) -> Context:
        """Return a context without the oldest packs, nothing recomputed: the other keys are turned back in time.

        Approximate: kept states were computed when they still saw the evicted packs, and later in absolute time.

        Raises:
            ValueError: The model has no rotary positions, which alone can be turned; or fewer packs are held.
        """
        if self.config.rope == "none":
            raise ValueError("packs can only be evicted from a model with rotary time positions (rope_t)")
        if not 0 <= count <= context.num_packs:
            raise ValueError(f"cannot evict {count} packs of a context that holds {context.num_packs}")
        cache = context.cache.copy_without(context.num_text, count * self.config.pack_tokens)
        kept = cache.keys[:, :, :, context.num_text : cache.length]
        back = torch.full((kept.shape[3],), -float(count), device=kept.device)
        kept.copy_(rotate(kept.float(), rotation(back, self.config.nova.head_dim)))
        return replace(context, cache=cache, packs=context.packs[count:])

    def extend(self, context: Context, packs: list[StoredPack]) -> PackOutput:
        """Add several packs in one pass, as append adds one; the outputs have an axis p after b.

        Raises:
            WindowFullError: They do not fit into the window.
        """
        first, last = context.num_packs, context.num_packs + len(packs)
        if last > context.max_packs:
            raise WindowFullError(
                f"the window holds {context.num_packs} of {context.max_packs} packs and cannot take {len(packs)} more; "
                "rebuild the context from its last packs first"
            )
        latents = torch.stack([pack.latent for pack in packs], dim=1)
        past_actions = torch.stack([pack.past_actions for pack in packs], dim=1)
        boa = torch.stack([pack.boa for pack in packs], dim=1)
        tokens = self._pack_tokens(latents, past_actions, boa, first)
        hidden = self.nova.video_encoder(
            tokens.flatten(1, 2),
            mask=self._visible(context.num_text, last, first, context.split_attention, tokens.device),
            rope=self._rope(0, first, len(packs), tokens.device),
            cache=context.cache,
        )
        context.packs.extend(packs)
        return self._split(hidden.view(*tokens.shape))

    def _split(self, hidden: Tensor) -> PackOutput:
        frames = self.config.nova.frame_tokens
        return PackOutput(hidden[..., :frames, :], hidden[..., frames:, :])

    def _visible(
        self, num_text: int, num_packs: int, first: int | None, split: bool, device: torch.device
    ) -> Visibility:
        sizes = (num_text, num_packs, self.config.nova.frame_tokens, self.config.action.horizon)
        function = window_segments if split else window_mask
        return function(*sizes, first_pack=first, device=device)

    def _rope(self, num_text: int, first_pack: int, num_packs: int, device: torch.device) -> Tensor | None:
        if self.config.rope == "none":
            return None
        sizes = (num_text, first_pack, num_packs, self.config.nova.frame_tokens, self.config.action.horizon)
        return rotation(window_positions(*sizes, device), self.config.nova.head_dim)

    def frame_condition(
        self,
        anchor: Float[Tensor, "r m d"] | None,
        frame_hidden: Float[Tensor, "r m d"],
        present: Float[Tensor, "r c h w"] | None = None,
        next_actions: Float[Tensor, "r k a"] | None = None,
    ) -> FrameCondition:
        """Return what the frame after a pack is made from.

        Args:
            anchor: Needed by a model with a mixer.
            frame_hidden: Frame slots of the pack.
            present: Latents of the newest frame; read by a model that was made to (FrameInputs).
            next_actions: Normalised chunk until the next frame; read by a model that was made to.

        Raises:
            ValueError: Something that this model needs is missing.
        """
        if self.nova.video_encoder.mixer is None:
            tokens = frame_hidden
        elif anchor is None:
            raise ValueError("this context was started without an anchor; start it with with_anchor=True")
        else:
            tokens = self.nova.video_encoder.mix(anchor, frame_hidden)
        if self.frame_inputs is None:
            return FrameCondition(tokens)
        out: FrameCondition = self.frame_inputs(tokens, frame_hidden, present, next_actions)
        return out

    def action_memory(
        self,
        action_hidden: Float[Tensor, "b k d"],
        frame_hidden: Float[Tensor, "b n d"] | None,
        plan: Float[Tensor, "b lookahead a"] | None,
        plan_mask: Bool[Tensor, " b"] | None,
    ) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"] | None]:
        """Return the memory of the action head and which of its tokens exist; None: all do.

        Args:
            action_hidden: Action slots of the newest pack.
            frame_hidden: Frame slots of the newest pack; needed when the configuration says memory_frames.
            plan: Normalised; None: no row has one.
            plan_mask: Rows that have a plan.

        Raises:
            ValueError: The frame slots are needed and missing.
        """
        parts = [action_hidden]
        if self.config.action.memory_frames:
            if frame_hidden is None:
                raise ValueError("this model's action head also reads the frame slots: pass frame_hidden")
            parts.append(frame_hidden)
        mask = None
        if plan is not None:
            parts.append(self.action_tokenizer.lookahead(plan).to(action_hidden.dtype))
        memory = torch.cat(parts, dim=1)
        if plan is not None and plan_mask is not None:
            mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
            mask[:, -plan.shape[1] :] = plan_mask[:, None]
        return memory, mask
