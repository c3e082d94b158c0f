# SPDX-License-Identifier: Apache-2.0
"""Seeds as they are typed: FIRST:COUNT."""

from __future__ import annotations

from physgen_control.errors import UserError


def seed_range(text: str) -> range:
    """Return the seeds that FIRST:COUNT names.

    Raises:
        UserError: it is something else.
    """
    first, _, count = text.partition(":")
    if not (first.isdigit() and count.isdigit() and int(count) > 0):
        raise UserError(f"--seeds is FIRST:COUNT, for example 1000:10, but it is {text!r}.")
    return range(int(first), int(first) + int(count))
