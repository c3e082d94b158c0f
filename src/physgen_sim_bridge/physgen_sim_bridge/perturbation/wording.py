# SPDX-License-Identifier: Apache-2.0
"""Says an instruction in other words, from a text file of frames, verbs and nouns."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

_PLACE_WORDS = re.compile(r" (?=(?:to|on|in|into|at|under|inside|of) (?:the|top|it)\b)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paraphrases:
    """The text file: sentences around an instruction by level, and other words for verbs and nouns."""

    frames: Mapping[str, Sequence[str]]
    verbs: Mapping[str, Sequence[str]]
    nouns: Mapping[str, Sequence[str]]

    @classmethod
    def parse(cls, text: str) -> Paraphrases:
        """Read the file's text."""
        return cls(**tomllib.loads(text))

    def reword(self, instruction: str, level: int, number: int) -> str:
        """The instruction in other words; the same arguments give the same sentence. Level 0 changes nothing."""
        sentence = instruction
        if level >= 2:
            words = {**self.verbs, **(self.nouns if level >= 3 else {})}
            sentence = _replaced(sentence, words, number)
        if level >= 5:
            sentence = _reordered(sentence, {word for choices in self.verbs.values() for word in choices})
        frames = self.frames.get(str(level), ())
        return frames[number % len(frames)].format(sentence) if frames else sentence


def _replaced(sentence: str, words: Mapping[str, Sequence[str]], number: int) -> str:
    """Replace every known phrase, the longest first; the n-th one takes the (number + n)-th of its words."""
    pattern = "|".join(re.escape(phrase) for phrase in sorted(words, key=len, reverse=True))
    chosen: dict[str, str] = {}

    def other(found: re.Match[str]) -> str:
        # What is named twice is named alike both times.
        choices = words[found[1]]
        return chosen.setdefault(found[1], choices[(number + len(chosen)) % len(choices)])

    return re.sub(rf"\b({pattern})\b", other, sentence)


def _reordered(sentence: str, verbs: Collection[str]) -> str:
    """What is done last comes first: `place it on the plate after you take the bowl`, `on the mark, put the block`."""
    halves = re.search(rf"^(.*) and ((?:{'|'.join(map(re.escape, sorted(verbs)))})\b.*)$", sentence)
    if halves:
        return f"{halves[2]} after you {halves[1]}"
    parts = _PLACE_WORDS.split(sentence, maxsplit=1)
    return f"{parts[1]}, {parts[0]}" if len(parts) == 2 else sentence


def changed_words(before: str, after: str) -> int:
    """Words that must be put in, left out or replaced to get from one sentence to the other (Levenshtein distance)."""
    old, new = before.split(), after.split()
    row = list(range(len(new) + 1))
    for i, word in enumerate(old, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(new, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]
