"""A counters CSV is read generously, and every line gets a verdict."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import DATA
from tests.unit.field_tables import rows_of

from do_dcgm_exporter.config.counters import (
    Counter,
    CounterSet,
    CounterType,
    Special,
    Verdict,
    parse_counters,
    read_counter_set,
)
from do_dcgm_exporter.dcgm.conversions import conversion_to
from do_dcgm_exporter.dcgm.fields import all_fields
from do_dcgm_exporter.errors import ConfigurationError

FUZZ = settings(deadline=None)
PATH = Path("some.csv")
ROOT = Path(__file__).resolve().parents[2]
ETC = ROOT / "etc" / "do-dcgm-exporter"


def parse_one(content: str | bytes) -> Counter:
    """Parse a CSV that holds one good line."""
    parsed = parse_counters(content, PATH)
    assert [judgement.verdict for judgement in parsed.judgements] == [Verdict.OK], parsed
    return parsed.counters[0]


def verdicts(parsed: CounterSet) -> list[tuple[int, Verdict]]:
    return [(judgement.line, judgement.verdict) for judgement in parsed.judgements]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("DCGM_FI_DEV_GPU_TEMP,gauge,Some help.", id="bare"),
        pytest.param("DCGM_FI_DEV_GPU_TEMP, gauge, Some help.", id="spaces"),
        pytest.param("\tDCGM_FI_DEV_GPU_TEMP\t,\tgauge\t,\tSome help.\t", id="tabs"),
        pytest.param('"DCGM_FI_DEV_GPU_TEMP","gauge","Some help."', id="quotes"),
        pytest.param(' "DCGM_FI_DEV_GPU_TEMP" , "gauge" , "Some help." ', id="spaced quotes"),
        pytest.param("DCGM_FI_DEV_GPU_TEMP, GAUGE, Some help.", id="type in upper case"),
        pytest.param("dcgm_fi_dev_gpu_temp, Gauge, Some help.", id="name in lower case"),
        pytest.param("150, gauge, Some help.", id="id"),
        pytest.param("\ufeffDCGM_FI_DEV_GPU_TEMP, gauge, Some help.", id="byte order mark"),
        pytest.param("DCGM_FI_DEV_GPU_TEMP, gauge, Some help.\r\n", id="line end of Windows"),
        pytest.param("# a comment\n \t# one more\n\n  \n150, gauge, Some help.", id="comments"),
    ],
)
def test_a_line_may_be_written_in_many_ways(line: str) -> None:
    counter = parse_one(line)
    assert (counter.name, counter.type, counter.help) == (
        "DCGM_FI_DEV_GPU_TEMP",
        CounterType.GAUGE,
        "Some help.",
    )


@pytest.mark.parametrize(
    ("written", "help_text"),
    [
        pytest.param("temperature, in C, now", "temperature, in C, now", id="commas"),
        pytest.param('say "hello"', 'say "hello"', id="quotes within"),
        pytest.param('"a ""quoted"" word"', 'a "quoted" word', id="doubled quotes"),
        pytest.param('"one", "two"', '"one", "two"', id="more after a quoted column"),
        pytest.param("", "", id="none"),
        pytest.param(r"C:\new", r"C:\new", id="backslash"),
        pytest.param("in °C", "in °C", id="beyond ASCII"),
        pytest.param("a\vb\u2028c\u0085d", "a b c d", id="line ends of some programs"),
    ],
)
def test_the_rest_of_the_line_is_the_help(written: str, help_text: str) -> None:
    assert parse_one(f"DCGM_FI_DEV_GPU_TEMP, gauge, {written}").help == help_text


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        pytest.param("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_USAGE", id="3.x"),
        pytest.param("DCGM_FI_DEV_BOARD_POWER_WATTS", "DCGM_FI_DEV_BOARD_POWER_WATTS", id="4.6"),
        pytest.param("dcgm_fi_dev_board_power_watts", "DCGM_FI_DEV_BOARD_POWER_WATTS", id="lower"),
        pytest.param("DCGM_POWER_USAGE", "dcgm_power_usage", id="oldest, in upper case"),
        pytest.param("155", "DCGM_FI_DEV_POWER_USAGE", id="id"),
    ],
)
def test_the_metric_has_the_name_that_was_written_in_its_proper_case(
    written: str, printed: str
) -> None:
    counter = parse_one(f"{written}, gauge, x")
    assert counter.name == printed
    assert counter.field is not None
    assert counter.field.id == 155


@pytest.mark.parametrize("special", Special)
def test_the_exporters_own_families_are_counters_too(special: Special) -> None:
    counter = parse_one(f"{special.value.lower()}, gauge, x")
    assert (counter.name, counter.special, counter.field) == (special.value, special, None)


@pytest.mark.parametrize(
    ("written", "type_"),
    [
        ("gauge", CounterType.GAUGE),
        ("counter", CounterType.COUNTER),
        ("label", CounterType.LABEL),
        ("untyped", CounterType.UNTYPED),
        ("histogram", CounterType.UNTYPED),
        ("summary", CounterType.UNTYPED),
    ],
)
def test_a_number_is_never_a_histogram_or_summary(written: str, type_: CounterType) -> None:
    assert parse_one(f"DCGM_FI_DEV_GPU_TEMP, {written}, x").type is type_


@pytest.mark.parametrize("number", [230, 449, 856, 857])
def test_rates_and_error_numbers_are_gauges_whatever_the_file_says(number: int) -> None:
    assert parse_one(f"{number}, counter, x").type is CounterType.GAUGE
    assert parse_one(f"{number}, label, x").type is CounterType.LABEL


@pytest.mark.parametrize(
    ("line", "verdict", "message"),
    [
        pytest.param("hello world", Verdict.MALFORMED, "three columns", id="prose"),
        pytest.param("DCGM_FI_DEV_SM_CLOCK, gauge", Verdict.MALFORMED, "three col", id="no help"),
        pytest.param(", gauge, x", Verdict.MALFORMED, "names no field", id="no name"),
        pytest.param('"DCGM_FI_DEV_SM_CLOCK, gauge, x', Verdict.MALFORMED, "quotes", id="quote"),
        pytest.param('100, gauge, "x', Verdict.MALFORMED, "help text", id="quote in help"),
        pytest.param("100, gouge, x", Verdict.MALFORMED, "'gouge' is not one of gauge", id="type"),
        pytest.param("100, , x", Verdict.MALFORMED, "'' is not one of gauge", id="no type"),
        pytest.param(b"100, gauge, \xff", Verdict.MALFORMED, "byte 13", id="not UTF-8"),
        pytest.param("100, gauge, \ud800", Verdict.MALFORMED, "UTF-8", id="surrogate"),
        pytest.param("100, gauge, \0", Verdict.MALFORMED, "NUL", id="NUL"),
        pytest.param("100, gauge, " + 9999 * "x", Verdict.MALFORMED, "longer", id="long line"),
        pytest.param("DCGM_FI_DEV_GPU_TMP, gauge, x", Verdict.UNKNOWN, "GPU_TEMP?", id="typo"),
        pytest.param("node_load1, gauge, x", Verdict.UNKNOWN, "no DCGM field", id="other name"),
        pytest.param("7777, gauge, x", Verdict.UNKNOWN, "no DCGM field", id="unused id"),
        pytest.param("53, gauge, x", Verdict.UNSUPPORTED, "use type label", id="text"),
        pytest.param("75, gauge, x", Verdict.UNSUPPORTED, "binary", id="blob"),
        pytest.param("75, label, x", Verdict.UNSUPPORTED, "binary", id="blob as label"),
        pytest.param("210, gauge, x", Verdict.UNSUPPORTED, "internal", id="internal"),
        pytest.param("1300, gauge, x", Verdict.UNSUPPORTED, "ConnectX", id="ConnectX"),
        pytest.param(
            "DCGM_EXP_P2P_STATUS, label, x", Verdict.UNSUPPORTED, "label", id="own family as label"
        ),
    ],
)
def test_a_bad_line_is_judged_and_the_next_one_works(
    line: str | bytes, verdict: Verdict, message: str
) -> None:
    raw = line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass")
    parsed = parse_counters(raw + b"\nDCGM_FI_DEV_GPU_TEMP, gauge, x", PATH)
    assert verdicts(parsed) == [(1, verdict), (2, Verdict.OK)]
    assert message in parsed.judgements[0].message
    assert [counter.line for counter in parsed.counters] == [2]


def test_a_judgement_reads_as_file_line_verdict_name_and_reason() -> None:
    parsed = parse_counters("# x\nDCGM_FI_DEV_SERIAL, gauge, x", PATH)
    assert str(parsed.judgements[0]) == (
        "some.csv:2: unsupported DCGM_FI_DEV_SERIAL:"
        " field 53 holds a text, not a number: use type label"
    )


def test_a_judgement_shows_no_control_characters_of_the_file() -> None:
    parsed = parse_counters("\x1b[2J, gauge, x", PATH)
    assert str(parsed.judgements[0]).startswith("some.csv:1: unknown '\\x1b[2J': no DCGM field")


@pytest.mark.parametrize("second", ["DCGM_FI_DEV_GPU_TEMP", "dcgm_fi_dev_gpu_temp", "150"])
def test_the_first_of_two_lines_for_a_name_stands(second: str) -> None:
    parsed = parse_counters(f"DCGM_FI_DEV_GPU_TEMP, gauge, first\n{second}, gauge, x", PATH)
    assert [counter.help for counter in parsed.counters] == ["first"]
    assert parsed.judgements[1].verdict is Verdict.DUPLICATE
    assert "already defined at some.csv:1" in parsed.judgements[1].message


def test_two_names_of_a_field_are_two_families_and_the_second_line_says_so() -> None:
    parsed = parse_counters(
        "DCGM_FI_DEV_GPU_TEMP, gauge, old\nDCGM_FI_DEV_GPU_TEMP_CELSIUS, gauge, new", PATH
    )
    assert [(counter.name, counter.help) for counter in parsed.counters] == [
        ("DCGM_FI_DEV_GPU_TEMP", "old"),
        ("DCGM_FI_DEV_GPU_TEMP_CELSIUS", "new"),
    ]
    assert parsed.judgements[1].message == (
        "gauge of field 150 (GPU);"
        " the page has it as DCGM_FI_DEV_GPU_TEMP (some.csv:1) as well, which doubles its series"
    )


@pytest.mark.parametrize(
    "line",
    [
        "DCGM_FI_DEV_GPU_TEMP, gpu_temperature, Temperature of the GPU",
        "DCGM_FI_DEV_GPU_TEMP, gpu_temperature, gauge",
        "DCGM_FI_DEV_GPU_TEMP, temperature, gauge, Temperature of the GPU",
        "DCGM_FI_DEV_GPU_TEMP, my_gpu_temp_celsius, Gauge , x",
    ],
)
def test_who_wants_to_rename_a_metric_is_told_that_nobody_can(line: str) -> None:
    (judgement,) = parse_counters(line, PATH).judgements
    assert judgement.verdict is Verdict.MALFORMED
    assert "metrics cannot be renamed" in judgement.message


def test_a_percentage_of_other_exporters_is_a_ratio_here_and_the_line_says_so() -> None:
    parsed = parse_counters("DCGM_FI_DEV_GPU_UTIL_RATIO, gauge, x\n203, gauge, x", PATH)
    ratio, percentage = parsed.counters
    assert ratio.field
    assert percentage.field
    assert (ratio.field.id, ratio.field.unit) == (1613, "ratio")
    assert (percentage.name, percentage.field.unit) == ("DCGM_FI_DEV_GPU_UTIL", "%")
    assert "4.8.3 and 4.8.4 have percent" in parsed.judgements[0].message


RATES = (
    *(200, 201, *range(440, 450), *range(475, 481), *range(494, 497), *range(825, 844)),
    *(*range(879, 898), *range(1009, 1013), *range(1040, 1080), *range(1529, 1534)),
    *range(1629, 1649),
)


def test_rates_are_gauges_whatever_the_file_says_and_the_line_says_so() -> None:
    assert {field.id for field in all_fields() if field.is_rate} == {*RATES, 287}
    lines = "\n".join(f"{number}, counter, x" for number in RATES)
    parsed = parse_counters(lines, PATH)
    assert {counter.type for counter in parsed.counters} == {CounterType.GAUGE}
    assert all("not counter: a rate per second" in j.message for j in parsed.judgements)


@pytest.mark.parametrize("number", [1091, 1092, 1201, 1203, 156, 1611, 1617])
def test_what_only_grows_may_be_a_counter(number: int) -> None:
    assert parse_one(f"{number}, counter, x").type is CounterType.COUNTER


def test_a_line_that_was_rejected_takes_no_name() -> None:
    parsed = parse_counters("53, gauge, x\n53, label, x", PATH)
    assert verdicts(parsed) == [(1, Verdict.UNSUPPORTED), (2, Verdict.OK)]


def test_the_users_file_cannot_redefine_a_default_counter(tmp_path: Path) -> None:
    default, own = tmp_path / "default.csv", tmp_path / "own.csv"
    default.write_text("DCGM_EXP_XID_ERRORS_COUNT, gauge, first\n150, gauge, x\n")
    own.write_text("100, gauge, x\ndcgm_exp_xid_errors_count, counter, second\n")
    both = read_counter_set(default, [own])
    assert [counter.name for counter in both.counters] == [
        "DCGM_EXP_XID_ERRORS_COUNT",
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_SM_CLOCK",
    ]
    duplicate = both.judgements[-1]
    assert (duplicate.path, duplicate.line, duplicate.verdict) == (own, 2, Verdict.DUPLICATE)
    assert f"{default}:1" in duplicate.message
    assert both.tally() == {Verdict.OK: 3, Verdict.DUPLICATE: 1}


@pytest.mark.parametrize("name", ["missing.csv", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the counters file"):
        read_counter_set(tmp_path / name, [])


def test_a_file_that_is_no_counters_file_at_all_is_not_loaded_into_memory() -> None:
    with pytest.raises(ConfigurationError, match="larger than 1 MiB"):
        read_counter_set(Path("/dev/zero"), [])


@FUZZ
@given(st.one_of(st.binary(), st.text(), st.text(alphabet='DCGM_150,gauge"# \t\r\n\0é')))
def test_any_content_gives_a_verdict_for_every_line_that_says_something(
    content: bytes | str,
) -> None:
    parsed = parse_counters(content, PATH)
    assert len(parsed.counters) == parsed.tally()[Verdict.OK]
    lines = [judgement.line for judgement in parsed.judgements]
    assert lines == sorted(set(lines))


@FUZZ
@given(
    st.text(
        alphabet=st.characters(
            blacklist_characters="\r\n\0\v\f\x1c\x1d\x1e\x85\u2028\u2029",
            blacklist_categories=["Cs"],
        )
    )
)
def test_a_quoted_help_text_comes_out_as_it_went_in(help_text: str) -> None:
    quoted = help_text.replace('"', '""')
    assert parse_one(f'150, gauge, "{quoted}"').help == help_text


# What ships in /etc.


def shipped_default() -> CounterSet:
    return read_counter_set(ETC / "default-counters.csv", [])


def test_every_shipped_default_line_is_ok() -> None:
    assert set(shipped_default().tally()) == {Verdict.OK}


def test_the_set_of_4_9_is_the_default_set_under_other_names() -> None:
    other = read_counter_set(ETC / "counters-4.9.csv", [])
    assert set(other.tally()) == {Verdict.OK}
    assert len(other.counters) == len(shipped_default().counters)
    for old, new in zip(shipped_default().counters, other.counters, strict=True):
        assert (old.special, old.type) == (new.special, new.type)
        if old.field is None or new.field is None:
            assert old == replace(new, path=old.path, line=old.line)
            continue
        conversion = conversion_to(old.field.id)
        assert new.field is (conversion.source if conversion else old.field)
        assert new.name == newest_names()[new.field.id]


def newest_names() -> dict[int, str]:
    """What each field is called in 4.7."""
    names = {}
    for table, column in (("fields.csv", "name_4.6.0"), ("fields-4.7.csv", "name_4.7")):
        names |= {int(row["id"]): row[column] for row in rows_of(table)}
    return names


@pytest.mark.parametrize("number", range(26))
def test_the_set_of_4_9_has_all_that_dcgm_exporter_4_9_has(number: int) -> None:
    row = rows_of("exporter-4.9.csv")[number]
    ours = {c.name: c for c in read_counter_set(ETC / "counters-4.9.csv", []).counters}
    assert ours[row["metric_4.9"]].type.value == row["type"]


def test_the_default_set_is_the_union_of_the_exporters_it_replaces() -> None:
    ids = {counter.field.id for counter in shipped_default().counters if counter.field}
    assert ids == {
        *(1, 4, 66, 100, 101, 112, 140, 150, *range(155, 161), 164, 190, 191, 202),
        *(170, 171, 173, 174, 175, 392, 396),
        *(203, 204, 206, 207, 230, *range(240, 246), *range(250, 255), *range(310, 314)),
        *(390, 391, 393, 394, 395, 409, 419, 429, 439, 449, 526, *range(856, 863), 870),
        *range(1001, 1013),
    }
    assert {counter.special for counter in shipped_default().counters if counter.special} == {
        Special.XID_ERRORS_COUNT,
        Special.CLOCK_EVENTS_COUNT,
        Special.XID_ERRORS_TOTAL,
        Special.CLOCK_EVENTS_TOTAL,
        Special.XID_LAST_TIMESTAMP_SECONDS,
    }


def test_the_default_set_has_the_names_dashboards_know_the_right_way_round() -> None:
    fields = [counter for counter in shipped_default().counters if counter.field]
    assert all(counter.field and counter.name == counter.field.name for counter in fields)
    names = {counter.field.id: counter.name for counter in fields if counter.field}
    assert [names[number] for number in (190, 191, 240, 241)] == [
        "DCGM_FI_DEV_PSTATE",
        "DCGM_FI_DEV_FAN_SPEED",
        "DCGM_FI_DEV_POWER_VIOLATION",
        "DCGM_FI_DEV_THERMAL_VIOLATION",
    ]


def test_the_default_set_has_every_family_of_the_go_exporter_in_words_of_its_own() -> None:
    page = (DATA / "go-exporter-page.prom").read_text(encoding="utf-8")
    theirs = dict(re.findall("(?m)^# HELP (\\S+) sha256:(.*)$", page))
    ours = {counter.name: counter.help for counter in shipped_default().counters}
    assert len(theirs) > 40
    assert theirs.keys() <= ours.keys()
    hashed = {name: sha256(ours[name].encode()).hexdigest() for name in theirs}
    assert not [name for name, digest in theirs.items() if hashed[name] == digest]


def test_violations_are_said_to_be_nanoseconds() -> None:
    violations = [c for c in shipped_default().counters if c.name.endswith("_VIOLATION")]
    assert len(violations) == 6
    assert all(c.help.endswith("in ns.") for c in violations)


def test_the_shipped_file_of_the_user_changes_nothing() -> None:
    assert parse_counters((ETC / "collectors.csv").read_bytes(), PATH) == CounterSet()


def test_every_line_of_the_catalogue_works_when_its_comment_sign_goes() -> None:
    text = (ETC / "collectors.csv").read_text(encoding="utf-8")
    switched_on = re.sub("(?m)^#(?=DCGM_)", "", text)
    catalogue = parse_counters(switched_on, PATH, shipped_default().counters)
    assert set(catalogue.tally()) == {Verdict.OK}
    assert len(catalogue.counters) > 100
    assert {Special.GPU_HEALTH_STATUS, Special.FABRIC_HEALTH_STATUS, Special.P2P_STATUS} == {
        counter.special for counter in catalogue.counters if counter.special
    }


def test_a_named_pipe_is_no_counters_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match="named pipe"):
        read_counter_set(pipe, ())
