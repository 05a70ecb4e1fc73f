#!/usr/bin/env python3
"""Condense recordings of real engines into the data files of the simulator.

Reads the recordings, the field table and the lists of what NVIDIA's bindings
define, writes `src/dcgm_simulator/data/`. Run it after a recording was added:

    tools/condense_recordings.py --shared ../shared --dcgm-repository DCGM.git

The repository is a clone of NVIDIA/DCGM; only the names, types and tags in its
field table are read. Files are sorted and end in a newline, so that a second
run changes nothing.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

VERSIONS = ("3.3.9", "4.2.3", "4.5.3", "4.6.0")
BINDINGS_MODULES = ("dcgm_structs", "dcgm_fields", "dcgmvalue", "dcgm_agent", "pydcgm")
DATA = Path(__file__).resolve().parent.parent / "src" / "dcgm_simulator" / "data"

ENTITY_LEVELS = {
    "NONE": 0, "GPU": 1, "VGPU": 2, "SWITCH": 3, "GPU_I": 4,
    "GPU_CI": 5, "LINK": 6, "CPU": 7, "CPU_CORE": 8, "CONNECTX": 9,
}  # fmt: skip
TYPES = {"STRING": "s", "INT64": "i", "DOUBLE": "d", "BINARY": "b", "TIMESTAMP": "t"}
UNITS = {
    "TEMP_C": " C", "POW_W": " W", "MILLIJOULES": " mJ",
    "BW_KBPS": "KB/s", "BW_MBPS": "MB/s", "BW_MbPS": "Mb/s",
}  # fmt: skip
GPU_UTILIZATION = 203
PARTS = ("thermalSettings", "powerLimits", "identifiers", "memoryUsage")
"""Those of a GPU's attributes that are played."""
OF_THE_MACHINE = frozenset({230, 526})
"""Says nothing about the engine: an XID was made in between, and the fabric differs."""

FIELD_PATTERN = re.compile(
    r"PopulateOneFieldWithFormatting\(\s*(?P<name>\w+),\s*DCGM_FT_(?P<type>\w+),\s*[^,]+,"
    r'\s*"(?P<tag>[^"]*)",\s*DCGM_F[SE]_(?P<scope>\w+),\s*(?P<nvml>[^,]+),'
    r'\s*"(?P<short>[^"]*)",'
    r'\s*(?:"(?P<text>[^"]*)"|(?:\(char \*\))?\w+\(DCGM_FIELD_UNIT_(?P<unit>\w+)\)),'
    r"\s*DCGM_FE_(?P<level>\w+),"
)
COMMENT_PATTERN = re.compile(r"/\*.*?\*/", re.DOTALL)
DEFINE_PATTERN = re.compile(r"^#define\s+(DCGM_FI_\w+)\s+(\w+)", re.MULTILINE)

Row = list[Any]


def main() -> None:
    """Write every data file."""
    arguments = parse_arguments()
    repository = arguments.dcgm_repository
    levels = read_levels(arguments.shared / "facts" / "fields.csv")
    write_rows("fields.json", condense_fields(repository, levels))
    write_rows("constants.json", condense_constants(arguments.shared / "facts" / "bindings"))
    recordings = arguments.shared / "recordings"
    for version in VERSIONS:
        whole, cut, recut = (
            load_recording(recordings / f"dcgm-{version}-{machine}.json.gz")
            for machine in ("h100x8", "h100x8-mig", "h100x8-recut")
        )
        machine = condense_machine(whole, cut)
        correct(machine["answers"], recut)
        write_json(f"h100-{version}.json", machine)
    for version in ("4.2.3", "4.6.0"):
        a100 = load_recording(recordings / f"dcgm-{version}-a100x2.json.gz")
        write_json(f"a100-{version}.json", condense_machine(a100, None))


def parse_arguments() -> argparse.Namespace:
    """Return where the sources are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shared", type=Path, required=True, help="directory with facts, recordings"
    )
    parser.add_argument("--dcgm-repository", type=Path, required=True, help="clone of NVIDIA/DCGM")
    return parser.parse_args()


# --- the field table ---------------------------------------------------------------------


def read_levels(path: Path) -> dict[int, dict[str, str]]:
    """Return the rows of fields.csv by id."""
    with path.open() as stream:
        return {int(row["id"]): row for row in csv.DictReader(stream)}


def condense_fields(repository: Path, levels: dict[int, dict[str, str]]) -> dict[str, Row]:
    """Return field id → the history of its definition, one row per version that changed it."""
    tables = [read_field_table(repository, version, levels) for version in VERSIONS]
    identifiers = sorted(set().union(*tables))
    return {str(field): history([table.get(field) for table in tables]) for field in identifiers}


def read_field_table(
    repository: Path, version: str, levels: dict[int, dict[str, str]]
) -> dict[int, Row]:
    """Return field id → name, type, scope, level, tag, short name, unit in a version."""
    header = show(repository, version, "dcgmlib/dcgm_fields.h")
    header += show(repository, version, "dcgmlib/dcgm_fields_internal.hpp")
    source = show(repository, version, "dcgmlib/src/dcgm_fields.cpp")
    names = dict(DEFINE_PATTERN.findall(header))
    table: dict[int, Row] = {}
    for match in FIELD_PATTERN.finditer(COMMENT_PATTERN.sub("", source)):
        table[resolve(names, match["name"])] = [
            match["name"],
            TYPES[match["type"]],
            int(match["scope"] != "GLOBAL"),
            ENTITY_LEVELS[match["level"]],
            match["tag"],
            match["short"],
            match["text"] if match["unit"] is None else UNITS[match["unit"]],
        ]
    return looped_fields(names, version, levels) | table


def looped_fields(
    names: dict[str, str], version: str, levels: dict[int, dict[str, str]]
) -> dict[int, Row]:
    """Return the PROF fields, which the source partly defines in loops the pattern cannot see."""
    column = "entity_level_3.3.9" if version == "3.3.9" else "entity_level"
    table: dict[int, Row] = {}
    for name, text in names.items():
        if name.startswith("DCGM_FI_PROF_") and text.isdigit() and int(text) in levels:
            known = levels[int(text)]
            level = ENTITY_LEVELS[known[column] or known["entity_level"]]
            tag = name.removeprefix("DCGM_FI_PROF_").lower()
            table[int(text)] = [name, known["type"], 1, level, tag, tag[:9].upper(), known["unit"]]
    return table


def resolve(names: dict[str, str], name: str) -> int:
    """Return the number behind a macro, through other macros if need be."""
    value = names[name]
    return int(value) if value.isdigit() else resolve(names, value)


def show(repository: Path, version: str, path: str) -> str:
    """Return a file of a release."""
    command = ["git", "-C", str(repository), "show", f"v{version}:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def history(values: Iterable[Any]) -> Row:
    """Return [version index, value] wherever the value differs from the version before."""
    rows: Row = []
    previous: Any = None
    for index, value in enumerate(values):
        if value != previous:
            rows.append([index, value])
        previous = value
    return rows


def condense_constants(directory: Path) -> dict[str, dict[str, Row]]:
    """Return module → name → history, for every plain constant the bindings define."""
    apis = [json.loads((directory / f"api-{version}.json").read_text()) for version in VERSIONS]
    modules: dict[str, dict[str, Row]] = {}
    for module in BINDINGS_MODULES:
        names = sorted({name for api in apis for name in api[module]})
        constants = {
            name: history([api[module].get(name, {}).get("value") for api in apis])
            for name in names
            if not name.startswith("_") and is_constant(name)
        }
        modules[module] = {name: rows for name, rows in constants.items() if rows}
    return modules


def is_constant(name: str) -> bool:
    """Return whether a name is DCGM's, not one of Python's that it imports."""
    return name.startswith(("DCGM_", "DCGM", "c_dcgm", "dcgm", "Dcgm")) or name.isupper()


# --- recordings --------------------------------------------------------------------------


def load_recording(path: Path) -> dict[str, Any]:
    """Return a recording."""
    with gzip.open(path, "rt") as stream:
        recording: dict[str, Any] = json.load(stream)
    return recording


def condense_machine(whole: dict[str, Any], cut: dict[str, Any] | None) -> dict[str, Any]:
    """Return attributes, topology and per class of entity the answer to every field."""
    machine = {
        "attributes": [
            {part: content for part, content in whole["attributes"][gpu].items() if part in PARTS}
            for gpu in sorted(whole["attributes"], key=int)
        ],
        "nvlink": [
            gpu["linkState"]
            for gpu in whole["nvlink_status"]["gpus"][: whole["nvlink_status"]["numGpus"]]
        ],
        "profiling": whole["prof_metric_groups"]["0"],
        "answers": {"gpu": condense_class(whole, 1, None)},
    }
    if cut is None:
        return machine
    in_mig = {entry["parent"]["entityId"] for entry in cut["gpu_instance_hierarchy"]
              if entry["parent"]["entityGroupId"] == 1}  # fmt: skip
    machine["hierarchy"] = cut["gpu_instance_hierarchy"]
    machine["answers"]["gpu_mig"] = condense_class(cut, 1, in_mig)
    machine["answers"]["gpu_i"] = condense_class(cut, 4, None)
    machine["answers"]["gpu_ci"] = condense_class(cut, 5, None)
    return machine


def correct(answers: dict[str, dict[str, Row]], recut: dict[str, Any]) -> None:
    """Replace answers of MIG that are of another kind on DCGM's production path.

    All releases but 4.6.0 were recorded with GPUs injected inside DCGM, which have no profiling
    on compute instances and on 3.3.9 no NvLinks when they are cut.
    """
    steps = [step for step in recut["steps"] if "cut anew" not in step["what"]][:2]
    recording = {"cycles": [{"time_us": s["time_us"], "values": s["values"] + s["prof"]}
                            for s in steps]}  # fmt: skip
    in_mig = {gpu for group, gpu in (row["parent"] for row in steps[0]["hierarchy"]) if group == 1}
    for name, group, only in (("gpu_mig", 1, in_mig), ("gpu_i", 4, None), ("gpu_ci", 5, None)):
        for field, row in condense_class(recording, group, only).items():
            known = answers[name][field]
            if int(field) not in OF_THE_MACHINE and kind_of(row) != kind_of(known):
                answers[name][field] = row


def kind_of(row: Row) -> str:
    """Return what an answer is: its status, the sentinel it is, a value, or not always the same."""
    if len(row) == 2:
        return f"status {row[1]}"
    if row[2] == "constant" and is_blank(row[3]):
        return str(row[3])
    return "mixed" if row[2] == "mixed" else "value"


def condense_class(recording: dict[str, Any], group: int, only: set[int] | None) -> dict[str, Row]:
    """Return field id → [type, status, shape, …] of one class of entities."""
    samples: dict[int, list[Row]] = defaultdict(list)
    utilization: dict[tuple[int, int], float] = {}
    start = recording["cycles"][0]["time_us"]
    for index, cycle in enumerate(recording["cycles"]):
        for entity_group, entity, field, kind, status, _, value in cycle["values"]:
            if entity_group != group or (only is not None and entity not in only):
                continue
            if value is None and not status:
                continue  # a blob
            seconds = (cycle["time_us"] - start) / 1e6
            samples[field].append([index, seconds, entity, kind, status, value])
            if field == GPU_UTILIZATION and isinstance(value, int) and value <= 100:
                utilization[index, entity] = value / 100
    return {str(field): shape(rows, utilization) for field, rows in sorted(samples.items())}


def shape(rows: list[Row], utilization: dict[tuple[int, int], float]) -> Row:
    """Describe how one field behaves over entities and time.

    constant: one value; identity: one value per entity; counter: start, growth per
    second; linear: offset and slope over GPU utilization; between: lowest, highest;
    mixed: a status per entity, and the value of those without (DCGM 3.3.9 under MIG).
    """
    statuses = {row[2]: row[4] for row in rows}
    kind, status = rows[-1][3], rows[-1][4]
    if len(set(statuses.values())) > 1:
        value = next(row[5] for row in rows if not row[4])
        return [kind, 0, "mixed", [status for _, status in sorted(statuses.items())], value]
    if status:
        return [kind, status]
    real = [row for row in rows if not is_blank(row[5])] or rows
    values = [row[5] for row in real]
    if len({json.dumps(value) for value in values}) == 1:
        return [kind, 0, "constant", values[0]]
    by_entity: dict[int, list[Any]] = defaultdict(list)
    for row in real:
        by_entity[row[2]].append(row[5])
    if all(len(set(series)) == 1 for series in by_entity.values()):
        return [kind, 0, "identity", [series[0] for _, series in sorted(by_entity.items())]]
    if kind == "i" and min(values) > 10**6 and all(s == sorted(s) for s in by_entity.values()):
        return [kind, 0, "counter", min(values), round(growth(real, by_entity), 3)]
    return [kind, 0, *fit(real, utilization, values)]


def is_blank(value: Any) -> bool:
    """Return whether a value stands for none."""
    if isinstance(value, str):
        return value.startswith("<<<")
    return value >= 0x7FFFFFFFFFFFFFF0 if isinstance(value, int) else value >= 140737488355328.0


def growth(rows: list[Row], by_entity: dict[int, list[Any]]) -> float:
    """Return by how much a counter grows per second, on average."""
    seconds = max(row[1] for row in rows) - min(row[1] for row in rows)
    gained = [series[-1] - series[0] for series in by_entity.values()]
    return sum(gained) / len(gained) / (seconds or 1)


def fit(rows: list[Row], utilization: dict[tuple[int, int], float], values: list[Any]) -> Row:
    """Return a line over utilization where one explains the values, else their range."""
    points = [(utilization[row[0], row[2]], row[5]) for row in rows
              if (row[0], row[2]) in utilization]  # fmt: skip
    if len(points) >= 4:
        count = len(points)
        mean_x = sum(x for x, _ in points) / count
        mean_y = sum(y for _, y in points) / count
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        total = sum((y - mean_y) ** 2 for _, y in points)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / (spread or 1)
        if spread and slope**2 * spread / total > 0.6:
            return ["linear", rounded(mean_y - slope * mean_x), rounded(slope)]
    return ["between", min(values), max(values)]


def rounded(number: float) -> float:
    """Return a number with six digits, which is more than plausible needs."""
    return float(f"{number:.6g}")


# --- writing -----------------------------------------------------------------------------


def write_rows(name: str, table: dict[str, Any]) -> None:
    """Write a table with one entry per line, so that changes read well."""
    (DATA / name).write_text(lines(table) + "\n")


def write_json(name: str, machine: dict[str, Any]) -> None:
    """Write the data of a machine."""
    (DATA / name).write_text(lines(machine) + "\n")


def lines(value: Any, depth: int = 0) -> str:
    """Return JSON with one line per entry of the upper levels."""
    if not isinstance(value, dict) or depth == 3:
        return json.dumps(value, separators=(",", ":"))
    body = ",\n".join(f"{json.dumps(key)}:{lines(item, depth + 1)}" for key, item in value.items())
    return "{\n" + body + "\n}"


if __name__ == "__main__":
    main()
