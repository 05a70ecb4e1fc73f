"""What check prints, as text and as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from tests.unit.integration.situations import (
    CLEAN,
    REWRITE,
    UNIT,
    exporter,
    found,
    notes,
    problems,
    process,
)

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.integration.deciding.exporter import (
    Exporters,
    Mention,
    Role,
)
from do_dcgm_exporter.integration.deciding.problems import Situation
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.processes import Processes
from do_dcgm_exporter.integration.reporting import check_report

KEYS = {
    "": ["schema", "driver", "packages", "engine", "local_engine", "engine_unit", "engine_port",
         "own_port", "service", "health", "other_engines", "unseen",
         "engine_address", "policy", "embedded_processes", "exporters", "mentions", "problems",
         "notes"],
    "engine": ["condition", "reason", "client", "engine", "gpus", "profiling", "simulated"],
    "engine_unit": ["name", "load_state", "active_state", "file_state", "fragment"],
    "engine_port": ["is_taken", "holder", "unit"],
}  # fmt: skip
UNIT_KEYS = ["unit", "how", "engine", "library_major", "processes", "embedded", "drop_in",
             "stopped", "goal", "why"]  # fmt: skip
MENTION_KEYS = ["role", "name", "pids", "place", "lines"]
FULL = Situation(
    replace(CLEAN, processes=Processes((process(),)), unseen=("docker: no answer in time",)),
    Exporters(
        (exporter(process()),),
        (Mention(Role.USER_UNIT, "gpu.service of user 1000", (31,), "/home/x/gpu.service"),),
    ),
    decisions={UNIT: REWRITE},
)


def test_the_keys_of_the_json_are_a_promise() -> None:
    data = json.loads(check_report.as_json(FULL, problems(FULL), tuple(notes(FULL))))
    assert 2 == data["schema"]
    for name, keys in KEYS.items():
        assert keys == list(data[name] if name else data), name
    assert [UNIT_KEYS] == [list(one) for one in data["exporters"]]
    assert [MENTION_KEYS] == [list(one) for one in data["mentions"]]
    assert data == json.loads(json.dumps(data))
    assert {"id", "what", "remedy"} == set(data["problems"][0])
    assert {"pid", "command", "of"} == set(data["embedded_processes"][0])


def test_the_table_names_everything() -> None:
    text = check_report.as_text(FULL, problems(FULL), notes(FULL))
    for words in (
        "550.54.15", "datacenter-gpu-manager-4-core 1:4.5.3-1", "DCGM 4.5.3 with 8 GPUs",
        "nvidia-dcgm.service (pid 7)", f"{UNIT} (program), active, enabled: embedded DCGM",
        "gpu.service of user 1000 is a user's unit: embedded DCGM", "docker: no answer in time",
        "dcgm-exporter (pid 20), nvidia-dcgm-exporter.service", "2 problems",
        "       do-dcgm-exporter-integrate apply",
    ):  # fmt: skip
        assert words in text, words


def test_columns_are_as_wide_as_they_have_to_be() -> None:
    settings = IntegrationSettings(engine=EngineAddress(socket_path="/run/a/long/path/dcgm.sock"))
    lines = check_report.as_text(found(settings=settings), (), ()).splitlines()
    rows = lines[: lines.index("")]
    values = [re.split(" {2,}", row, maxsplit=1)[1] for row in rows]
    starts = {len(row) - len(value) for row, value in zip(rows, values, strict=True)}
    assert {len("unix:///run/a/long/path/dcgm.sock  ")} == starts


@pytest.mark.parametrize("choice", Choice)
def test_the_choice_is_told(choice: Choice) -> None:
    now = found(settings=IntegrationSettings(choice=choice))
    assert f"embedded-exporters = {choice.value}" in check_report.as_text(now, (), ())
