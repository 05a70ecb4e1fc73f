"""The services that are named before the engine is stopped."""

from __future__ import annotations

import pytest
from tests.unit.integration.conftest import ETC, HEAD, Machine

from do_dcgm_exporter.integration.exporters_here import name_clients

DROP_IN = "zz-do-dcgm-exporter.conf"


def put_client(machine: Machine, pid: int, unit: str, port: int = 5555) -> None:
    maps = "7f00 r-xp 0 0 0 /usr/lib/x86_64-linux-gnu/libdcgm.so.4\n"
    machine.put_process(pid, cgroup=f"0::/system.slice/{unit}\n", maps=maps)
    machine.link(f"proc/{pid}/fd/3", f"socket:[{pid}]")
    line = f" 0: 0100007F:9C40 0100007F:{port:04X} 01 0 0 0 0 0 {pid}\n"
    machine.write("proc/net/tcp", machine.read("proc/net/tcp") + line)


def test_those_that_will_not_come_back_by_themselves_are_named(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    put_client(machine, 20, "theirs.service")
    put_client(machine, 21, "ours.service")
    put_client(machine, 22, "forbidden.service")
    put_client(machine, 23, "elsewhere.service", port=443)
    put_client(machine, 24, "do-dcgm-exporter.service")
    machine.write(f"{ETC}/ours.service.d/{DROP_IN}", "")
    machine.link(f"{ETC}/forbidden.service.d/{DROP_IN}", "/dev/null")
    assert 0 == name_clients(machine.host)
    assert "forbidden.service\ntheirs.service\n" == capsys.readouterr().out


def test_nobody_is_named_where_nobody_is_connected(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.write("proc/net/tcp", HEAD)
    assert 0 == name_clients(machine.host)
    assert "" == capsys.readouterr().out
