"""Any bytes as a device selection: a selection, or one sentence."""

from __future__ import annotations

from do_dcgm_exporter.config.device_selection import parse_gpu_selection
from do_dcgm_exporter.config.settings import SelectionMode
from do_dcgm_exporter.errors import ConfigurationError


def fuzz(data: bytes) -> None:
    """Raise unless the text means devices, or is refused in a sentence."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        selection = parse_gpu_selection(text)
    except ConfigurationError as error:
        assert str(error), "refused without a word"
        assert "\n" not in str(error), repr(str(error))
        return
    assert selection.mode in SelectionMode
    if selection.indexes is not None:
        assert selection.indexes, "selects nothing"
        assert all(0 <= index <= 4095 for index in selection.indexes)
        again = f"{selection.mode.value}:{','.join(map(str, sorted(selection.indexes)))}"
        assert parse_gpu_selection(again) == selection
