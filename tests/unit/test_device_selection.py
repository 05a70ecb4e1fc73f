"""Devices are selected with the letters and indexes of NVIDIA's exporter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from do_dcgm_exporter.config.device_selection import parse_device_selection, parse_gpu_selection
from do_dcgm_exporter.config.settings import DeviceSelection, SelectionMode
from do_dcgm_exporter.errors import ConfigurationError

FUZZ = settings(deadline=None)


@pytest.mark.parametrize(
    ("text", "mode", "indexes"),
    [
        ("f", SelectionMode.FLEX, None),
        ("g", SelectionMode.WHOLE, None),
        ("i", SelectionMode.PARTS, None),
        ("g+i", SelectionMode.BOTH, None),
        ("g:0", SelectionMode.WHOLE, {0}),
        ("g:0,1", SelectionMode.WHOLE, {0, 1}),
        ("g:0-3", SelectionMode.WHOLE, {0, 1, 2, 3}),
        ("i:0,2-4", SelectionMode.PARTS, {0, 2, 3, 4}),
        ("i: 7 , 2-2, 7", SelectionMode.PARTS, {2, 7}),
    ],
)
def test_a_selection_has_a_mode_and_perhaps_indexes(
    text: str, mode: SelectionMode, indexes: set[int] | None
) -> None:
    expected = DeviceSelection(mode, None if indexes is None else frozenset(indexes))
    assert parse_device_selection(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "does not select devices"),
        ("x", "write f, g, i or g\\+i"),
        ("G", "does not select devices"),
        ("f:0", "f takes no indexes"),
        ("g+i:0", "g\\+i takes no indexes"),
        ("g:", "indexes are missing"),
        ("g:0,", "'' is neither an index nor a range"),
        ("g:a", "'a' is neither"),
        ("g:-1", "'-1' is neither"),
        ("g:1-2-3", "'1-2-3' is neither"),
        ("g:0:1", "'0:1' is neither"),
        ("g:3-1", "runs backwards; write 1-3"),
        ("g:0-99999999", "index 99999999 is too high"),
        ("g:²", "'²' is neither"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_write(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_device_selection(text)


@pytest.mark.parametrize("text", ["c", "i+c", "g+i+c", "c:0"])
def test_only_gpus_have_compute_instances(text: str) -> None:
    mode, _, index = text.partition(":")
    indexes = frozenset({0}) if index else None
    assert parse_gpu_selection(text) == DeviceSelection(SelectionMode(mode), indexes)
    with pytest.raises(ConfigurationError, match=r"write f, g, i or g\+i, or g: or i: with"):
        parse_device_selection(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("c+i", r"write f, g, i, g\+i, c, i\+c or g\+i\+c, or g:, i: or c: with indexes"),
        ("i+c:0", r"i\+c takes no indexes; only g, i and c do"),
    ],
)
def test_what_gpus_may_be_selected_by_is_said(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_gpu_selection(text)


@FUZZ
@given(st.one_of(st.text(), st.text(alphabet="fgic+:,-0123456789 ")))
def test_any_text_is_a_selection_or_a_configuration_error(text: str) -> None:
    try:
        selection = parse_gpu_selection(text)
    except ConfigurationError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(selection, DeviceSelection)


@FUZZ
@given(st.sets(st.integers(0, 4095), min_size=1), st.sampled_from("gi"))
def test_a_list_of_indexes_comes_back(indexes: set[int], letter: str) -> None:
    selection = parse_device_selection(f"{letter}:{','.join(map(str, indexes))}")
    assert selection.indexes == indexes
