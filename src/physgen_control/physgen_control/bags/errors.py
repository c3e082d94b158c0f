# SPDX-License-Identifier: Apache-2.0
"""The error of everything that reads or writes bags."""

from physgen_control.errors import UserError


class BagError(UserError):
    """A bag cannot be written, read or repaired; the message is one sentence."""
