"""``--list-fields`` prints what is needed to write a counters file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from do_dcgm_exporter.commands.list_fields import list_fields
from do_dcgm_exporter.dcgm.fields import all_fields
from do_dcgm_exporter.errors import ExporterError

FUZZ = settings(deadline=None)


def names(pattern: str) -> list[str]:
    return [line.split()[1] for line in list_fields(pattern).splitlines()[1:]]


def test_a_field_is_one_aligned_line() -> None:
    assert list_fields("dcgm_power_usage") == (
        "ID   NAME                     TYPE    ENTITY  UNIT  OTHER NAMES\n"
        "155  DCGM_FI_DEV_POWER_USAGE  double  GPU     W     "
        "DCGM_FI_DEV_BOARD_POWER_WATTS dcgm_power_usage\n"
    )


def test_an_empty_pattern_lists_all_fields_and_the_exporters_own_families() -> None:
    listed = names("")
    assert listed[: len(all_fields())] == [field.name for field in all_fields()]
    assert "DCGM_EXP_XID_ERRORS_COUNT" in listed


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        pytest.param("gpu_temp", "DCGM_FI_DEV_GPU_TEMP", id="part in any case"),
        pytest.param("GPU_TEMP_CELSIUS", "DCGM_FI_DEV_GPU_TEMP", id="part of another name"),
        pytest.param("150", "DCGM_FI_DEV_GPU_TEMP", id="id"),
        pytest.param("dcgm_fi_dev_gpu_tem?", "DCGM_FI_DEV_GPU_TEMP", id="glob"),
        pytest.param("p2p_status", "DCGM_EXP_P2P_STATUS", id="own family"),
        pytest.param("fabric_health_st", "DCGM_EXP_FABRIC_HEALTH_STATUS", id="not of GPUs"),
    ],
)
def test_a_pattern_finds_names_and_ids(pattern: str, name: str) -> None:
    assert name in names(pattern)


def test_a_glob_has_to_match_the_whole_name() -> None:
    assert all(name.startswith("DCGM_FI_PROF_NV") for name in names("dcgm_fi_prof_nv*"))
    with pytest.raises(ExporterError):
        list_fields("prof_nv*")


def test_nothing_found_is_an_error_with_status_1() -> None:
    with pytest.raises(ExporterError, match="no field has 'nonsense'") as caught:
        list_fields("nonsense")
    assert caught.value.exit_status == 1


@FUZZ
@given(st.one_of(st.text(max_size=20), st.text(alphabet="*?[]!-az_0", max_size=10)))
def test_any_pattern_gives_a_list_or_an_error(pattern: str) -> None:
    try:
        assert list_fields(pattern).endswith("\n")
    except ExporterError as error:
        assert str(error)
