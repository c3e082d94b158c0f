# SPDX-License-Identifier: Apache-2.0
"""The exception a set-up step raises when it knows what the user can do about the problem."""

from __future__ import annotations


class SetupError(Exception):
    """A step failed: `sentence` says what is wrong, `remedy` what to do about it."""

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.remedy = remedy
