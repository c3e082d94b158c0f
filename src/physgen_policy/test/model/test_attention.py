# SPDX-License-Identifier: Apache-2.0
"""Attention gives the same numbers and gradients by whichever of its ways it is computed."""

import pytest
import torch
import torch.nn.functional as F

from physgen_policy.model.attention import attend

BATCH, HEADS, ROWS, WIDTH = 2, 3, 20, 16


def inputs(dtype: torch.dtype, keys: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (ROWS, keys, keys)
    return [
        torch.randn(BATCH, HEADS, size, WIDTH, generator=generator).to(dtype).requires_grad_()
        for size in sizes
    ]


def masks(keys: int) -> dict[str, torch.Tensor | None]:
    visible = torch.rand(BATCH, 1, 1, keys, generator=torch.Generator().manual_seed(1)) < 0.6
    visible[..., 0] = True
    causal = torch.ones(ROWS, keys, dtype=torch.bool).tril(keys - ROWS)
    return {"none": None, "rows": causal, "per sequence": visible}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("name", ["none", "rows", "per sequence"])
@pytest.mark.parametrize("keys", [ROWS, ROWS + 5])
def test_matrix_products_equal_the_fused_kernel(dtype, tolerance, name, keys):
    """Outputs and gradients of q, k and v; training of few scores takes the products, this size among them."""
    mask = masks(keys)[name]
    ours, reference = inputs(dtype, keys), [x.detach().float().requires_grad_() for x in inputs(dtype, keys)]
    q, k, v = reference
    out = attend(ours[0], ours[1], ours[2], mask)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(out.float(), expected, atol=tolerance, rtol=tolerance)
    out.float().square().sum().backward()
    expected.square().sum().backward()
    for x, y in zip(ours, reference, strict=True):
        assert x.grad is not None and y.grad is not None
        torch.testing.assert_close(x.grad.float(), y.grad, atol=4 * tolerance, rtol=4 * tolerance)


def test_hidden_keys_change_nothing():
    """Not a bit, in the products as in the kernel."""
    q, k, v = inputs(torch.float32, ROWS)
    mask = torch.ones(ROWS, ROWS, dtype=torch.bool)
    mask[:, 7:] = False
    other = v.detach().clone()
    other[:, :, 7:] += 100
    assert torch.equal(attend(q, k, v, mask), attend(q, k, other.requires_grad_(), mask))
