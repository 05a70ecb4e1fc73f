"""Guess which name a misspelt one was meant to be, and never one of another quantity.

CORRECTABLE and UNCORRECTABLE, IMMA and HMMA are as alike as a word and its misspelling. So a
word that field names have is taken to be meant, but for its number and its vowels (TMP for
TEMP); only another one can be a mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from functools import cache

from do_dcgm_exporter.dcgm.fields import all_fields

_WITHOUT_VOWELS = str.maketrans("", "", "AEIOU")
_ALIKE = 0.75
_LONGEST_NAME = 100


def similar_name(name: str, more_names: Iterable[str] = ()) -> str:
    """Return the name of a field, or of ``more_names``, that ``name`` misspells; else empty."""
    written = name[:_LONGEST_NAME].upper()
    if not written.startswith("DCGM_"):
        return ""
    names = [*more_names, *(spelling for field in all_fields() for spelling in field.names)]
    words = written.split("_")
    candidates = [known for known in names if _misspells(words, known.upper().split("_"))]
    return max(candidates, key=lambda known: _likeness(written, known.upper()), default="")


def _misspells(words: Collection[str], known: Collection[str]) -> bool:
    if "".join(words) == "".join(known):
        return True
    return len(words) == len(known) and all(map(_may_mean, words, known))


def _may_mean(word: str, known: str) -> bool:
    if word == known:
        return True
    if any(map(str.isdigit, word + known)):
        return False  # L1 is no misspelling of L0, nor FP16 of FP64
    is_meant = word in _vocabulary() and _skeleton(word) != _skeleton(known)
    return not is_meant and _likeness(word, known) > _ALIKE


def _skeleton(word: str) -> str:
    return word.removesuffix("S").translate(_WITHOUT_VOWELS)


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


@cache
def _vocabulary() -> frozenset[str]:
    names = (name.upper() for field in all_fields() for name in field.names)
    return frozenset(word for name in names for word in name.split("_"))
