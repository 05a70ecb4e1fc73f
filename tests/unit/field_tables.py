"""What NVIDIA's headers and bindings say about fields, from the tables in tests/data."""

from __future__ import annotations

import csv

from tests.builders import DATA

# What 4.6 called field 203, a percentage, is the ratio of field 1613 in 4.7.
MEANT_TWO_FIELDS = "DCGM_FI_DEV_GPU_UTIL_RATIO"


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of a table, by column."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names_and_ids() -> set[tuple[str, int]]:
    """Return every name that any release ever had, with the id of its field there."""
    return {
        (name, int(row["id"]))
        for table in ("fields.csv", "fields-4.7.csv")
        for row in rows_of(table)
        for column, text in row.items()
        if column.startswith(("name", "other_names"))
        for name in text.split()
    }
