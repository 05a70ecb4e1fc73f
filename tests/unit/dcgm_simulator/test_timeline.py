"""A file of commands by time: what is wrong is one sentence, what is right happens then."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcgm_simulator.process import EngineFailed, SimulatedEngine
from dcgm_simulator.series import SECOND
from dcgm_simulator.timeline import BadTimeline, read_timeline


def timeline(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "timeline"
    path.write_text(text)
    return path


def test_events_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    path = timeline(
        tmp_path, "# a day\n\nat 2m restore-gpu 3\nat 1.5s xid --gpu 3 79  # first\nat 1h hang\n"
    )
    assert [(event.time, event.command, event.place) for event in read_timeline(path)] == [
        (3 * SECOND // 2, "xid", f"{path}, line 4"),
        (120 * SECOND, "restore-gpu", f"{path}, line 3"),
        (3600 * SECOND, "hang", f"{path}, line 5"),
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("lose-gpu 3", "is not 'at TIME COMMAND'"),
        ("at 60s", "is not 'at TIME COMMAND'"),
        ("at 60 lose-gpu 3", "is not 'at TIME COMMAND'"),
        ("at -1s lose-gpu 3", "is not 'at TIME COMMAND'"),
        ("at 60s gpu 3 lost", "invalid choice: 'gpu'"),
        ("at 60s lose-gpu three", "invalid int value: 'three'"),
        ("at 60s lose-gpu", "the following arguments are required: gpu"),
        ("at 60s lose-gpu 3 4", "unrecognized arguments: 4"),
        *(
            (
                f"at 60s {command} {seconds}",
                f"argument seconds: '{seconds}' is not a number of seconds from 0 to 1000000000",
            )
            for command in ("pass-time", "slow-call health_check")
            for seconds in ("nan", "inf", "1e10", "soon")
        ),
        ("at 60s pass-time -1", "'-1' is not a number of seconds from 0 to 1000000000"),
        ('at 60s set --entity "gpu:0 150 1', "No closing quotation"),
    ],
)
def test_a_wrong_line_is_one_sentence_with_file_and_line(
    tmp_path: Path, line: str, complaint: str
) -> None:
    path = timeline(tmp_path, f"at 1s hang\n{line}\n")
    with pytest.raises(BadTimeline) as caught:
        read_timeline(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTimeline, match="nowhere: No such file"):
        read_timeline(tmp_path / "nowhere")


def test_an_engine_does_not_start_with_a_wrong_timeline(tmp_path: Path) -> None:
    path = timeline(tmp_path, "at 1s explode\n")
    with pytest.raises(EngineFailed, match=f"^dcgm-simulator: {path}, line 1: "):
        SimulatedEngine.start("h100x1", timeline=path)


def test_commands_are_carried_out_when_their_time_has_come(tmp_path: Path) -> None:
    path = timeline(
        tmp_path,
        "at 30s lose-gpu 9\nat 60s set --entity gpu:0 230 blank\nat 90s skew 4.5.3\n",
    )
    with SimulatedEngine.start("h100x1", timeline=path, manual_clock=True) as engine:
        engine.control("pass-time", "59")
        assert engine.control("status")["dcgm_version"] == "4.6.0"
        # A command that cannot be carried out does not keep others from it.
        engine.control("pass-time", "31")
        assert engine.control("status")["dcgm_version"] == "4.5.3"
