"""The drop-in: its text, the record in it, and how it gets to the disk and away."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.integration.conftest import ETC, Machine
from tests.unit.integration.situations import view

from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.files import CannotChange
from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form
from do_dcgm_exporter.integration.deciding.records import (
    Foreign,
    NotUnderstood,
    Record,
    Records,
    StoppedUnit,
    is_sealed,
    record_of,
    records_in,
    settings_of,
    sha256,
    text_for,
    text_of,
    with_record,
)
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.systemd import ExecCommand

UNIT = "a.service"
FOLDER = f"{ETC}/{UNIT}.d"
PATH = f"{FOLDER}/zz-do-dcgm-exporter.conf"
SCRATCH = f"{ETC}/.{UNIT}.d.do-dcgm-exporter"
RECORD = Record("localhost:5555", "s", "i", was_active=True, made_folder=True, proven=False)
TEXT = text_for(view(UNIT), ExporterCommand(Form.PROGRAM), RECORD)


def lines_of(text: str) -> list[str]:
    return [line for line in settings_of(text).splitlines() if line]


def test_a_program_is_told_by_its_environment() -> None:
    assert [
        "[Unit]",
        "After=nvidia-dcgm.service",
        "StartLimitIntervalSec=1h",
        "StartLimitBurst=30",
        "OnFailure=do-dcgm-exporter-integrate.service",
        "[Service]",
        "Restart=always",
        "RestartSec=10",
        "Environment=DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555",
    ] == lines_of(TEXT)
    assert f"ln -sf /dev/null /{PATH}" in TEXT


def test_an_ipv6_engine_keeps_its_brackets() -> None:
    record = replace(RECORD, engine="[::1]:5555")
    text = text_for(view(UNIT), ExporterCommand(Form.PROGRAM), record)
    assert 'Environment="DCGM_REMOTE_HOSTENGINE_INFO=[::1]:5555"' in lines_of(text)


def test_a_containers_command_gets_the_variable_before_all_else() -> None:
    argv = ("docker", "run", "-e", "A=%i ${B}", "image", "50% of $HOME")
    commands = (ExecCommand("/usr/bin/docker", argv, ("ignore-failure",)),)
    found = ExporterCommand(Form.CONTAINER)
    text = text_for(view(UNIT, commands=commands), found, RECORD)
    variable = "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555"
    own = '-e "A=%%i ${B}" image "50%% of $HOME"'
    assert [
        "ExecStart=",
        f"ExecStart=-@/usr/bin/docker docker run -e {variable} {own}",
    ] == lines_of(text)[-2:]


# --- the record --------------------------------------------------------------------------


PROVEN = with_record(TEXT, replace(RECORD, proven=True))


def test_the_record_is_read_back() -> None:
    assert is_sealed(TEXT)
    assert record_of(TEXT) == RECORD
    assert record_of(PROVEN) == replace(RECORD, proven=True)
    assert is_sealed(PROVEN)
    assert settings_of(TEXT) == settings_of(PROVEN)
    more = TEXT.replace('"format": 1', '"format": 1, "colour": "red"')
    assert record_of(more) == RECORD


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text + "\n",
        lambda text: text.replace("5555", "5556"),
        lambda text: text.replace('"made_folder": true', '"made_folder": false'),
        lambda text: text.replace("# Written", "# written"),
        lambda _: "",
    ],
)
def test_an_edited_one_is_known(machine: Machine, edit: Callable[[str], str]) -> None:
    assert edit(TEXT) != TEXT
    assert not is_sealed(edit(TEXT))
    machine.write(PATH, edit(TEXT))
    assert Foreign.EDITED is known(machine).foreign[UNIT]


def test_a_copy_in_another_units_folder_is_the_admins(machine: Machine) -> None:
    machine.write(f"{ETC}/b.service.d/zz-do-dcgm-exporter.conf", TEXT)
    assert Foreign.EDITED is known(machine).foreign["b.service"]


def known(machine: Machine) -> Records:
    return records_in(look_at_our_files(machine.host))


def test_unknown_keys_are_ignored_and_newer_records_told(machine: Machine) -> None:
    place = f"var/lib/do-dcgm-exporter/stopped/{UNIT}"
    stopped = StoppedUnit(was_active=False, links=(("/a", "b"),))
    text = text_of(stopped)
    machine.write(place, text.replace('"format": 1', '"format": 1, "colour": "red"'))
    assert {UNIT: stopped} == known(machine).stopped
    for damaged in (text.replace('"format": 1', '"format": 2'), "", "[]", "{}", '{"format": 1,'):
        machine.write(place, damaged)
        records = known(machine)
        assert not records.stopped
        (sentence,) = records.complaints
        assert sentence.startswith(f"/{place} cannot be understood (")
    with pytest.raises(NotUnderstood, match="newer version"):
        record_of(TEXT.replace('"format": 1', '"format": 2'))


def test_a_drop_in_of_a_newer_version_is_left_alone(machine: Machine) -> None:
    header, _, rest = TEXT.partition("# Record: ")
    line, _, settings = rest.replace('"format": 1', '"format": 2').split("\n", 2)
    header += f"# Record: {line}\n"
    seal = f"# sha256 of all other lines: {sha256(header + settings)}\n"
    machine.write(PATH, header + seal + settings)
    assert Foreign.NEWER is known(machine).foreign[UNIT]


@pytest.mark.parametrize(
    ("target", "owner"), [("/dev/null", Foreign.FORBIDDEN), ("nowhere", Foreign.EDITED)]
)
def test_links_are_the_admins(machine: Machine, target: str, owner: Foreign) -> None:
    machine.link(PATH, target)
    assert owner is known(machine).foreign[UNIT]


def test_a_directory_in_its_place_is_the_admins(machine: Machine) -> None:
    (machine.root / PATH).mkdir(parents=True)
    assert Foreign.EDITED is known(machine).foreign[UNIT]


# --- to the disk and away ----------------------------------------------------------------


def test_a_folder_appears_with_its_drop_in_and_goes_with_it(machine: Machine) -> None:
    before = machine.files()
    files.install(machine.host, UNIT, TEXT)
    assert TEXT == machine.read(PATH)
    files.withdraw(machine.host, UNIT, TEXT)
    assert not machine.exists(PATH)
    assert known(machine).ours[UNIT].withdrawn
    files.remove(machine.host, UNIT, True)
    assert before == machine.files()


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_folder_with_somebody_elses_file_stays(machine: Machine, with_folder: bool) -> None:
    machine.write(f"{FOLDER}/mine.conf", "")
    before = machine.files()
    files.install(machine.host, UNIT, TEXT)
    files.withdraw(machine.host, UNIT, TEXT)
    files.remove(machine.host, UNIT, with_folder)
    assert before == machine.files()


def test_an_empty_folder_of_somebodys_stays(machine: Machine) -> None:
    (machine.root / FOLDER).mkdir()
    files.install(machine.host, UNIT, TEXT)
    files.withdraw(machine.host, UNIT, TEXT)
    files.remove(machine.host, UNIT, False)
    assert machine.files()[FOLDER] == "directory"


def test_one_that_was_edited_a_moment_ago_stays(machine: Machine) -> None:
    files.install(machine.host, UNIT, TEXT)
    machine.write(PATH, TEXT + "# mine")
    with pytest.raises(CannotChange, match="has just been edited: it is yours and stays"):
        files.withdraw(machine.host, UNIT, TEXT)
    assert TEXT + "# mine" == machine.read(PATH)


def test_one_that_was_written_since_it_was_withdrawn_stays(machine: Machine) -> None:
    files.install(machine.host, UNIT, TEXT)
    files.withdraw(machine.host, UNIT, TEXT)
    machine.write(PATH, "# mine")
    files.remove(machine.host, UNIT, True)
    assert [PATH] == [path for path in machine.files() if path.startswith(f"{FOLDER}/")]


def test_what_was_on_its_way_is_swept(machine: Machine) -> None:
    before = machine.files()
    for text in (TEXT, TEXT[:-9]):
        machine.write(SCRATCH, text)
        files.sweep(machine.host)
        assert before == machine.files()


def test_the_folder_of_what_was_on_its_way_goes_if_we_made_it(machine: Machine) -> None:
    before = machine.files()
    (machine.root / FOLDER).mkdir()
    machine.write(SCRATCH, TEXT)
    files.sweep(machine.host)
    assert before == machine.files()


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, made_folder=False)])
def test_a_folder_that_is_somebodys_stays(machine: Machine, record: Record) -> None:
    machine.write(f"{FOLDER}/mine.conf", "mine")
    if not record.made_folder:
        machine.remove(f"{FOLDER}/mine.conf")
    before = machine.files()
    machine.write(SCRATCH, text_for(view(UNIT), ExporterCommand(Form.PROGRAM), record))
    files.sweep(machine.host)
    assert before == machine.files()


@pytest.mark.parametrize("what", ["file", "dangling link", "link to a folder"])
def test_what_is_no_folder_is_told_in_a_sentence_and_stays(machine: Machine, what: str) -> None:
    if what == "file":
        machine.write(FOLDER, "mine")
    else:
        machine.link(FOLDER, "nowhere" if what == "dangling link" else "multi-user.target.wants")
    before = machine.files()
    with pytest.raises(CannotChange, match=rf"^{UNIT}: /{FOLDER} is not a folder"):
        files.install(machine.host, UNIT, TEXT)
    assert before == machine.files()


def test_a_full_disk_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.files()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        files.install(machine.host, UNIT, TEXT)
    assert before == machine.files()


def test_a_disk_too_full_to_rename_is_no_obstacle_to_undoing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.install(machine.host, UNIT, TEXT)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(Path, "rename", full)
    files.withdraw(machine.host, UNIT, TEXT)
    files.remove(machine.host, UNIT, True)
    assert not machine.exists(FOLDER)


@pytest.fixture
def synced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What is synced to the disk, and what is under /etc and /var at that moment."""
    seen: list[tuple[str, list[str]]] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        seen.append((os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")), names(machine)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return seen


def names(machine: Machine) -> list[str]:
    return [path for path, text in machine.files().items() if text != "directory"]


def test_contents_are_on_the_disk_before_their_name(
    machine: Machine, synced: list[tuple[str, list[str]]]
) -> None:
    files.install(machine.host, UNIT, TEXT)
    ((contents, there),) = synced
    assert f".{UNIT}.d.do-dcgm-exporter" == contents
    assert PATH not in there
    assert PATH in names(machine)


def test_how_a_unit_was_enabled_is_on_the_disk_before_it_is_disabled(
    machine: Machine, synced: list[tuple[str, list[str]]]
) -> None:
    link, record = (
        f"{ETC}/multi-user.target.wants/{UNIT}",
        f"var/lib/do-dcgm-exporter/stopped/{UNIT}",
    )
    machine.link(link, "/x")
    stopped = StoppedUnit(was_active=True, links=((f"/{link}", "/x"),))
    files.disable(machine.host, UNIT, stopped)
    (contents, before), (directory, after) = synced
    assert (f"{UNIT}.new", "stopped") == (contents, directory)
    assert record not in before
    assert {record, link} <= set(after)
    assert record in names(machine)
    assert link not in names(machine)
