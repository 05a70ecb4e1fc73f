"""What a bundle shows of files and logs that may hold secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.support import redaction

SECRET = "hunter2-Zq9"
LINE_OF_A_KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
LAST_OF_A_KEY = "x8Gq1eQb9w=="
HASH = "$2y$10$" + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0"
WEB = f"""\
# {SECRET}
tls_server_config:
  cert_file: /etc/tls/cert.pem  # {SECRET}
  key_file: /etc/tls/key.pem
  cert: |
    -----BEGIN CERTIFICATE-----
    {SECRET}
  key: {SECRET}
  min_version: TLS13
  cipher_suites:
    - TLS_AES_128_GCM_SHA256
http_server_config:
  headers:
    X-Other: {SECRET}
basic_auth_users:
  alice: {HASH}
  {SECRET}: bob
  interval: {SECRET}
rate_limit:
  interval: 1s
  burst: 20
bearer_token: {SECRET}
"""


def test_a_web_configuration_shows_what_is_harmless_alone() -> None:
    assert redaction.web_configuration(WEB).splitlines() == [
        "tls_server_config:",
        "  cert_file: /etc/tls/cert.pem",
        "  key_file: /etc/tls/key.pem",
        "  [removed]",
        "    [removed]",
        "    [removed]",
        "  [removed]",
        "  min_version: TLS13",
        "  cipher_suites:",
        "    - TLS_AES_128_GCM_SHA256",
        "http_server_config:",
        "  headers:",
        "    [removed]",
        "basic_auth_users:",
        "  [removed]",
        "  [removed]",
        "  [removed]",
        "rate_limit:",
        "  interval: 1s",
        "  burst: 20",
        "[removed]",
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"basic_auth_users: {{alice: {SECRET}}}",
        f"basic_auth_users:\n  alice:\n    {SECRET}",
        f"tls_server_config: {{key: {SECRET}}}",
        f"tls_server_config:\n  cert_file: {{password: {SECRET}}}",
        f"  min_version: TLS12\n  and {SECRET}",
        f'"basic_auth_users":\n  "alice": "{SECRET}"',
        f"no YAML {SECRET}: [",
    ],
)
def test_no_shape_of_a_web_configuration_gets_through(text: str) -> None:
    assert SECRET not in redaction.web_configuration(text)


def test_a_configuration_shows_the_settings_that_there_are() -> None:
    text = f"""\
# the password is {SECRET}
address = :9401
--no-forward = yes
forward-url = https://user:{SECRET}@example.com/v1?key={SECRET}
collectors = [/a.csv, /b.csv] # {SECRET}
pasword = {SECRET}
{SECRET}
"""
    assert redaction.configuration(text).splitlines() == [
        "address = :9401",
        "--no-forward = yes",
        "forward-url = https://example.com/v1?[removed]",
        "collectors = [/a.csv, /b.csv]",
        "[removed]",
        "[removed]",
    ]


def test_a_file_that_is_none_of_counters_is_not_shown() -> None:
    text = f"# {SECRET}\nDCGM_FI_DEV_GPU_TEMP, gauge, Temperature, in °C.\nroot:{SECRET}:1::\n"
    shown = ["DCGM_FI_DEV_GPU_TEMP, gauge, Temperature, in °C.", "[removed]"]
    assert shown == redaction.counters(text).splitlines()


def test_units_show_variables_of_ours_and_of_nvidia_alone() -> None:
    text = f"""\
# /etc/systemd/system/do-dcgm-exporter.service.d/override.conf
# the old one was {SECRET}
[Service]
  # indented {SECRET}
Environment=CUDA_HOME=/a \\
# between two lines {SECRET}
  UNLIKELY={SECRET}
Environment="NVIDIA_TOKEN=two {SECRET}"
Environment="DCGM_FI=7" \\
  HTTPS_PROXY=http://{SECRET}@proxy:3128 "GREETING={SECRET}"
Environment="unbalanced={SECRET}
SetCredential=key:{SECRET}
ExecStart=/usr/bin/dcgm-exporter --web-password {SECRET} -a :9400 --api-key={SECRET}
ExecStart=/usr/bin/docker run --env "A=two {SECRET}" -eB={SECRET} -u 1:2 -e DCGM_D=1 image
"""
    assert redaction.unit_files(text).splitlines() == [
        "# /etc/systemd/system/do-dcgm-exporter.service.d/override.conf",
        "[Service]",
        "Environment=CUDA_HOME=/a UNLIKELY=[removed]",
        "Environment=NVIDIA_TOKEN=[removed]",
        "Environment=DCGM_FI=7 HTTPS_PROXY=[removed] GREETING=[removed]",
        "Environment=[removed]",
        "SetCredential=[removed]",
        "ExecStart=/usr/bin/dcgm-exporter --web-password [removed] -a :9400 --api-key=[removed]",
        'ExecStart=/usr/bin/docker run --env "A=[removed]" -eB=[removed] -u 1:2 -e DCGM_D=1 image',
    ]


@pytest.mark.parametrize(
    "line",
    [
        f"posting to https://user:{SECRET}@example.com/x failed",
        f"GET https://example.com/x?sig={SECRET} 403",
        f'auth: {{"password": "{SECRET}"}}',
        f"PASSWORD='{SECRET} and more'",
        f"Authorization: Basic {SECRET}",
        f"sent Bearer {SECRET}",
        f'--password "two {SECRET}"',
        f'"--password=two {SECRET}"',
        f"-H 'X-Token: two {SECRET}'",
        f'{{"token":"\\"{SECRET}"}}',
        f"PASSWORD=a,{SECRET};{SECRET}",
        f"MYSQL_PWD={SECRET} DB_PASS={SECRET}",
        f"--access-key {SECRET}",
        f"Cookie: session={SECRET}",
        f"Max retries exceeded with url: /v1?sig={SECRET} (Caused by",
        f"curl --user alice:{SECRET} localhost",
        f"exporter --web.auth alice:{SECRET} --web.listen-address :9400",
        f"exporter --web.auth='alice:{SECRET}'",
        f'exporter "--basic-auth" alice:{SECRET}',
        f"exporter --web.password {SECRET}",
        f"nvapi-{SECRET}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{SECRET}",
        f"$apr1$abcdefgh$0123456789abcdef{SECRET}",
        f"http_proxy={SECRET}:3128",
        "token dop_v1_0123456789abcdef0123",
        f"hash {HASH}",
        "root:$6$salt$0123456789abcdefghijkl:1",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_what_looks_like_a_secret_is_left_out_of_logs(line: str) -> None:
    shown = redaction.without_secrets(f"before {line}\nafter")
    assert redaction.REMOVED in shown or "//example.com" in shown
    for secret in (SECRET, "0123456789abcdef", HASH[7:]):
        assert secret not in shown


@pytest.mark.parametrize(
    "key",
    [
        f"{LINE_OF_A_KEY}\n{LAST_OF_A_KEY}\n-----END PRIVATE KEY-----",
        f"{LINE_OF_A_KEY}\n{LINE_OF_A_KEY}",
        f"app[7]: {LINE_OF_A_KEY}\napp[7]: {LAST_OF_A_KEY}\n-----END RSA PRIVATE KEY-----",
        f'KEY: "{LINE_OF_A_KEY}\\n{LAST_OF_A_KEY}\\n-----END PRIVATE KEY-----\\n"',
        f"{LAST_OF_A_KEY}\n-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\n{LINE_OF_A_KEY}",
    ],
)
def test_a_private_key_whose_head_is_cut_off_is_left_out(key: str) -> None:
    shown = redaction.without_secrets(f"before\n{key}\nafter")
    assert shown.startswith("before\n")
    assert redaction.REMOVED in shown
    assert LINE_OF_A_KEY[:20] not in shown
    assert LAST_OF_A_KEY[:8] not in shown


def test_digests_and_ids_of_containers_are_no_keys() -> None:
    text = f"image@sha256:{'0123456789abcdef' * 4}, /var/lib/docker/{'fedcba9876543210' * 4}/x"
    assert text == redaction.without_secrets(text)


def test_a_long_line_is_not_cut_within_what_shows_that_there_is_a_secret() -> None:
    line = "x" * 1980 + f" https://user:{SECRET}@example.com/"
    assert SECRET[:3] not in redaction.without_secrets(line)


def test_a_number_may_be_a_password_but_not_of_a_number() -> None:
    shown = redaction.without_secrets(
        "curl -u alice:12345 localhost; docker run -u 1000:1000 image"
    )
    assert shown == "curl -u alice:[removed] localhost; docker run -u 1000:1000 image"


def test_what_is_no_secret_stays() -> None:
    text = """\
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1234",pci_bus_id="00000000:09:00.0"} 42
Nov 27 10:00:00 host do-dcgm-exporter[7]: collected from localhost:5555 with 8 GPUs
see https://github.com/digitalocean/do-dcgm-exporter, section 3\t$PATH"""
    assert text == redaction.without_secrets(text)


def test_no_terminal_is_told_anything_and_no_line_is_endless() -> None:
    shown = redaction.without_secrets("\x1b[31mred\x07" + "a" * 100_000)
    assert shown.startswith("\\x1b[31mred\\x07aaa")
    assert len(shown) < 2100


@given(st.text(max_size=300))
def test_any_text_can_be_shown(text: str) -> None:
    for show in (
        redaction.without_secrets, redaction.configuration, redaction.counters,
        redaction.web_configuration, redaction.unit_files,
    ):  # fmt: skip
        assert "\x1b" not in show(text)
