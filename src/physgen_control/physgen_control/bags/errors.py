# SPDX-License-Identifier: Apache-2.0
"""Errors of bags: one sentence each."""

from physgen_control.errors import UserError


class BagError(UserError):
    """A bag cannot be written, read or repaired."""
