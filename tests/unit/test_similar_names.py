"""A misspelt name is recognised; the name of another quantity is never suggested."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.config.similar_names import similar_name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("DCGM_FI_DEV_GPU_TMP", "DCGM_FI_DEV_GPU_TEMP"),
        ("dcgm_fi_dev_gpu_utill", "DCGM_FI_DEV_GPU_UTIL"),
        ("DCGM_FI_DEV_GPUTEMP", "DCGM_FI_DEV_GPU_TEMP"),
        ("DCGM_FI_DEV_UNCORECTABLE_REMAPPED_ROWS", "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"),
        ("DCGM_EXP_XID_ERROR_COUNT", "DCGM_EXP_XID_ERRORS_COUNT"),
    ],
)
def test_a_misspelt_name_is_recognised(written: str, meant: str) -> None:
    assert similar_name(written, ["DCGM_EXP_XID_ERRORS_COUNT"]) == meant


@pytest.mark.parametrize(
    "written",
    [
        "DCGM_FI_DEV_BOARD_POWER",
        "DCGM_FI_DEV_BOARD_POWER_UTIL_CURRENT",  # 1133 is the module's
        "DCGM_FI_DEV_NVLINK_MAX_BANDWIDTH",  # 287 is C2C's
        "DCGM_FI_DEV_NVLINK_LINK_COUNT",
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_L18",
        "DCGM_FI_DEV_ECC_TBE_VOL_TOTAL",
        "DCGM_FI_PROF_PIPE_FP8_ACTIVE",
        "DCGM_FI_DEV_MEM_TEMP",
        "node_load1",
        "DCGM_",
    ],
)
def test_the_name_of_another_quantity_is_not_suggested(written: str) -> None:
    assert similar_name(written) == ""
