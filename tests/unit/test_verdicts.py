"""Every name that a field ever had gets, on every release, the verdict that is true there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import DATA, Bench, settings
from tests.unit.field_tables import MEANT_TWO_FIELDS, names_and_ids, rows_of

from dcgm_simulator import ALL_VERSIONS, bindings_directory
from do_dcgm_exporter.commands.engine_check import engine_findings
from do_dcgm_exporter.commands.one_shot import OneShot, read_once
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.counters import CounterSet, Verdict, parse_counters
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.conversions import conversion_to, stand_ins
from do_dcgm_exporter.dcgm.fields import EntityLevel, Field, ValueType, field_by_id
from do_dcgm_exporter.page.exposition import render

StartBench = Callable[..., Bench]
RECORDED = ("3.1.8", "3.3.9", "4.0.0", "4.2.3", "4.5.3", "4.6.0")
NOT_HERE = {
    EntityLevel.SWITCH: "this host has no NvSwitch",
    EntityLevel.LINK: "this host has no NvSwitch link",
    EntityLevel.CPU: "this host has no CPU",
    EntityLevel.CPU_CORE: "this host has no CPU core",
}


@cache
def public_names() -> dict[str, int]:
    """The names in NVIDIA's headers and bindings, old and new, with the field each is of."""
    found = names_and_ids()
    names = dict(found - {(MEANT_TWO_FIELDS, 203)})
    assert len(names) == len(found) - 1
    return names


@cache
def known_to(release: str) -> frozenset[int]:
    """The ids that NVIDIA's bindings and headers up to a release have; none was ever dropped."""
    if release == "4.7.0":
        return known_to("4.6.0") | {int(row["id"]) for row in rows_of("fields-4.7.csv")}
    up_to = RECORDED[: RECORDED.index(release) + 1]
    in_bindings = {
        constant["value"]
        for version in up_to
        for name, constant in defined_by(version).items()
        if re.match(r"DCGM_FI_(?!MAX_FIELDS)", name) and isinstance(constant.get("value"), int)
    }
    headers = {f"name_{version}" for version in up_to}
    in_headers = {
        int(row["id"]) for row in rows_of("fields.csv") if any(map(row.get, headers & row.keys()))
    }
    return frozenset(in_bindings | in_headers) - {0}


def defined_by(version: str) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, dict[str, Any]]] = json.loads(
        (DATA / "bindings" / f"{version}.json").read_text()
    )
    return content["dcgm_fields"]


def every_line() -> CounterSet:
    """A line for every name, with the type that the field can have."""

    def kind(field: Field | None) -> str:
        return "label" if field and field.value_type is ValueType.STRING else "gauge"

    lines = (f"{name}, {kind(field_by_id(number))}, x" for name, number in public_names().items())
    return parse_counters("\n".join(lines), Path("every.csv"))


def test_a_line_is_refused_only_for_what_the_field_is() -> None:
    judgements = every_line().judgements
    assert len(judgements) > 1000
    for judgement in judgements:
        field = field_by_id(public_names()[judgement.name])
        assert field
        unsuited = (
            field.internal_only
            or field.value_type is ValueType.BLOB
            or field.level is EntityLevel.CONNECTX
        )
        expected = Verdict.UNSUPPORTED if unsuited else Verdict.OK
        assert judgement.verdict is expected, str(judgement)


def pair_of(field_id: int) -> int | None:
    conversion = conversion_to(field_id)
    return conversion.source.id if conversion else None


@pytest.mark.parametrize("release", [*RECORDED, "4.7.0"])
def test_what_a_release_lacks_is_computed_wherever_it_has_the_quantity(release: str) -> None:
    def unknown_of(field_ids: Collection[int]) -> set[int]:
        return set(field_ids) - known_to(release)

    asked = set(public_names().values())
    assert stand_ins(tuple(asked), unknown_of) == {
        number: pair
        for number in asked - known_to(release)
        if (pair := pair_of(number)) in known_to(release)
    }


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[OneShot]:
    """What the command found; it waits for no profiling values."""
    found: list[OneShot] = []

    def once(*arguments: Any, **keywords: Any) -> OneShot:
        found.append(read_once(*arguments, **keywords))
        return found[-1]

    monkeypatch.setattr("do_dcgm_exporter.commands.engine_check.read_once", once)
    monkeypatch.setattr("do_dcgm_exporter.commands.one_shot._LONGEST_WARM_UP", 0.0)
    return found


@pytest.mark.parametrize("release", ALL_VERSIONS)
def test_every_name_has_the_verdict_that_is_true(
    bench: StartBench,
    looked_at: list[OneShot],
    monkeypatch: pytest.MonkeyPatch,
    release: str,
) -> None:
    started, counters = bench("h100x1", release), every_line()
    monkeypatch.setattr(
        "do_dcgm_exporter.commands.one_shot.load_bindings", lambda _directory: started.bindings
    )
    address = parse_engine_address(started.engine.address)
    chosen = settings(engine=address, dcgm_bindings=bindings_directory())
    findings = engine_findings(Configuration(chosen, counters))
    known = known_to(release)
    for counter in counters.counters:
        assert counter.field
        number = counter.field.id
        assert number == public_names()[counter.name]
        computed, reason = (
            findings.computed.get(counter.name),
            findings.unsupported.get(counter.name),
        )
        pair = None if number in known else pair_of(number)
        if number not in known and pair not in known:
            assert (computed, reason) == (None, f"DCGM {release} does not know this field")
            continue
        assert reason != f"DCGM {release} does not know this field", counter.name
        how = "" if number in known else f"DCGM {release} lacks it: computed from field {pair} ("
        assert (computed or "").startswith(how)
        assert bool(computed) == bool(how), counter.name
        if counter.field.level in NOT_HERE:
            assert reason == NOT_HERE[counter.field.level]

    (found,) = looked_at
    page = render(found.result.snapshot.families).text.decode()
    families = [family.name for family in parse_text(page)]
    assert len(families) == len(set(families)) > 300
    assert page.count("\n# TYPE ") == len(families)
