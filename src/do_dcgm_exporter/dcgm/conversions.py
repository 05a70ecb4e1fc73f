"""Quantities that DCGM has twice: under an old id, and under one of 4.6.1 or 4.7 in a base unit.

An engine that has one of the two gives both. ``conversions.csv`` beside this module says
that field ``id`` is field ``from`` times ``factor``. The pairs are those of NVIDIA's go-dcgm
for 4.7; the factors follow from how DCGM 4.6.0 computes the old field: NVLink's "MB/s" are
1000 KiB/s (DcgmCacheManager.cpp, ReadAndCacheNvLinkBandwidth), memory is in MiB. What NVML
means by the MB/s of 287 (C2C) is stated nowhere and taken as decimal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

from do_dcgm_exporter.dcgm.fields import Field, ValueType, field_by_id

_TABLE = Path(__file__).with_name("conversions.csv")


@dataclass(frozen=True, slots=True)
class Conversion:
    """How to compute ``field``: the value of ``source`` times ``factor``."""

    field: Field
    source: Field
    factor: Fraction

    def apply(self, value: int | float) -> int | float:
        """Convert ``value``, which is no sentinel; the result is the exact one, rounded once."""
        if isinstance(value, float):
            exact = Fraction(repr(value)) * self.factor
            numerator, denominator = exact.numerator, exact.denominator
        else:
            numerator, denominator = value * self.factor.numerator, self.factor.denominator
        if self.field.value_type is ValueType.INTEGER and numerator % denominator == 0:
            return numerator // denominator
        return numerator / denominator


def conversion_to(field_id: int) -> Conversion | None:
    """Return how to compute a field from the other id of its quantity, None if it has one id."""
    return _by_result().get(field_id)


def stand_ins(
    asked_for: Collection[int], unknown_of: Callable[[Collection[int]], Collection[int]]
) -> Mapping[int, int]:
    """Return which field to read instead of each one asked for that an engine lacks.

    ``unknown_of`` tells which of some fields the engine does not know.
    """
    found = filter(None, map(conversion_to, unknown_of(asked_for)))
    others = {conversion.field.id: conversion.source.id for conversion in found}
    missing = unknown_of(others.values())
    return {field_id: other for field_id, other in others.items() if other not in missing}


@cache
def _by_result() -> Mapping[int, Conversion]:
    _, *rows = _TABLE.read_text(encoding="ascii").splitlines()
    found = {}
    for row in rows:
        result, source, factor = row.split(",")
        new, old = _field(result), _field(source)
        found[new.id] = Conversion(new, old, Fraction(factor))
        found[old.id] = Conversion(old, new, 1 / Fraction(factor))
    return found


def _field(number: str) -> Field:
    field = field_by_id(int(number))
    assert field, f"fields.csv has no field {number}"
    return field
