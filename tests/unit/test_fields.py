"""The field table knows every field by id and by every name it ever had."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.field_tables import MEANT_TWO_FIELDS, names_and_ids, rows_of

from do_dcgm_exporter.dcgm.fields import (
    EntityLevel,
    ValueType,
    all_fields,
    field_by_id,
    field_by_name,
)

FUZZ = settings(deadline=None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("DCGM_FI_DEV_GPU_TEMP", 150, id="name of 3.x"),
        pytest.param("DCGM_FI_DEV_GPU_TEMP_CELSIUS", 150, id="name of 4.6"),
        pytest.param("dcgm_fi_dev_gpu_temp", 150, id="lower case"),
        pytest.param("dcgm_gpu_temp", 150, id="name of the first exporters"),
        pytest.param("150", 150, id="id"),
        pytest.param("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 112, id="name of 4.0"),
        pytest.param("DCGM_FI_DEV_GPU_TEMP_TLIMIT", 153, id="name in the bindings alone"),
    ],
)
def test_a_field_is_found_by_any_spelling(text: str, number: int) -> None:
    field = field_by_name(text)
    assert field is not None
    assert field.id == number


@pytest.mark.parametrize("text", ["", "DCGM_FI_DEV_NOTHING", "0", "99999", "9" * 5000, "²", "1.5"])
def test_what_names_no_field_finds_nothing(text: str) -> None:
    assert field_by_name(text) is None


@FUZZ
@given(st.text())
def test_any_text_can_be_looked_up(text: str) -> None:
    field = field_by_name(text)
    assert field is None or field in all_fields()


def test_the_name_of_dcgm_3_is_preferred_and_else_the_oldest() -> None:
    assert [field_by_id(number).name for number in (112, 878, 1200, 1084)] == [
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
        "DCGM_FI_DEV_NVSWITCH_LINK_DEVICE_UUID",
        "DCGM_FI_DEV_NVLINK_COUNT_TX_PACKETS",
        "DCGM_FI_PROF_SM_CYCLES_ELAPSED_TOTAL",
    ]


def test_no_two_fields_share_an_id_or_a_spelling() -> None:
    ids = [field.id for field in all_fields()]
    spellings = [name.upper() for field in all_fields() for name in field.names]
    assert len(ids) == len(set(ids))
    assert len(spellings) == len(set(spellings))


def test_a_field_knows_its_type_level_and_scope() -> None:
    driver, power, dram = (field_by_id(number) for number in (1, 155, 1005))
    assert driver is not None
    assert power is not None
    assert dram is not None
    assert (driver.value_type, driver.level, driver.is_global) == (
        ValueType.STRING,
        EntityLevel.NONE,
        True,
    )
    assert (power.value_type, power.level, power.unit) == (ValueType.DOUBLE, EntityLevel.GPU, "W")
    assert (dram.level, dram.is_global) == (EntityLevel.GPU_I, False)


def test_profiling_fields_are_told_by_their_name_and_not_by_a_range_of_ids() -> None:
    profiling = {field.id for field in all_fields() if field.is_profiling}
    assert {1001, 1012, 1075, 1096, 1532, 1533} <= profiling
    assert not {999, 1100, 1110, 1531} & profiling


def test_only_four_fields_are_internal() -> None:
    assert [field.id for field in all_fields() if field.internal_only] == [210, 211, 220, 221]


def test_the_table_says_what_the_headers_of_dcgm_say() -> None:
    rows = rows_of("fields.csv")
    newer = {int(row["id"]) for row in rows_of("fields-4.7.csv")} - {int(r["id"]) for r in rows}
    older = [field for field in all_fields() if field.id not in newer]
    assert [field.id for field in older] == [int(row["id"]) for row in rows]
    for field, row in zip(older, rows, strict=True):
        versions = [row[f"name_{version}"] for version in ("3.3.9", "4.5.3", "4.6.0")]
        assert set(filter(None, versions)) - {MEANT_TWO_FIELDS} <= set(field.names)
        assert field.name == next(filter(None, versions))
        assert field.value_type.value == row["type"]
        assert field.level.value == row["entity_level"]
        assert field.is_global == (row["scope"] == "GLOBAL")
        assert field.internal_only == (row["internal_only"] == "1")
        # The header cuts units at the slash and writes # for those without one.
        assert row["unit"] in ("", "#") or field.unit.startswith(row["unit"])


def test_the_table_has_every_field_and_name_of_4_6_1_and_4_7() -> None:
    rows = rows_of("fields-4.7.csv")
    assert {364, *range(1600, 1651)} <= {int(row["id"]) for row in rows}
    for row in rows:
        field = field_by_id(int(row["id"]))
        assert field is not None
        names = {row["name_4.6.1"], row["name_4.7"]} - {""}
        if field.id == 203:
            names -= {MEANT_TWO_FIELDS}
        assert names <= set(field.names)
        assert (field.value_type.value, field.level.value) == (row["type"], row["entity_level"])


def test_no_name_of_any_release_resolves_to_the_field_of_another_quantity() -> None:
    """Whatever the release called a field so, it is that field, but for the one name."""
    spelled = names_and_ids()
    assert len(spelled) > 1000
    wrong = {
        (name, number)
        for name, number in spelled
        if (field := field_by_name(name)) is None or field.id != number
    }
    assert wrong == {(MEANT_TWO_FIELDS, 203)}
    ratio = field_by_name(MEANT_TWO_FIELDS)
    assert ratio is not None
    assert (ratio.id, ratio.unit) == (1613, "ratio")
