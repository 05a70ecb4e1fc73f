"""The text of --once: what the labels of a sample say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.collect.sample_text import label_block
from do_dcgm_exporter.collect.samples import Sample
from do_dcgm_exporter.commands.once_text import _labels, _subject

NAMES = st.from_regex("[a-zA-Z_][a-zA-Z0-9_]*", fullmatch=True)


@given(st.dictionaries(NAMES, st.text()))
def test_labels_are_read_as_they_were_rendered(labels: Mapping[str, str]) -> None:
    assert labels == _labels(label_block(tuple(labels.items())))


@pytest.mark.parametrize(
    ("labels", "subject"),
    [
        ({}, ""),
        ({"gpu": "3", "GPU_I_ID": "7", "Hostname": "a"}, "GPU 3 instance 7"),
        ({"nvlink": "2", "nvswitch": "nvswitch1"}, "NvSwitch 1 link 2"),
        (
            {"gpu": "3", "GPU_I_ID": "7", "GPU_CI_ID": "0"},
            "GPU 3 instance 7 compute instance 0",
        ),
        ({"connectx": "1", "health_watch": "x"}, "ConnectX adapter 1 health_watch=x"),
        ({"gpu": "0", "clock_event": "gpu_idle"}, "GPU 0 clock_event=gpu_idle"),
        ({"reason": 'a "b"\n'}, 'reason=a "b"?'),
    ],
)
def test_a_sample_is_named_by_its_device_and_the_familys_labels(
    labels: Mapping[str, str], subject: str
) -> None:
    hidden = {"Hostname", "gpu", "GPU_I_ID", "GPU_CI_ID", "connectx", "nvlink", "nvswitch"}
    assert subject == _subject(Sample(label_block(tuple(labels.items())), "1"), hidden)
