"""The server with a web configuration: who is let in, through real sockets."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from pathlib import Path

import bcrypt
import pytest
from tests import web_harness
from tests.certificates import Authority, Pair
from tests.waiting import wait_until
from tests.web_harness import PATIENCE, SCRAPE, TEXT, answer, everything

from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.serve.access import gate as http_gate
from do_dcgm_exporter.serve.access.security import Security, load_security
from do_dcgm_exporter.serve.http.connection import Limits
from do_dcgm_exporter.serve.http.request import Request, parse_head
from do_dcgm_exporter.serve.http.response import Answer

HASH = "$2b$04$ENPM8XJhYFCqXMbpjxyg2.sh8mi5BZSXwkkWPDSUyUloReZ2BFPCu"  # secret
USERS = f"basic_auth_users:\n  alice: {HASH}\n"


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


RIGHT, WRONG = basic("alice:secret"), basic("alice:guess")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.server("security")


class Files:
    """A web configuration file in a directory of its own."""

    def __init__(self, directory: Path, pair: Pair, authority: Authority) -> None:
        self.path = directory / "web.yml"
        self.tls = f"tls_server_config:\n  cert_file: {pair.certificate}\n  key_file: {pair.key}\n"
        self.clients = f"  client_ca_file: {authority.certificate}\n  client_auth_type: "

    def load(self, text: str, old: Security | None = None) -> Security:
        self.path.write_text(text)
        return load_security(self.path, read_file, old)


@pytest.fixture
def files(tmp_path: Path, pair: Pair, authority: Authority) -> Files:
    return Files(tmp_path, pair, authority)


@contextlib.contextmanager
def handshake(port: int, context: ssl.SSLContext):
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as client,
        context.wrap_socket(client, server_hostname="localhost", suppress_ragged_eofs=False) as tls,
    ):
        yield tls


def is_served(port: int, context: ssl.SSLContext) -> bool:
    """Whether a client with this context gets an answer."""
    try:
        with handshake(port, context) as client:
            client.sendall(SCRAPE)
            return answer(client).body == TEXT
    except (ssl.SSLError, ConnectionError, ConnectionResetError):
        return False


class TestVersions:
    @pytest.mark.parametrize(
        ("setting", "version", "expected"),
        [
            ("", ssl.TLSVersion.TLSv1, False),
            ("", ssl.TLSVersion.TLSv1_1, False),
            ("", ssl.TLSVersion.TLSv1_2, True),
            ("", ssl.TLSVersion.TLSv1_3, True),
            ("  min_version: TLS13\n", ssl.TLSVersion.TLSv1_2, False),
            ("  max_version: TLS12\n", ssl.TLSVersion.TLSv1_3, False),
        ],
    )
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_old_ones_are_refused(self, files, authority, setting, version, expected):
        security = files.load(files.tls + setting)
        with web_harness.serving(security=security) as web:
            context = authority.trust()
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version

            assert expected is is_served(web.server.port, context)
            assert is_served(web.server.port, authority.trust())


class TestTheTransport:
    @pytest.fixture
    def web(self, files, authority):
        with web_harness.serving(
            trust=authority.trust(), security=files.load(files.tls)
        ) as harness:
            yield harness

    def plain(self, web, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", web.server.port), PATIENCE)
        client.sendall(data)
        return client

    def test_http_without_tls_is_told_so(self, web):
        with self.plain(web, SCRAPE) as client:
            assert everything(client).endswith(b"\r\n\r\nthis port speaks HTTPS\n")

    @pytest.mark.parametrize("data", [b"\0\0", b"\x80\x2e\x01", b"\r\n", b"\x16" * 300])
    def test_other_nonsense_is_hung_up_on(self, web, data):
        with self.plain(web, data) as client:
            assert b"HTTP" not in everything(client)

    def test_the_end_is_said_so_that_nobody_can_cut_an_answer_short(self, web, authority):
        with handshake(web.server.port, authority.trust()) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert everything(client).endswith(TEXT)  # or it would raise SSLEOFError

    def test_a_client_that_says_goodbye_is_let_go(self, web, authority):
        with handshake(web.server.port, authority.trust()) as client:
            client.sendall(SCRAPE)
            answer(client)
            assert isinstance(client.unwrap(), socket.socket)

    def test_a_handshake_may_come_byte_by_byte(self, web, authority):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority.trust().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.plain(web) as client:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        client.sendall(bytes([byte]))
                    incoming.write(client.recv(4096))
            tls.write(SCRAPE)
            for byte in outgoing.read():
                client.sendall(bytes([byte]))
            incoming.write(client.recv(4096))
            assert tls.read().endswith(TEXT)

    def test_half_a_handshake_counts_as_a_connection(self, files, authority):
        security = files.load(files.tls)
        limits = Limits(connections=3)
        with web_harness.serving(limits, trust=authority.trust(), security=security) as web:
            silent = self.plain(web)
            begun = [self.plain(web, b"\x16\x03\x01\x02\x00\x01") for _ in range(2)]

            assert TEXT == web.get().body
            assert b"" == everything(silent)
            assert TEXT == web.get().body
            for client in (silent, *begun):
                client.close()

    def test_half_a_handshake_has_the_time_of_a_head_and_no_more(self, web):
        with self.plain(web, b"\x16\x03\x01\x02\x00\x01") as client:
            web.pass_time(0)
            web.pass_time(10)

            assert b"" == everything(client)

    def test_a_thousand_half_handshakes_do_not_stop_a_scrape(self, web):
        for _ in range(10):
            begun = [self.plain(web, b"\x16\x03\x01\x02\x00\x01") for _ in range(100)]
            assert TEXT == web.get().body
            for client in begun:
                client.close()

    def test_a_client_that_breaks_the_protocol_is_hung_up_on(self, web, authority):
        with handshake(web.server.port, authority.trust()) as client:
            client.sendall(SCRAPE[:9])
            socket.socket.sendall(client, b"\x17\x03\x03\x00\x20" + 32 * b"x")

            with pytest.raises(ssl.SSLError):
                client.recv(1)
        assert TEXT == web.get().body

    def test_http_1_1_is_agreed_on(self, web, authority):
        context = authority.trust()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with handshake(web.server.port, context) as client:
            assert "http/1.1" == client.selected_alpn_protocol()

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_sessions_do_not_pile_up(self, files, authority, monkeypatch):
        monkeypatch.setattr("do_dcgm_exporter.serve.access.security._MOST_SESSIONS", 5)
        security = files.load(files.tls)
        context = authority.trust()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        most = 0
        with web_harness.serving(trust=context, security=security) as web:
            for _ in range(20):
                assert TEXT == web.get(Connection="close").body
                stats = security._context.session_stats() if security._context else {}
                most = max(most, stats["number"])

        assert 0 < most <= 7


@pytest.fixture(scope="module")
def strangers(tmp_path_factory) -> Pair:
    """A client's certificate that another authority has signed."""
    return Authority(tmp_path_factory.mktemp("others"), "others").client("stranger")


class TestClientCertificates:
    @pytest.mark.parametrize(
        ("kind", "sans", "nobody", "ours"),
        [
            ("RequireAndVerifyClientCert", "", False, True),
            ("VerifyClientCertIfGiven", "", True, True),
            ("RequireAndVerifyClientCert", "[a.example, prometheus.example]", False, True),
            ("RequireAndVerifyClientCert", "[a.example]", False, False),
            ("VerifyClientCertIfGiven", "[a.example]", True, False),
        ],
    )
    def test_who_is_let_in(self, files, authority, strangers, kind, sans, nobody, ours):
        names = f"  client_allowed_sans: {sans}\n" if sans else ""
        security = files.load(files.tls + files.clients + f"{kind}\n" + names)
        certified = authority.trust(authority.client("certified"))
        with web_harness.serving(security=security) as web:
            assert nobody is is_served(web.server.port, authority.trust())
            assert ours is is_served(web.server.port, certified)
            assert not is_served(web.server.port, authority.trust(strangers))

    def test_a_servers_certificate_is_none_of_a_client(self, files, authority, pair):
        security = files.load(files.tls + files.clients + "RequireAndVerifyClientCert\n")
        with web_harness.serving(security=security) as web:
            assert not is_served(web.server.port, authority.trust(pair))


class TestPasswords:
    @pytest.fixture
    def web(self, files):
        with web_harness.serving(security=files.load(USERS)) as harness:
            yield harness

    def test_the_right_one_lets_in_everywhere(self, web):
        assert TEXT == web.get(**RIGHT).body
        assert {200} == {
            web.get(path, **RIGHT).status for path in ("/", "/health", "/-/ready", "/-/healthy")
        }

    @pytest.mark.parametrize(
        "headers", [{}, WRONG, basic("bob:secret"), basic(""), {"Authorization": "Bearer x"}]
    )
    @pytest.mark.parametrize("path", ["/metrics", "/", "/health", "/-/healthy", "/nothing"])
    def test_nothing_else_does_anywhere(self, web, headers, path):
        response = web.get(path, **headers)

        assert (401, b"a user and a password are needed\n") == (response.status, response.body)
        assert response.headers["WWW-Authenticate"].startswith("Basic realm=")

    def test_a_right_one_is_checked_once(self, web, monkeypatch):
        checked = []
        check = bcrypt.checkpw
        monkeypatch.setattr(bcrypt, "checkpw", lambda *given: checked.append(1) or check(*given))
        for _ in range(20):
            assert TEXT == web.get(**RIGHT).body
        assert 1 == len(checked)
        for _ in range(3):
            assert 401 == web.get(**WRONG).status

        assert 4 == len(checked)

    def test_pipelined_requests_are_answered_in_order(self, web):
        head = SCRAPE[:-2] + b"Authorization: %b\r\n\r\n"
        right, wrong = RIGHT["Authorization"].encode(), WRONG["Authorization"].encode()
        received = web.exchange(b"".join(head % who for who in (right, right, wrong, right)))

        statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
        assert [b"200", b"200", b"401"] == statuses  # and that was the end

    def test_two_headers_are_refused_whatever_they_say(self, web):
        head = SCRAPE[:-2] + 2 * b"Authorization: %b\r\n" % (2 * (RIGHT["Authorization"].encode(),))

        assert web.exchange(head + b"\r\n").startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize("name", [b"authorization", b"AUTHORIZATION", b"AuThOrIzAtIoN"])
    def test_the_name_of_the_header_is_in_any_case(self, web, name):
        head = SCRAPE[:-2] + name + b":" + RIGHT["Authorization"].encode() + b"\t \r\n\r\n"

        assert web.exchange(head).endswith(TEXT)

    @pytest.mark.parametrize("name", [b" Authorization", b"Authorization ", b"X\rAuthorization"])
    def test_a_header_of_the_wrong_shape_is_refused(self, web, name):
        head = SCRAPE[:-2] + name + b": " + RIGHT["Authorization"].encode() + b"\r\n\r\n"

        assert web.exchange(head).startswith(b"HTTP/1.1 400 ")

    def test_no_head_that_is_remembered_has_a_password(self, web):
        web.get(**RIGHT)
        site = web.server._responder._site
        before = site.understand.cache_info()
        web.get(**WRONG)

        assert before.hits + 1 == site.understand.cache_info().hits

    def test_a_client_that_leaves_before_the_verdict_hurts_nobody(self, web, monkeypatch):
        arrived, leave = [], contextlib.ExitStack()
        check = bcrypt.checkpw

        def slow(*given):
            arrived.append(1)
            wait_until(lambda: len(arrived) > 1, "the client has left")
            return check(*given)

        monkeypatch.setattr(bcrypt, "checkpw", slow)
        with leave:
            client = leave.enter_context(
                web.connect(
                    SCRAPE[:-2] + b"Authorization: %b\r\n\r\n" % (WRONG["Authorization"].encode())
                )
            )
            wait_until(lambda: arrived, "the check has begun")
            client.close()
        arrived.append(1)

        assert TEXT == web.get(**RIGHT).body

    def test_a_flood_is_turned_away_and_those_who_are_known_are_not(self, files, monkeypatch):
        """Everybody here has one address."""
        check = bcrypt.checkpw
        with web_harness.serving(security=files.load(USERS)) as web:
            assert TEXT == web.get(**RIGHT).body
            go_on = []

            def stuck(*given):
                wait_until(lambda: go_on, "the test goes on")
                return check(*given)

            monkeypatch.setattr(bcrypt, "checkpw", stuck)
            head = SCRAPE[:-2] + b"Authorization: %b\r\n\r\n"
            guesses = [basic(f"alice:{number}")["Authorization"].encode() for number in range(20)]
            flood = [web.connect(head % guess) for guess in guesses]

            statuses = [answer(client).status for client in flood[2:]]
            assert {429} == set(statuses)
            for _ in range(10):
                assert TEXT == web.get(**RIGHT).body
            go_on.append(1)
            assert [401, 401] == [answer(client).status for client in flood[:2]]

    def test_a_fault_of_ours_is_500_and_tells_no_secret(self, web, monkeypatch, caplog):
        def broken(*_):
            raise LookupError("bcrypt")

        monkeypatch.setattr(bcrypt, "checkpw", broken)

        assert 500 == web.get(**RIGHT).status
        assert "LookupError" in caplog.text
        for secret in ("secret", HASH, RIGHT["Authorization"][6:]):
            assert secret not in caplog.text


class Seen:
    """A site that remembers what it was asked."""

    understand = staticmethod(parse_head)

    def respond(self, request: Request) -> Answer:
        self.request = request
        return Answer(b"", closes=True)


@pytest.mark.parametrize(
    ("path", "is_tls", "expected"),
    [("/metrics", True, "gzip"), ("/", True, None), ("/", False, "gzip")],
)
def test_over_tls_nothing_is_compressed_but_metrics(path, is_tls, expected):
    site = Seen()
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nAccept: b\r\n\r\n"
    http_gate.Gate(site, is_tls=is_tls).answer(head.encode(), "192.0.2.1")

    assert expected == site.request.headers.get("accept-encoding")
    assert "b" == site.request.headers["accept"]


class TestTheRest:
    def test_headers_are_on_every_answer(self, files):
        text = "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=9\n"
        with web_harness.serving(security=files.load(text + USERS)) as web:
            for response in (
                web.get(**RIGHT),
                web.get("/nothing", **RIGHT),
                web.get(),
                web.ask("POST /metrics"),
            ):
                assert "max-age=9" == response.headers["Strict-Transport-Security"]

    def test_a_header_of_ours_is_not_there_twice(self, files):
        text = "http_server_config:\n  headers:\n    X-Content-Type-Options: nosniff\n"
        with web_harness.serving(security=files.load(text)) as web:
            assert ["nosniff"] == web.get().headers.get_all("X-Content-Type-Options")

    def test_a_rate_limit_counts_everybody(self, files, monkeypatch):
        clock = web_harness.Clock()
        monkeypatch.setattr(http_gate.time, "monotonic", clock)
        bucket = http_gate.Bucket(http_gate.RateLimit(interval=2.0, burst=3), clock)

        assert [True, True, True, False] == [bucket.take() for _ in range(4)]
        clock.now += 2.0
        assert [True, False] == [bucket.take() for _ in range(2)]
        clock.now += 100.0
        assert [True, True, True, False] == [bucket.take() for _ in range(4)]

    def test_who_asks_too_often_is_told_when_to_come_back(self, files):
        security = files.load("rate_limit: {interval: 1h, burst: 2}")
        with web_harness.serving(security=security) as web:
            assert [200, 200, 429, 429] == [web.get().status for _ in range(4)]
            assert "1" == web.get().headers["Retry-After"]

    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("192.0.2.1", "192.0.2.2", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("2001:db8::1", "2001:db8::2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("fe80::1%eth0", "fe80::2%eth1", True),
        ],
    )
    def test_neighbours_share_what_one_of_them_may(self, first, second, same):
        assert same is (http_gate._neighbourhood(first) == http_gate._neighbourhood(second))


class TestAnotherConfiguration:
    def test_users_change_at_once_on_old_connections(self, files):
        old = files.load(USERS)
        with web_harness.serving(security=old) as web:
            head = SCRAPE[:-2] + b"Authorization: %b\r\n\r\n" % RIGHT["Authorization"].encode()
            client = web.connect(head)
            assert 200 == answer(client).status
            web.server.secure(files.load(USERS.replace("alice", "bob"), old))
            web.finish_turn()
            client.sendall(head)

            assert 401 == answer(client).status
            assert 200 == web.get(**basic("bob:secret")).status

    def test_verified_passwords_stay_so_if_the_users_are_the_same(self, files):
        old = files.load(USERS)

        assert files.load(USERS + files.tls, old).passwords is old.passwords
        assert files.load(USERS.replace("alice", "bob"), old).passwords is not old.passwords

    def test_connections_without_tls_end_when_it_is_switched_on(self, files, authority):
        with web_harness.serving() as web:
            client = web.connect(SCRAPE)
            answer(client)
            web.server.secure(files.load(files.tls))

            assert b"" == everything(client)
            assert is_served(web.server.port, authority.trust())

    def test_a_new_certificate_is_shown_to_new_clients(self, files, authority, pair):
        with web_harness.serving(security=files.load(files.tls)) as web:
            with handshake(web.server.port, authority.trust()) as client:
                before = client.getpeercert(binary_form=True)
            renewed = authority.server("renewed")
            old, new = (str(p.certificate.with_suffix("")) for p in (pair, renewed))
            web.server.secure(files.load(files.tls.replace(old, new)))
            web.server.is_alive(within=0)

            def is_new() -> bool:
                with handshake(web.server.port, authority.trust()) as client:
                    return client.getpeercert(binary_form=True) != before

            wait_until(is_new, "the new certificate is shown")

    def test_connections_go_on_if_tls_stays_as_it_is(self, files, authority):
        old = files.load(files.tls)
        with web_harness.serving(trust=authority.trust(), security=old) as web:
            client = web.connect(SCRAPE)
            answer(client)
            web.server.secure(files.load(files.tls + "rate_limit: {interval: 1s, burst: 99}", old))
            web.finish_turn()
            client.sendall(SCRAPE)

            assert TEXT == answer(client).body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "neither TLS nor passwords"),
        (USERS, "passwords of 1 user"),
        ("{tls}", "TLS from 1.2"),
        ("{tls}  min_version: TLS13\n" + USERS, "TLS from 1.3, passwords of 1 user"),
        (
            "{tls}{clients}RequireAndVerifyClientCert\nrate_limit: {{interval: 1s, burst: 1}}\n",
            "TLS from 1.2, client certificates (RequireAndVerifyClientCert), a rate limit",
        ),
    ],
)
def test_what_it_amounts_to_is_one_line(files, text, expected):
    security = files.load(text.format(tls=files.tls, clients=files.clients))

    assert expected == str(security)
    assert security.sends_passwords_in_the_clear is (text == USERS)


def test_what_is_wrong_in_a_named_file_is_said_with_the_file_that_names_it(files):
    with pytest.raises(ConfigurationError) as caught:
        files.load("tls_server_config: {cert_file: none.pem, key_file: none.key}")

    missing = files.path.parent / "none.pem"
    assert f"{files.path}: cannot read the cert_file {missing}: No such file" in str(caught.value)
