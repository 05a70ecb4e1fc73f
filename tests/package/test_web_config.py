"""TLS and passwords in the confined service, by the drop-ins that the manual page gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.certificates import Authority
from tests.package.conftest import layer_with, system_over
from tests.package.layers import DEPENDENCIES, system_with
from tests.package.packages import CLONE
from tests.package.system import CONF, EXPORTER, System

WEB_CONFIG = "/etc/do-dcgm-exporter/web-config.yml"
KEY = "/etc/ssl/private/server.key"
CERTIFICATE = "/etc/ssl/certs/server.pem"
# Of the password "correct horse".
HASH = "$2b$10$k/SdL4LWG3UmuQV/2y7nA.LOfHeFEdMx8kT6d6v5JBkvwwDP1iYSW"


def documented_drop_ins() -> list[str]:
    page = (CLONE / "man" / "do-dcgm-exporter-web-config.5.scd").read_text()
    return re.findall(r"```\n(\[Service\]\n.*?)```", page, re.DOTALL)


@pytest.fixture(scope="session")
def with_libraries(
    tools: None,
    distribution: str,
    dcgm4: Path,
    exporter: Path,
    shared: Path,
) -> list[Path]:
    """The layers of a system that has the exporter and what it recommends."""
    below = system_with(distribution, "python3-yaml", "python3-bcrypt", *DEPENDENCIES)
    layer = shared / f"{distribution}-with-libraries"
    return layer_with(below, layer, dcgm4, exporter)


@pytest.fixture
def system(with_libraries: list[Path], authority: Authority) -> Iterator[System]:
    """A running system with a certificate whose key only root can read."""
    pair = authority.server()
    with system_over(with_libraries) as system:
        system.write(CERTIFICATE, pair.certificate.read_text())
        system.write("/etc/ssl/certs/test-ca.pem", authority.certificate.read_text())
        system.write(KEY, pair.key.read_text())
        system.run("chmod", "600", KEY)
        write_web_config(system, KEY)
        yield system


def write_web_config(system: System, key: str) -> None:
    system.write(
        WEB_CONFIG,
        f"tls_server_config:\n  cert_file: {CERTIFICATE}\n  key_file: {key}\n"
        f"basic_auth_users:\n  prometheus: {HASH}\n",
    )
    system.run("chmod", "644", WEB_CONFIG)


def restart_with(system: System, drop_in: str) -> None:
    system.write(f"/etc/systemd/system/{EXPORTER}.d/override.conf", drop_in)
    system.systemctl("daemon-reload")
    system.systemctl("restart", EXPORTER)


def health(system: System, user: str) -> str:
    command = ("curl", "--silent", "--max-time", "5", "--cacert", "/etc/ssl/certs/test-ca.pem")
    return system.run(*command, "--user", user, "https://localhost:9401/health", check=False).stdout


def is_served_to_the_right_alone(system: System) -> bool:
    is_served = system.becomes(
        lambda: health(system, "prometheus:correct horse").startswith("OK\n")
    )
    return is_served and "a password" in health(system, "prometheus:guess")


def test_a_key_that_the_service_cannot_read_is_named(system: System) -> None:
    system.run("sh", "-c", f"echo 'web-config-file = {WEB_CONFIG}' >>{CONF}")
    system.systemctl("restart", EXPORTER)

    expected = f"{WEB_CONFIG}: cannot read the key_file {KEY}: Permission denied"
    assert system.becomes(lambda: expected in system.journal(EXPORTER))
    assert system.property(EXPORTER, "ExecMainStatus") == "2"


def test_systemd_hands_it_over(system: System) -> None:
    write_web_config(system, "server.key")
    restart_with(system, documented_drop_ins()[0])

    assert is_served_to_the_right_alone(system)


def test_a_group_may_read_it_and_changes_are_noticed(system: System, authority: Authority) -> None:
    system.run("groupadd", "--system", "--force", "ssl-cert")
    system.run("chgrp", "ssl-cert", KEY)
    system.run("chmod", "640", KEY)
    # Debian's ssl-cert makes the directory so.
    system.run("chgrp", "ssl-cert", str(Path(KEY).parent))
    system.run("chmod", "710", str(Path(KEY).parent))
    system.run("sh", "-c", f"echo 'web-config-file = {WEB_CONFIG}' >>{CONF}")
    restart_with(system, documented_drop_ins()[1])
    assert is_served_to_the_right_alone(system)

    renewed = authority.server("renewed")
    system.write(CERTIFICATE, renewed.certificate.read_text())
    (system.root / KEY.lstrip("/")).write_text(renewed.key.read_text())  # and stays the group's
    noticed = "web configuration reloaded"
    assert system.becomes(lambda: noticed in system.journal(EXPORTER))
    assert is_served_to_the_right_alone(system)
