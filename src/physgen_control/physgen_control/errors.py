# SPDX-License-Identifier: Apache-2.0
"""The one exception type whose text is written for the user."""


class UserError(ValueError):
    """Bad input from the user: the message is one sentence that says what was wrong, what is expected, what to do."""
