"""Finding units: cheaply on the disk, then as the manager sees them."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from tests.unit.integration.conftest import ETC, LIB, Machine

from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.deciding.records import StoppedUnit
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.our_files import links_of
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.programs import Kind, Programs, major_of_image
from do_dcgm_exporter.integration.looking.units import SeenUnit, look_at_units

PROGRAM = "/usr/bin/dcgm-exporter"


def seen_on(machine: Machine) -> tuple[SeenUnit, ...]:
    programs = Programs(machine.host)
    return look_at_units(machine.host, programs, scan(machine.host, 5555))[0]


def names_on(machine: Machine) -> set[str]:
    return {seen.view.name for seen in seen_on(machine)}


def unit(line: str) -> str:
    return f"[Unit]\nAfter=dcgm-exporter.service\n[Service]\n{line}\n"


def test_units_that_may_run_an_exporter_are_candidates(machine: Machine) -> None:
    machine.write(f"{LIB}/plain.service", unit(f"ExecStart={PROGRAM}"))
    machine.write(f"{LIB}/continued.service", unit(f"ExecStart=/usr/bin/env \\\n  {PROGRAM}"))
    machine.write(f"{LIB}/changed.service", unit("ExecStart=/bin/true"))
    machine.write(f"{ETC}/changed.service.d/x.conf", unit(f"ExecStart={PROGRAM}"))
    machine.write(f"{LIB}/wrapped.service", unit("ExecStart=/opt/outer"))
    machine.write("opt/outer", "#!/bin/sh\n/opt/inner\n")
    machine.write("opt/inner", "#!/bin/sh\n/opt/outer\nexec dcgm-exporter\n")
    machine.write(f"{LIB}/from-file.service", unit("EnvironmentFile=-/etc/default/x"))
    machine.write("etc/default/x", f"EXPORTER={PROGRAM}\n")
    machine.write("run/systemd/generator/made.service", unit(f"ExecStart={PROGRAM}"))
    machine.write(f"{LIB}/docker.service", unit("ExecStart=docker run nvidia/dcgm-exporter:4"))
    machine.write(f"{LIB}/gpu@.service", unit(f"ExecStart={PROGRAM}"))
    machine.link(f"{ETC}/masked.service", "/dev/null")
    machine.write(f"{LIB}/masked.service", unit(f"ExecStart={PROGRAM}"))

    machine.write(f"{LIB}/other.service", unit("ExecStart=/bin/true"))
    machine.write(f"{LIB}/commented.service", unit(f"#ExecStart={PROGRAM}"))
    machine.write(f"{LIB}/do-dcgm-exporter.service", unit(f"ExecStart={PROGRAM}"))
    machine.write(f"{LIB}/binary.service", unit("ExecStart=/opt/binary"))
    machine.write("opt/binary", f"\x7fELF\0 {PROGRAM}")
    machine.write(f"{LIB}/pre.service", unit(f"ExecStartPre={PROGRAM}\nExecStop={PROGRAM}"))
    machine.write(f"{LIB}/pipe.service", unit("EnvironmentFile=/opt/pipe"))
    Path(machine.root, "opt/pipe").touch()
    assert {
        "plain.service", "continued.service", "changed.service", "wrapped.service",
        "from-file.service", "made.service", "docker.service",
    } == names_on(machine)  # fmt: skip


def test_a_pipe_or_a_device_is_not_opened(machine: Machine) -> None:
    os.mkfifo(machine.root / "etc" / "pipe")
    machine.write(f"{LIB}/a.service", unit("ExecStart=/etc/pipe"))
    machine.write(f"{LIB}/b.service", unit("ExecStart=/dev/watchdog"))
    machine.write("dev/watchdog", "dcgm-exporter")
    assert set() == names_on(machine)


def test_instances_are_known_once_they_are_enabled_or_run(machine: Machine) -> None:
    machine.write(f"{LIB}/gpu@.service", unit(f"ExecStart={PROGRAM}"))
    machine.link(f"{ETC}/multi-user.target.wants/gpu@0.service", f"/{LIB}/gpu@.service")
    machine.systemctl("start", "gpu@1.service")
    assert {"gpu@0.service", "gpu@1.service"} == names_on(machine)


def test_what_only_the_manager_or_a_search_finds_is_a_candidate(machine: Machine) -> None:
    machine.write("usr/local/bin/metrics", "#!/bin/sh\nexec dcgm-exporter\n", 0o755)
    machine.write(f"{LIB}/bare.service", unit("ExecStart=-metrics --port 9400"))
    machine.write(f"{LIB}/quoted.service", unit('ExecStart="metrics"'))
    machine.write(f"{LIB}/escaped.service", unit(r"ExecStart=/opt/dcgm\x2dexporter"))
    machine.write(f"{LIB}/specifier.service", unit("ExecStart=/opt/%p/run"))
    machine.write(f"{LIB}/prefix-a.service", unit("ExecStart=/bin/true"))
    machine.write(f"{ETC}/prefix-.service.d/x.conf", unit(f"ExecStart={PROGRAM}"))
    machine.write(f"{LIB}/commented.service", unit(f"ExecStart=/bin/true \\\n# {PROGRAM}\n x"))
    machine.write(f"{LIB}/percent.service", unit("ExecStart=/bin/date +%%s"))
    assert {
        "bare.service", "quoted.service", "escaped.service", "specifier.service",
        "prefix-a.service",
    } == names_on(machine)  # fmt: skip


def test_drop_ins_for_all_services_count_for_each(machine: Machine) -> None:
    machine.write(f"{LIB}/a.service", unit("ExecStart=/bin/true"))
    machine.write(f"{ETC}/service.d/x.conf", unit(f"Environment=PROGRAM={PROGRAM}"))
    assert {"a.service"} == names_on(machine)


def test_a_file_whose_name_no_unit_can_have_is_none(machine: Machine) -> None:
    for name in ("Copy of exporter.service", "exporter-ä.service", "@.service", ".service"):
        machine.write(f"{ETC}/{name}", unit(f"ExecStart={PROGRAM}"))
    assert set() == names_on(machine)


def test_an_alias_is_not_another_exporter(machine: Machine) -> None:
    machine.put_unit("a.service", 9400)
    machine.link(f"{ETC}/b.service", f"/{LIB}/a.service")
    assert ["a.service"] == [seen.view.name for seen in seen_on(machine)]


def test_a_process_leads_to_a_unit_whose_files_do_not_tell(machine: Machine) -> None:
    machine.write(f"{LIB}/odd.service", "[Service]\nExecStart=/opt/launcher\n")
    machine.put_process(
        20, comm="dcgm-exporter\n", cmdline="dcgm-exporter\0", environ="",
        cgroup="0::/system.slice/odd.service\n", maps="7f r--p 0 0 0 /usr/lib/libdcgm.so.3.3.9\n",
    )  # fmt: skip
    (found,) = seen_on(machine)
    assert ("odd.service", 3) == (found.view.name, found.processes[0].library_major)


def test_ours_the_engines_and_the_snaps_units_are_none(machine: Machine) -> None:
    for name in ("do-dcgm-exporter", "nvidia-dcgm", "snap.dcgm.dcgm-exporter"):
        machine.put_unit(f"{name}.service", 9400)
    assert () == seen_on(machine)


@pytest.mark.parametrize("answer", ["no JSON", "{}", '{"data": [1]}', '{"data": []}'])
def test_a_manager_that_cannot_be_understood_is_an_error(machine: Machine, answer: str) -> None:
    machine.program("busctl", f"#!/bin/sh\necho '{answer}'\n")
    with pytest.raises(CommandFailed, match="cannot be understood"):
        systemd.view("a.service")


def test_a_unit_is_asked_for_by_its_path_on_the_bus(machine: Machine) -> None:
    systemd.view("7-gpu@x.service")
    (asked,) = machine.asked()
    assert "/org/freedesktop/systemd1/unit/_37_2dgpu_40x_2eservice" in asked
    assert asked == json.loads(json.dumps(asked))


# --- enablement --------------------------------------------------------------------------


def test_links_are_removed_and_put_back_as_they_were(machine: Machine) -> None:
    machine.put_unit("a.service", 9400)
    machine.link(f"{ETC}/gpu.target.requires/a.service", "../a.service")
    machine.link(f"{ETC}/alias.service", f"/{LIB}/a.service")
    machine.link(f"{ETC}/other.service", "/opt/other.service")
    machine.link(f"{ETC}/multi-user.target.wants/other.service", "/opt/other.service")
    before = machine.files()
    links = list(links_of(machine.host, "a.service"))
    assert 3 == len(links)
    stopped = StoppedUnit(was_active=True, links=tuple(links))
    files.disable(machine.host, "a.service", stopped)
    assert [] == list(links_of(machine.host, "a.service"))
    assert machine.exists(f"{ETC}/other.service")
    files.enable(machine.host, "a.service", stopped)
    files.enable(machine.host, "a.service", stopped)
    files.forget(machine.host, "a.service")
    assert before == machine.files()


def test_a_unit_file_that_is_linked_in_is_not_enabled_by_that(machine: Machine) -> None:
    machine.link(f"{ETC}/a.service", "/opt/a.service")
    machine.link(f"{ETC}/b.service", "/dev/null")
    assert [] == list(links_of(machine.host, "a.service"))
    assert [] == list(links_of(machine.host, "b.service"))


# --- what a file is ----------------------------------------------------------------------

NVIDIA = "path\tgithub.com/NVIDIA/dcgm-exporter/cmd/dcgm-exporter\nmod\tgithub.com/NVIDIA/x\n"


def go_program(text: str) -> bytes:
    """Return a small ELF file of Go: a header, the section .go.buildinfo, and the names."""
    names = b"\0.go.buildinfo\0.shstrtab\0"
    content = b"\xff Go buildinf:\x08\2" + text.encode()
    table = 64 + len(names) + len(content)
    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, table,
                                                     0, 64, 0, 0, 64, 3, 2)  # fmt: skip
    sections = [(0, 0, 0), (1, 64 + len(names), len(content)), (15, 64, len(names))]
    rows = [struct.pack("<IIQQQQ", name, 1, 0, 0, place, size).ljust(64, b"\0")
            for name, place, size in sections]  # fmt: skip
    return header + names + content + b"".join(rows)


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("/opt/metricsd", NVIDIA, Kind.EXPORTER),
        ("/opt/metricsd", "path\tgithub.com/lab/dcgm_exporter\n", Kind.EXPORTER),
        (
            "/opt/metricsd",
            "path\tcommand-line-arguments\nmod\tgithub.com/NVIDIA/dcgm-exporter\t(devel)\n",
            Kind.EXPORTER,
        ),
        # Those that depend on it, or are of the same module.
        (
            "/opt/dcgm-exporter",
            "path\tgithub.com/lab/agent\ndep\tgithub.com/NVIDIA/dcgm-exporter\tv1\n",
            Kind.OTHER,
        ),
        ("/opt/dcgm-exporter", "path\tgithub.com/digitalocean/do-dcgm-exporter\n", Kind.OTHER),
        ("/opt/probe", "path\tgithub.com/NVIDIA/dcgm-exporter/cmd/probe\n", Kind.OTHER),
        ("/opt/dcgm-exporter", "path\tgithub.com/lab/proxy\n", Kind.OTHER),
    ],
)
def test_a_program_of_go_tells_by_its_main_package(
    machine: Machine, path: str, text: str, kind: Kind
) -> None:
    machine.write(path, "")
    (machine.root / path[1:]).write_bytes(go_program(text))
    programs = Programs(machine.host)
    assert kind is programs.identify(path)
    assert programs.may_be_exporter(path) is (kind is Kind.EXPORTER or "dcgm-exporter" in path)


@pytest.mark.parametrize("cut", [20, 64, 90, 200])
def test_a_cut_off_program_is_no_error(machine: Machine, cut: int) -> None:
    machine.write("opt/dcgm-exporter", "")
    (machine.root / "opt/dcgm-exporter").write_bytes(go_program("path\tlab/x\n")[:cut])
    assert Kind.OTHER is Programs(machine.host).identify("/opt/dcgm-exporter")


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("/opt/dcgm-exporter", "\x7fELF\0sleep", Kind.OTHER),
        ("/opt/dcgm-exporter", "\x7fELF\0DCGM_REMOTE_HOSTENGINE_INFO", Kind.EXPORTER),
        ("/opt/odd", "\x7fELF\0DCGM_REMOTE_HOSTENGINE_INFO", Kind.OTHER),
        ("/opt/odd", f"\x7fELF\0{NVIDIA}", Kind.OTHER),
        ("/opt/dcgm-exporter", "#!/bin/sh\n", Kind.SHELL_SCRIPT),
        ("/opt/dcgm-exporter", "#!/usr/bin/env bash\n", Kind.SHELL_SCRIPT),
        ("/opt/dcgm-exporter", "#!/usr/bin/python3\n", Kind.OTHER),
        ("/opt/dcgm-exporter", "#!/usr/bin/python3\n# DCGM_REMOTE_HOSTENGINE_INFO", Kind.EXPORTER),
        ("/opt/a-dcgm-exporter", "#!/usr/bin/python3\n#DCGM_REMOTE_HOSTENGINE_INFO", Kind.OTHER),
        ("/opt/a-dcgm-exporter", "\x7fELF\0DCGM_REMOTE_HOSTENGINE_INFO", Kind.EXPORTER),
        ("/opt/dcgm-exporter-x", "\x7fELF\0DCGM_REMOTE_HOSTENGINE_INFO", Kind.OTHER),
        ("/opt/do-dcgm-exporter", "\x7fELF\0DCGM_REMOTE_HOSTENGINE_INFO", Kind.OTHER),
        ("/opt/dcgm-exporter-x", "#!/usr/bin/python3\n#DCGM_REMOTE_HOSTENGINE_INFO", Kind.OTHER),
        ("/opt/dcgm-exporter", "text", Kind.OTHER),
        ("/proc/self/dcgm-exporter-x", "", Kind.OTHER),
    ],
)
def test_a_file_is_told_by_its_content_before_its_name(
    machine: Machine, path: str, text: str, kind: Kind
) -> None:
    if text:
        machine.write(path, text)
    assert kind is Programs(machine.host).identify(path)


def test_a_link_is_what_it_leads_to(machine: Machine) -> None:
    machine.write("opt/dcgm-exporter-4.5.3", "\x7fELF\0DCGM_REMOTE_HOSTENGINE_INFO")
    machine.write("opt/sleep", "\x7fELF\0")
    machine.link("opt/dcgm-exporter", "dcgm-exporter-4.5.3")
    machine.link("srv/dcgm-exporter", "../opt/sleep")
    programs = Programs(machine.host)
    kinds = [programs.identify(f"/{place}/dcgm-exporter") for place in ("opt", "srv")]
    assert [Kind.EXPORTER, Kind.OTHER] == kinds


# --- libraries and releases --------------------------------------------------------------


def test_a_program_tells_which_library_it_loads(machine: Machine) -> None:
    machine.write("three", "\x7fELF libdcgm.so.3 \0")
    machine.write("both", "libdcgm.so.3 libdcgm.so.4")
    machine.write("plain", "libdcgm.so\0libdcgm_stub")
    machine.write("falls-back", "libdcgm.so.4 libdcgm.so\0")
    machine.write("empty", "")
    expected = {"three": 3, "both": 0, "plain": 3, "falls-back": 4, "empty": 0, "absent": 0}
    found = {name: Programs(machine.host).library_major(f"/{name}") for name in expected}
    assert expected == found


@pytest.mark.parametrize(
    ("settings", "log"),
    [
        ("", "journalctl -u a.service"),
        ("StandardError=append:/var/log/a.log", "tail /var/log/a.log"),
        ("StandardOutput = append:/var/log/a.log", "tail /var/log/a.log"),
        ("StandardOutput=append:/b\nStandardError=inherit", "tail /b"),
        ("StandardOutput=append:/b\nStandardError=journal", "journalctl -u a.service"),
        ("StandardError=file:/b\nStandardError=truncate:/c", "tail /c"),
        ("#StandardError=append:/b", "journalctl -u a.service"),
    ],
)
def test_where_a_unit_writes_its_log(machine: Machine, settings: str, log: str) -> None:
    machine.write(f"{LIB}/a.service", unit(f"ExecStart={PROGRAM}\n{settings}"))
    (seen,) = seen_on(machine)
    assert log == seen.view.log


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04", 4),
        ("dcgm-exporter:3.3.9-3.6.1-ubi9", 3),
        ("dcgm-exporter:latest", 0),
        ("localhost:5000/dcgm-exporter", 0),
    ],
)
def test_an_image_tells_by_its_tag(image: str, major: int) -> None:
    assert major == major_of_image(image)
