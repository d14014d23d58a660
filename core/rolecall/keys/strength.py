"""How hard a secret is to guess, by its look."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Final

# Random hexadecimal digits and base64 have few such runs.
_WORD: Final = re.compile(r"[A-Za-z][a-z]{3,}")
_VOWELS: Final = frozenset("aeiouyAEIOUY")
#: Classes of characters, each with its size.
_ALPHABETS: Final = (("[0-9]", 10), ("[a-f]", 6), ("[g-z]", 20), ("[A-F]", 6), ("[G-Z]", 20), ("[^0-9A-Za-z]", 32))


def strength(secret: str) -> float:
    """About the most bits of entropy that a secret has, by its look: repetition, sequences, words, alphabet."""
    # The shortest beginning whose repetition is the secret.
    unit = secret[: (secret + secret).find(secret, 1)]
    steps = [ord(later) - ord(earlier) for earlier, later in pairwise(unit)]
    if steps and max(map(steps.count, set(steps))) > len(steps) / 2:
        return 2.0 * math.log2(len(unit) + 1)
    if _is_made_of_words(unit):
        return 2.0 * len(unit)  # a letter of English text; Shannon (1951) has 1 to 1.5
    alphabet = sum(size for pattern, size in _ALPHABETS if re.search(pattern, unit))
    return len(unit) * math.log2(max(alphabet, 2))


def _is_made_of_words(text: str) -> bool:
    words = "".join(_WORD.findall(text))
    return len(words) > 0.6 * len(text) and sum(letter in _VOWELS for letter in words) > 0.3 * len(words)
