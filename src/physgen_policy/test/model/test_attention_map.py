# SPDX-License-Identifier: Apache-2.0
"""Where the action tokens look: shares of their attention that are those of the network itself."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from physgen_policy.model.attention_map import action_attention


@pytest.mark.parametrize("rope", ["none", "rope_t"])
def test_the_map_is_the_attention_of_the_last_action_slots(build_model: Any, rope: str) -> None:
    """As torch's own attention gives it when every key's value is a number of its own."""
    _, model, windows = build_model(rope=rope)
    text = model.text_tokens(windows.text_states, windows.text_lengths)
    latents = windows.latents[:, :-1]
    given = (text, latents, windows.past_actions, windows.boa)
    before = model.full(*given)
    shares = action_attention(model, *given)
    after = model.full(*given)
    assert torch.equal(before.action_hidden, after.action_hidden)  # nothing stays hooked

    nova, slots = model.config.nova, model.config.action.horizon
    assert shares.shape == (*latents.shape[:2], *nova.video_grid)
    seen: list[torch.Tensor] = []

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ones = torch.eye(k.shape[-2]).expand(*k.shape[:-1], k.shape[-2])
        weights = F.scaled_dot_product_attention(q, k, ones, attn_mask=mask)
        seen.append(weights[:, :, -slots:].mean(dim=(1, 2)))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("physgen_policy.model.transformer.attend", attend)
        with torch.no_grad():
            model.full(*given)
    whole = torch.stack(seen).mean(dim=0)
    torch.testing.assert_close(whole.sum(dim=1), torch.ones(len(whole)))
    packs = whole[:, text.shape[1] :].unflatten(1, (latents.shape[1], nova.frame_tokens + slots))
    expected = packs[:, :, : nova.frame_tokens].unflatten(2, nova.video_grid)
    torch.testing.assert_close(shares, expected)
    assert 0.0 < float(shares.sum(dim=(1, 2, 3)).max()) < 1.0
