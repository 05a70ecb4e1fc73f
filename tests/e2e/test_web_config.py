"""TLS and passwords by --web-config-file, with the clients that people use."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.certificates import Authority, Pair
from tests.e2e.conftest import Stage
from tests.e2e.exporter import (
    CHECK_CONFIG,
    Answer,
    Exporter,
    as_flags,
    command_without,
    run,
    settings_for,
)
from tests.e2e.prometheus import Prometheus, needs_prometheus
from tests.waiting import wait_until

from dcgm_simulator.process import SimulatedEngine

PASSWORD = "correct horse"
HASH = "$2b$10$k/SdL4LWG3UmuQV/2y7nA.LOfHeFEdMx8kT6d6v5JBkvwwDP1iYSW"
THREADS = len({"main", "agent", "supervisor", "web"})
GAUGE = "config_last_reload_successful"
UNREAD = "the new web configuration is refused, the old one stays in force"


class WebConfig:
    """A web configuration file with a pair of its own in the same directory."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        directory.mkdir()
        self.path = directory / "web.yml"
        self.authority = authority
        self.replace_pair()
        self.write()

    def replace_pair(self, pair: Pair | None = None) -> None:
        pair = pair or self.authority.server()
        for file, name in ((pair.certificate, "server.pem"), (pair.key, "server.key")):
            new = self.path.with_name(f"{name}.new")
            new.write_bytes(file.read_bytes())
            new.rename(self.path.with_name(name))

    def write(self, *further: str, clients: bool = False, user: str = "prometheus") -> None:
        lines = ["tls_server_config:", "  cert_file: server.pem", "  key_file: server.key"]
        if clients:
            lines.append(f"  client_ca_file: {self.authority.certificate}")
            lines.append("  client_auth_type: RequireAndVerifyClientCert")
        lines += ["basic_auth_users:", f"  {user}: {HASH}", *further]
        self.path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def web_config(tmp_path: Path, authority: Authority) -> WebConfig:
    return WebConfig(tmp_path / "web", authority)


Start = Callable[..., Exporter]


@pytest.fixture
def start(stage: Stage, engine: SimulatedEngine, web_config: WebConfig) -> Start:
    """Start an exporter with the web configuration, which knows how to ask it."""

    def start(client: Pair | None = None, **settings: str) -> Exporter:
        exporter = stage.exporter(engine, web_config_file=web_config.path, **settings)
        exporter.trust = web_config.authority.trust(client)
        exporter.credentials = f"prometheus:{PASSWORD}"
        exporter.wait_until_up()
        return exporter

    return start


def curl(exporter: Exporter, *arguments: object) -> subprocess.CompletedProcess[str]:
    url = f"https://localhost:{exporter.port}/health"
    command = ["curl", "--silent", "--show-error", "--max-time", "30", *map(str, arguments), url]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def shown(exporter: Exporter) -> str:
    """The fingerprint of the certificate that openssl(1) is shown."""
    address = f"localhost:{exporter.port}"
    hello = subprocess.run(
        ["openssl", "s_client", "-connect", address], input=b"", capture_output=True, check=False
    )
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    return subprocess.run(
        command, input=hello.stdout, capture_output=True, check=True
    ).stdout.decode()


def fingerprint(certificate: Path) -> str:
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", certificate]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_curl_gets_in_with_tls_and_a_password_and_not_otherwise(
    start: Start, web_config: WebConfig
) -> None:
    exporter = start()
    ca = ("--cacert", web_config.authority.certificate)
    right = ("--user", exporter.credentials)
    assert curl(exporter, *ca, *right).stdout == "OK\n"
    for version in ("1.2", "1.3"):
        assert (
            curl(exporter, *ca, *right, f"--tlsv{version}", "--tls-max", version).stdout == "OK\n"
        )
    assert "a password" in curl(exporter, *ca).stdout
    assert "a password" in curl(exporter, *ca, "--user", "prometheus:guess").stdout
    assert curl(exporter, *right).returncode == 60  # an authority curl does not know
    for version in ("1.0", "1.1"):
        old = ("--tls-max", version, "--ciphers", "ALL:@SECLEVEL=0", f"--tlsv{version}")
        assert curl(exporter, *ca, *right, *old).returncode == 35
    exporter.trust = None
    assert "this port speaks HTTPS" in exporter.get("/health").text


def test_over_tls_nothing_is_compressed_but_metrics(start: Start) -> None:
    """What testssl.sh calls BREACH; it asks for / alone."""
    exporter = start()
    codings = {
        path: exporter.get(path, headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"]
        for path in ("/", "/health", "/metrics")
    }
    assert codings == {"/": None, "/health": None, "/metrics": "gzip"}


def test_curl_needs_a_certificate_where_one_is_asked_for(
    start: Start, web_config: WebConfig
) -> None:
    client = web_config.authority.client("curl")
    exporter = start()
    web_config.write(clients=True)
    exporter.wait_for_log("web configuration reloaded: TLS from 1.2, client certificates")
    known = ("--cacert", web_config.authority.certificate, "--user", exporter.credentials)
    assert curl(exporter, *known).returncode == 56
    certified = ("--cert", client.certificate, "--key", client.key)
    assert curl(exporter, *known, *certified).stdout == "OK\n"
    exporter.trust = web_config.authority.trust(client)
    assert exporter.health() == (200, "OK")


PROMETHEUS_CONFIG = {
    "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
    "scrape_configs": [],
}


def job(name: str, exporter: Exporter, authority: Authority, **more: object) -> dict[str, object]:
    return {
        "job_name": name,
        "scheme": "https",
        "tls_config": {"ca_file": str(authority.certificate), "server_name": "localhost"},
        "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}],
        **more,
    }


@needs_prometheus
def test_prometheus_scrapes_with_a_certificate_and_a_password(
    start: Start, web_config: WebConfig, tmp_path: Path
) -> None:
    authority = web_config.authority
    client = authority.client("prometheus")
    web_config.write(clients=True)
    exporter = start(client)
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    tls = {
        "ca_file": str(authority.certificate),
        "cert_file": str(client.certificate),
        "key_file": str(client.key),
        "server_name": "localhost",
    }
    user = {"username": "prometheus", "password_file": str(password)}
    jobs = [
        job("good", exporter, authority, tls_config=tls, basic_auth=user),
        job("no_password", exporter, authority, tls_config=tls),
        job("no_certificate", exporter, authority, basic_auth=user),
    ]
    config = json.dumps(PROMETHEUS_CONFIG | {"scrape_configs": jobs})  # JSON is YAML
    with Prometheus(tmp_path, config) as prometheus:
        wait_until(lambda: prometheus.scrapes(1), "the one that may scrape does")
        wait_until(lambda: len(prometheus.query("up")) == 3, "all have tried")
        assert {metric["job"]: up for metric, up in prometheus.query("up")} == {
            "good": 1,
            "no_password": 0,
            "no_certificate": 0,
        }
        wait_until(lambda: prometheus.query("DCGM_FI_DEV_GPU_TEMP"), "it has values")
        errors = {
            target["labels"]["job"]: target["lastError"]
            for target in prometheus.ask("targets")["activeTargets"]
        }
        assert "401" in errors["no_password"]
        assert "certificate" in errors["no_certificate"]


def test_a_renewed_certificate_is_shown_without_a_restart(
    start: Start, web_config: WebConfig
) -> None:
    exporter = start()
    assert shown(exporter) == fingerprint(web_config.path.with_name("server.pem"))
    renewed = web_config.authority.server("renewed")
    web_config.replace_pair(renewed)
    wait_until(lambda: shown(exporter) == fingerprint(renewed.certificate), "the new one")
    assert exporter.page().own(GAUGE) == 1
    assert exporter.health() == (200, "OK")


def test_a_wrong_change_keeps_what_was_there_and_is_shown_until_it_is_mended(
    start: Start, web_config: WebConfig
) -> None:
    exporter = start()
    web_config.write("rate_limit: {interval: soon}")
    wait_until(lambda: exporter.page().own(GAUGE) == 0, "the refusal shows")
    place = f"{web_config.path}:6: rate_limit.interval: this is not a duration"
    assert exporter.health()[0] == 200
    assert f"OK\n{UNREAD}: {place}" in exporter.health()[1]
    web_config.write()
    wait_until(lambda: exporter.page().own(GAUGE) == 1, "all is well again")
    assert len(exporter.log_lines(UNREAD)) == 1
    assert exporter.health() == (200, "OK")


def test_a_missing_file_is_taken_when_it_comes(start: Start, web_config: WebConfig) -> None:
    exporter = start()
    key = web_config.path.with_name("server.key")
    content = key.read_bytes()
    key.unlink()
    exporter.wait_for_log(f"cannot read the key_file {key}")
    key.write_bytes(content)
    exporter.wait_for_log("web configuration reloaded")
    wait_until(lambda: exporter.page().own(GAUGE) == 1, "all is well again")


def test_a_reload_takes_another_file_and_refuses_a_wrong_one(
    start: Start, web_config: WebConfig
) -> None:
    exporter = start()
    exporter.reload(web_config_file="/nonexistent/web.yml")
    assert (
        "cannot read the web configuration /nonexistent"
        in exporter.log_lines("configuration is refused")[-1]
    )
    assert exporter.page().own(GAUGE) == 0
    web_config.write(user="another")
    exporter.reload(web_config_file=web_config.path)
    exporter.credentials = f"another:{PASSWORD}"
    assert exporter.page().own(GAUGE) == 1
    del exporter.settings["web-config-file"]
    exporter.reload()
    exporter.trust, exporter.credentials = None, ""
    wait_until(lambda: exporter.health() == (200, "OK"), "there is no TLS any more")
    exporter.wait_for_threads(THREADS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls_server_config: {min_version: TLS11}", ":1: tls_server_config: cert_file is missing"),
        ("basic_auth_users: {alice: hunter2}", ":1: basic_auth_users: after the user's name comes"),
        (
            "tls_server_config: {cert_file: a.pem, key_file: b.pem}",
            ": cannot read the cert_file ",
        ),
    ],
)
@pytest.mark.parametrize("mode", ["serve", "check"])
def test_a_wrong_file_is_one_sentence_at_start(
    tmp_path: Path, text: str, expected: str, mode: str
) -> None:
    wrong = tmp_path / "web.yml"
    wrong.write_text(text)
    settings = as_flags(settings_for("127.0.0.1:1", web_config_file=wrong))
    ran = run(*settings, *(CHECK_CONFIG if mode == "check" else ()))
    assert ran.status == 2
    assert f"do-dcgm-exporter: {wrong}{expected}" in ran.sentence
    assert "hunter2" not in ran.err


def test_check_config_says_what_a_right_file_amounts_to(web_config: WebConfig) -> None:
    settings = as_flags(settings_for("127.0.0.1:1", web_config_file=web_config.path))
    ran = run(*settings, *CHECK_CONFIG)
    assert f"{web_config.path}: TLS from 1.2, passwords of 1 user\n" in ran.out


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_password_and_no_hash_gets_out(
    start: Start, web_config: WebConfig, log_format: str
) -> None:
    exporter = start(log_level="debug", log_format=log_format)
    answers: list[Answer] = []
    for credentials in ("prometheus:hunter2", f"nobody:{PASSWORD}", f"prometheus:{PASSWORD}"):
        exporter.credentials = credentials
        answers += [exporter.get(path) for path in ("/metrics", "/health", "/", "/nothing")]
    web_config.write(f"  broken {HASH}")
    wait_until(lambda: exporter.page().own(GAUGE) == 0, "the refusal shows")
    answers += [exporter.get("/health"), exporter.get()]
    said = exporter.log() + "".join(answer.text + str(answer.headers) for answer in answers)
    for secret in ("hunter2", PASSWORD, HASH, HASH[7:], "PRIVATE KEY"):
        assert secret not in said


FLOOD = """\
while :; do
    curl --silent --insecure --max-time 9 --output /dev/null --user "a:$(date +%N)" "$0"
done
"""


def test_a_flood_of_wrong_passwords_delays_no_scrape(start: Start) -> None:
    exporter = start()
    exporter.page()
    url = f"https://127.0.0.1:{exporter.port}/"
    flood = subprocess.Popen(["sh", "-c", FLOOD, url], start_new_session=True)
    try:
        for _ in range(50):
            assert exporter.get().status == 200
        assert exporter.is_up()
    finally:
        os.killpg(flood.pid, 15)
        flood.wait()


def test_whoever_asks_for_none_of_this_does_not_pay_for_it(
    stage: Stage, engine: SimulatedEngine
) -> None:
    exporter = stage.exporter(engine, environ={"PYTHONPROFILEIMPORTTIME": "1"})
    exporter.wait_until_up()
    imported = set(re.findall(r"\|\s+([\w.]+)$", exporter.log(), re.MULTILINE))
    assert "do_dcgm_exporter.serve.server" in imported
    ours = {name for name in imported if "web_config" in name or "tls" in name}
    assert not imported & {"yaml", "bcrypt", "do_dcgm_exporter.serve.access.passwords"} | ours
    exporter.wait_for_threads(THREADS)


@pytest.mark.parametrize(
    ("missing", "text"), [("yaml", ""), ("bcrypt", f"basic_auth_users: {{a: {HASH}}}")]
)
def test_a_library_that_is_missing_is_named_by_its_package(
    tmp_path: Path, missing: str, text: str
) -> None:
    wanted = tmp_path / "web.yml"
    wanted.write_text(text)
    ran = run(
        *as_flags(settings_for("127.0.0.1:1", web_config_file=wanted)),
        command=command_without(missing),
    )
    assert ran.status == 2
    assert f"python3-{missing}, which is not installed" in ran.sentence
