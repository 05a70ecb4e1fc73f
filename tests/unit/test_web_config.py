"""The web configuration file: what is understood, and one sentence for what is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.serve.access.tls_config import ClientAuth, TlsConfig, TlsVersion
from do_dcgm_exporter.serve.access.web_config import RateLimit, WebConfig, parse_web_config

PATH = Path("/etc/do-dcgm-exporter/web.yml")
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
PAIR = "tls_server_config:\n  cert_file: server.pem\n  key_file: /keys/server.key\n"


def parse(text: str | bytes) -> WebConfig:
    return parse_web_config(text.encode() if isinstance(text, str) else text, PATH)


def tls(*lines: str) -> TlsConfig:
    """The TLS section with further ``lines``."""
    found = parse(PAIR + "".join(f"  {line}\n" for line in lines)).tls
    assert found is not None
    return found


def complaint(text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    message = str(caught.value)
    assert caught.value.exit_status == 2
    assert "\n" not in message
    assert message.startswith(f"{PATH}:")
    return message.removeprefix(f"{PATH}:")


class TestWhatIsUnderstood:
    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "tls_server_config:\n", "{}"])
    def test_a_file_with_nothing_in_it_asks_for_nothing(self, text):
        assert WebConfig() == parse(text)

    def test_paths_are_relative_to_the_file(self):
        assert Path("/etc/do-dcgm-exporter/server.pem") == tls().certificate
        assert Path("/keys/server.key") == tls().key

    def test_without_more_it_is_modern_tls_for_everybody(self):
        assert TlsConfig(tls().certificate, tls().key) == tls()
        assert (TlsVersion.TLS12, TlsVersion.TLS13) == (tls().min_version, tls().max_version)
        assert tls().client_auth is ClientAuth.NONE

    def test_every_key_of_tls(self):
        config = tls(
            "client_ca_file: ca.pem",
            "client_auth_type: RequireAndVerifyClientCert",
            "client_allowed_sans: [prometheus.example, 10.0.0.1]",
            "min_version: TLS12",
            "max_version: TLS12",
            "cipher_suites:",
            "- TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "- TLS_AES_128_GCM_SHA256",
            "prefer_server_cipher_suites: false",
            "curve_preferences: [CurveP256]",
        )

        assert Path("/etc/do-dcgm-exporter/ca.pem") == config.client_ca
        assert config.client_auth is ClientAuth.REQUIRED
        assert {"prometheus.example", "10.0.0.1"} == config.allowed_sans
        assert config.max_version is TlsVersion.TLS12
        assert ("ECDHE-RSA-AES256-GCM-SHA384",) == config.cipher_suites
        assert not config.prefer_server_cipher_suites
        assert ("prime256v1",) == config.curves

    def test_what_clients_can_do_without_is_taken_with_a_warning(self):
        config = parse(
            "http_server_config: {http2: true}\n"
            + PAIR
            + "  curve_preferences: [CurveP384, X25519]\n"
        )

        assert config.tls is not None
        assert ("secp384r1", "X25519") == config.tls.curves
        http2, curves = config.warnings
        assert f"{PATH}:1: http_server_config.http2: this server speaks HTTP/1.1" in http2
        assert f"{PATH}:5: tls_server_config.curve_preferences: Python cannot order" in curves

    def test_certificates_may_stand_in_the_file_itself(self):
        config = parse("tls_server_config:\n  cert: |\n    a\n    b\n  key: c\n").tls

        assert config is not None
        assert (b"a\nb\n", b"c") == (config.certificate, config.key)

    def test_empty_values_are_as_if_they_were_not_there(self):
        assert tls() == tls("min_version:", "client_ca_file: ''", "client_auth_type: ~")

    def test_users(self):
        config = parse(f"basic_auth_users:\n  alice: {HASH}\n  '7': {HASH}\n  über: {HASH}\n")

        assert {b"alice", b"7", "über".encode()} == config.users.keys()
        assert {HASH.encode()} == set(config.users.values())

    def test_headers(self):
        config = parse(
            "http_server_config:\n  http2: false\n  headers:\n"
            "    Strict-Transport-Security: max-age=31536000\n"
            "    X-Frame-Options: deny\n    X-XSS-Protection: ''\n"
        )

        assert (
            "Strict-Transport-Security: max-age=31536000",
            "X-Frame-Options: deny",
        ) == config.headers

    @pytest.mark.parametrize(
        ("interval", "seconds"),
        [("1s", 1.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5s", 1.5), (".5s", 0.5), ("10us", 1e-5)],
    )
    def test_a_rate_limit(self, interval, seconds):
        config = parse(f"rate_limit: {{interval: {interval}, burst: 20}}")

        assert config.rate_limit is not None
        assert 20 == config.rate_limit.burst
        assert seconds == pytest.approx(config.rate_limit.interval)

    def test_an_interval_of_nothing_is_no_limit(self):
        assert parse("rate_limit: {interval: 0, burst: 0}").rate_limit is None

    def test_an_alias_is_what_it_stands_for(self):
        config = parse(f"basic_auth_users: {{alice: &one {HASH}, bob: *one}}")

        assert config.users[b"alice"] == config.users[b"bob"]

    def test_nothing_secret_shows_in_its_text(self):
        config = parse(
            f"tls_server_config: {{cert: a, key: secret}}\nbasic_auth_users: {{a: {HASH}}}"
        )

        assert "secret" not in repr(config)
        assert HASH not in repr(config)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("tls_config: {}", "1: tls_config: there is no such key"),
            ("basic_auth_user: {}", "1: basic_auth_user: there is no such key; did you mean basic"),
            ("\ntls_server_config: 7", "2: tls_server_config: this must be a mapping"),
            ("- a", "1: this must be a mapping"),
            ("tls_server_config: {}\ntls_server_config: {}", "2: tls_server_config: this key occ"),
            ("http_server_config: {http2: maybe}", "http2: this is not one of true, false"),
            ("http_server_config: {headers: {Server: x}}", "headers.Server: there is no such key"),
            (
                "http_server_config: {headers: {X-Frame-Options: no}}",
                "X-Frame-Options: this is not one of deny, sameorigin",
            ),
            (
                'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nX: y"}}',
                "a header is one line of ASCII text",
            ),
            ("rate_limit: {interval: 1, burst: 1}", "1: rate_limit.interval: this is not a"),
            ("rate_limit: {interval: 1x, burst: 1}", "this is not a duration like 500ms, 1s or"),
            ("rate_limit: {interval: 1s}", "1: rate_limit: burst is a whole number, at least 1"),
            ("rate_limit: {interval: 1s, burst: 0}", "rate_limit.burst: burst is a whole number"),
            ("a: !!binary eA==", "1: a: there is no such key"),
            ("basic_auth_users: {alice: !env PASSWORD}", "tags (!…) are not allowed"),
            ("basic_auth_users: {[a]: b}", "this must be one text"),
            ("basic_auth_users: [a]", "1: basic_auth_users: this must be a mapping"),
            ("basic_auth_users: alice", "1: basic_auth_users: this must be a mapping"),
            ("{", "1: this is not YAML: "),
            ("a: b: c", "1: this is not YAML: mapping values are not allowed here"),
            ("a: b\n---\na: b\n", "2: this is not YAML: but found another document"),
            (b"\xff\xfe\xfd", " this is not YAML: not all of it is Unicode"),
            (b"a: \xff", " this is not YAML: not all of it is Unicode"),
            (r'a: "\UFFFFFFFF"', " this is not YAML: not all of it is Unicode"),
            (r'a: "\U00110000"', " this is not YAML: not all of it is Unicode"),
            ("a: \0", " this is not YAML: not all of it is Unicode"),
            ("[" * 5000, " this is nested too deeply"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_with_its_place(self, text, expected):
        assert expected in complaint(text)

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ("min_version: TLS10", "min_version: this is not one of TLS12, TLS13"),
            ("min_version: TLS11", "min_version: this is not one of TLS12, TLS13"),
            ("max_version: TLS11", "max_version: this is not one of TLS12, TLS13"),
            (
                "min_version: TLS13\n  max_version: TLS12",
                "5: tls_server_config.max_version: this is",
            ),
            ("client_auth_type: RequireAnyClientCert", "this is not one of NoClientCert, VerifyCl"),
            ("client_auth_type: RequestClientCert", "this is not one of NoClientCert, VerifyCli"),
            ("client_auth_type: RequireAndVerifyClientCert", "needs client_ca_file"),
            ("client_auth_type: VerifyClientCertIfGiven", "needs client_ca_file"),
            ("client_ca_file: ca.pem", "needs client_auth_type: RequireAndVerifyClientCert"),
            ("client_allowed_sans: [a]", "client_allowed_sans: this needs client_auth_type"),
            ("client_allowed_sans: a", "client_allowed_sans: this must be a list"),
            ("cert: a", "there is a cert and a cert_file: only one of them is allowed"),
            ("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SH"),
            ("cipher_suites: [TLS_AES_128_GCM_SHA256]", "write min_version: TLS13 as well"),
            ("curve_preferences: [CurveP224]", "a list of X25519, CurveP256, CurveP384"),
            ("prefer_server_cipher_suites: 1", "this is not one of true, false"),
            ("insecure: true", "insecure: there is no such key; there are cert_file, key_file"),
        ],
    )
    def test_what_is_wrong_in_tls_is_said_with_its_place(self, lines, expected):
        assert expected in complaint(f"{PAIR}  {lines}\n")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("tls_server_config: {key_file: a}", "cert_file is missing"),
            ("tls_server_config: {cert_file: a}", "key_file is missing"),
            ("tls_server_config: {min_version: TLS12}", "cert_file is missing"),
            ("tls_server_config: {cert_file: '', key_file: a}", "cert_file is missing"),
            ('tls_server_config: {cert_file: "a\\0", key_file: a}', "cert_file: this is not"),
        ],
    )
    def test_tls_takes_a_certificate_and_a_key(self, text, expected):
        assert expected in complaint(text)

    @pytest.mark.parametrize(
        "secret",
        ["hunter2", HASH[:-1], HASH + "x", HASH.replace("$10$", "$03$"), HASH.replace("10", "17")],
    )
    @pytest.mark.parametrize(
        "text",
        [
            "basic_auth_users:\n  alice: {}\n",
            "basic_auth_users:\n  {}: alice\n",
            "basic_auth_users:\n  alice: [{}]\n",
            "basic_auth_users: {}\n",
            "basic_auth_users:\n  - {}\n",
            "basic_auth_users:\n  alice:{}\n",
            "basic_auth_users:\nalice: '{}'x\n",
            'basic_auth_users:\n  alice: "{}\n',
            "basic_auth_users:\n  alice: '{}\n",
            "basic_auth_users:\n  alice: *{}\n",
            "basic_auth_users:\n  alice: !{} x\n",
            "basic_auth_users:\n  alice: @{}\n",
            "basic_auth_users:\n  alice: %{}\n",
            "basic_auth_users:\n\talice: {}\n",
        ],
    )
    def test_a_hash_or_password_in_the_wrong_place_is_not_repeated(self, text, secret):
        message = complaint(text.replace("{}", secret))

        assert secret not in message
        assert secret[4:] not in message
        assert "X0h1gDsPszWURQaxFh" not in message

    @pytest.mark.parametrize("name", ["a:b", "''", '"a\\tb"'])
    def test_a_name_that_nobody_can_send_is_refused(self, name):
        assert "a user's name has at least one character" in complaint(
            f"basic_auth_users:\n  {name if name[0] in QUOTES else repr(name)}: {HASH}\n"
        )

    def test_without_the_library_the_package_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "yaml", None)

        assert "python3-yaml" in complaint("")


QUOTES = "'\""


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_understood_or_refused(content):
    try:
        assert isinstance(parse_web_config(content, PATH), WebConfig)
    except ConfigurationError as error:
        assert "\n" not in str(error)


WORDS = st.sampled_from(
    ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "cert_file",
     "key", "headers", "interval", "burst", "a", "1s", "TLS12", HASH, "", "null", "true", "~",
     "*a", "&a x", "!!map", "<<", "2001-99-99", "0b2", "=", ".inf", "0o9", "1_000"]
)  # fmt: skip
TREES = st.recursive(
    WORDS,
    lambda below: (
        st.lists(below, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(WORDS, below, max_size=3).map(
            lambda pairs: f"{{{', '.join(f'{key}: {value}' for key, value in pairs.items())}}}"
        )
    ),
    max_leaves=12,
)


@given(TREES)
def test_any_tree_is_understood_or_refused(text):
    try:
        config = parse_web_config(text.encode(), PATH)
    except ConfigurationError as error:
        assert "\n" not in str(error)
        assert HASH not in str(error)
    else:
        assert config.rate_limit is None or isinstance(config.rate_limit, RateLimit)
