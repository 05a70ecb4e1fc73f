"""One attempt to post a page, to endpoints that behave in every way."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from do_dcgm_exporter.forward import endpoint as endpoint_module
from do_dcgm_exporter.forward.endpoint import Endpoint
from do_dcgm_exporter.page.forwarding import ForwardResult

PATIENCE = 120  # seconds; only ever waited out by a failure
TIMEOUT = 0.3
PAGE = b"DCGM_FI_DEV_GPU_TEMP 42\n" * 4000
Behaviour = Callable[[socket.socket, "StubEndpoint"], None]


class StubEndpoint:
    """A server that treats every connection to the same behaviour, one after the other."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.requests: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.over = threading.Event()
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1/gpu_metrics"

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, contextlib.suppress(OSError):
                    self._behaviour(client, self)

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()

    def read_request(self, client: socket.socket) -> None:
        """Read one request and remember it."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += _receive(client)
        head, body = received.split(b"\r\n\r\n", 1)
        _, _, rest = head.lower().partition(b"content-length: ")
        while len(body) < int(rest.split(b"\r\n")[0]):
            body += _receive(client)
        self.requests.put((head.decode(), body))


def _receive(client: socket.socket) -> bytes:
    if not (data := client.recv(65536)):
        raise ConnectionError("the request ended early")
    return data


@pytest.fixture
def stub():
    """Start endpoints; all are gone afterwards."""
    with contextlib.ExitStack() as stack:

        def start(behaviour: Behaviour) -> StubEndpoint:
            return stack.enter_context(contextlib.closing(StubEndpoint(behaviour)))

        yield start


def answering(answer: bytes, *, again: bytes = b"", pause: float = 0.0) -> Behaviour:
    """Return the behaviour of answering, and then of sending ``again`` for ever."""

    def behave(client: socket.socket, endpoint: StubEndpoint) -> None:
        endpoint.read_request(client)
        client.sendall(answer)
        while again and not endpoint.over.wait(pause):
            client.sendall(again)

    return behave


def saying_nothing(_: socket.socket, endpoint: StubEndpoint) -> None:
    endpoint.over.wait(PATIENCE)


def resetting(client: socket.socket, _: StubEndpoint) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hanging_up(client: socket.socket, endpoint: StubEndpoint) -> None:
    endpoint.read_request(client)


OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\n\r\n")


def post(url: str, page: bytes = PAGE, timeout: float = TIMEOUT):
    return Endpoint(url, timeout, "1.2.3").post(page)


def test_a_page_is_posted_with_the_headers_the_endpoint_expects(stub):
    endpoint = stub(OK)
    outcome = post(endpoint.url, timeout=PATIENCE)

    head, body = endpoint.requests.get(timeout=PATIENCE)
    assert ForwardResult.SUCCESS is outcome.result
    assert PAGE == body
    assert head.startswith("POST /v1/gpu_metrics HTTP/1.1\r\n")
    for header in (
        "Content-Type: text/plain; version=0.0.4; charset=utf-8",
        "User-Agent: do-dcgm-exporter/1.2.3",
        f"Content-Length: {len(PAGE)}",
    ):
        assert header in head


@pytest.mark.parametrize(
    ("status", "result", "is_final"),
    [
        (b"200", ForwardResult.SUCCESS, True),
        (b"202", ForwardResult.SUCCESS, True),
        (b"204", ForwardResult.SUCCESS, True),
        (b"304", ForwardResult.REDIRECT, True),
        (b"400", ForwardResult.REJECTED, True),
        (b"404", ForwardResult.REJECTED, True),
        (b"408", ForwardResult.REJECTED, False),
        (b"429", ForwardResult.REJECTED, False),
        (b"500", ForwardResult.SERVER_ERROR, False),
        (b"503", ForwardResult.SERVER_ERROR, False),
        (b"999", ForwardResult.BROKEN_ANSWER, False),
    ],
)
def test_a_status_decides_whether_the_page_is_tried_again(stub, status, result, is_final):
    answer = b"HTTP/1.1 %b x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n" % status
    outcome = post(stub(answering(answer)).url, timeout=PATIENCE)

    assert (result, is_final) == (outcome.result, outcome.is_final)
    assert f"answered {status.decode()}" == outcome.detail


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        pytest.param(saying_nothing, ForwardResult.TIMEOUT, id="hangs"),
        pytest.param(
            answering(b"", again=b"H", pause=0.02), ForwardResult.TIMEOUT, id="drips a status"
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nA: ", again=b"a", pause=0.02),
            ForwardResult.TIMEOUT,
            id="drips headers",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\n\r\n", again=b"x" * 65536),
            ForwardResult.SUCCESS,
            id="endless body",
        ),
        pytest.param(
            answering(b"HTTP/1.1 302 x\r\nLocation: /\r\n\r\n", again=b"x" * 65536),
            ForwardResult.REDIRECT,
            id="endless body of a redirect",
        ),
        pytest.param(
            answering(b"HTTP/1.1 500 x\r\n\r\n", again=b"x" * 65536),
            ForwardResult.SERVER_ERROR,
            id="endless body of an error",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\n", again=b"A: b\r\n"),
            ForwardResult.BROKEN_ANSWER,
            id="endless headers",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000),
            ForwardResult.BROKEN_ANSWER,
            id="giant header",
        ),
        pytest.param(answering(b"SSH-2.0\r\n"), ForwardResult.BROKEN_ANSWER, id="not HTTP"),
        pytest.param(resetting, ForwardResult.RESET, id="resets"),
        pytest.param(hanging_up, ForwardResult.RESET, id="hangs up"),
    ],
)
def test_an_attempt_ends_whatever_the_endpoint_does(stub, behaviour, result):
    begun = time.monotonic()
    outcome = post(stub(behaviour).url)

    assert result is outcome.result
    assert time.monotonic() - begun < PATIENCE / 2


def test_an_endpoint_that_says_continue_for_ever_ends_in_time(stub):
    outcome = post(stub(answering(b"", again=b"HTTP/1.1 100 Continue\r\n\r\n")).url)

    # Python 3.14 takes no more than a hundred of them.
    assert outcome.result in (ForwardResult.TIMEOUT, ForwardResult.BROKEN_ANSWER)


@pytest.mark.parametrize("again", [b"a", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_endpoint_that_never_stops_sending_keeps_a_few_connections_at_most(stub, again):
    endpoint = stub(answering(b"", again=again, pause=0.02))
    sender = Endpoint(endpoint.url, TIMEOUT, "1")

    for _ in range(10):
        assert sender.post(PAGE).result is not ForwardResult.SUCCESS
        assert len(attempts()) <= 3

    endpoint.over.set()
    wait_until(lambda: not attempts())


def test_a_page_that_was_given_up_is_not_sent_later(stub, monkeypatch):
    resolves = threading.Event()
    resolve = socket.getaddrinfo

    def resolve_late(*arguments, **options):
        resolves.wait(PATIENCE)
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_late)
    endpoint = stub(OK)
    sender = Endpoint(endpoint.url, TIMEOUT, "1")
    assert ForwardResult.TIMEOUT is sender.post(b"old 1\n" * 4000).result
    resolves.set()
    wait_until(lambda: not attempts())

    assert ForwardResult.SUCCESS is Endpoint(endpoint.url, PATIENCE, "1").post(b"new 1\n").result
    assert b"new 1\n" == endpoint.requests.get(timeout=PATIENCE)[1]
    assert endpoint.requests.empty()


def test_an_endpoint_that_does_not_read_ends_in_time(stub):
    assert ForwardResult.TIMEOUT is post(stub(saying_nothing).url, b"a 1\n" * 8_000_000).result


def test_a_tls_handshake_that_drips_ends_in_time(stub):
    def drip(client: socket.socket, endpoint: StubEndpoint) -> None:
        client.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 kB begins
        while not endpoint.over.wait(0.02):
            client.sendall(b"\x02")

    url = stub(drip).url.replace("http:", "https:")
    outcome = post(url)

    assert outcome.result in (ForwardResult.TIMEOUT, ForwardResult.ERROR)


def test_no_endpoint_is_a_refused_connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert ForwardResult.REFUSED is post(f"http://127.0.0.1:{port}/").result


def test_a_listener_that_never_accepts_is_a_timeout():
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # fill its queue
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())

        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert ForwardResult.TIMEOUT is post(url).result


def test_a_name_that_does_not_resolve_is_unreachable(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    assert ForwardResult.UNREACHABLE is post("http://endpoint.invalid/").result


def test_a_resolver_that_does_not_answer_is_a_timeout_and_asked_a_few_times(monkeypatch):
    answers = threading.Event()
    asked = []

    def resolve(*arguments, **_):
        asked.append(arguments)
        answers.wait(PATIENCE)
        raise socket.gaierror(-3, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    endpoint = Endpoint("http://endpoint.example/", TIMEOUT, "1")
    for _ in range(6):
        assert endpoint.post(PAGE).result is ForwardResult.TIMEOUT
    wait_until(lambda: len(attempts()) == len(asked))
    assert len(asked) == 3
    answers.set()
    wait_until(lambda: not attempts())
    assert Endpoint("http://x.example/", PATIENCE, "1").post(PAGE).result is (
        ForwardResult.UNREACHABLE
    )


def test_waiting_for_a_name_can_be_cut_short(monkeypatch):
    answers, asked = threading.Event(), threading.Event()

    def resolve(*_, **__):
        asked.set()
        answers.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    endpoint = Endpoint("http://endpoint.example/", 600.0, "1")
    attempt = threading.Thread(target=endpoint.post, args=(PAGE,))
    attempt.start()
    assert asked.wait(PATIENCE)
    endpoint.abort()
    attempt.join(PATIENCE)
    assert not attempt.is_alive()
    answers.set()


def test_a_machine_that_has_no_thread_left_is_an_error(stub, monkeypatch):
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sender = Endpoint(stub(OK).url, PATIENCE, "1")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert ForwardResult.ERROR is sender.post(PAGE).result
    assert ForwardResult.SUCCESS is sender.post(PAGE).result


def test_a_page_is_not_sent_by_a_machine_that_slept_meanwhile(stub, monkeypatch):
    times = iter([0.0, 3600.0])
    monkeypatch.setattr(endpoint_module, "boot_time", lambda: next(times))
    endpoint = stub(OK)

    assert ForwardResult.TIMEOUT is post(endpoint.url, timeout=PATIENCE).result
    assert endpoint.requests.empty()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "nonsense"])
def test_an_unusable_url_is_an_error(url):
    assert ForwardResult.ERROR is post(url).result


def test_the_second_address_of_a_name_is_tried_when_the_first_refuses(stub, monkeypatch):
    endpoint = stub(OK)
    port = int(endpoint.url.split(":")[2].split("/")[0])
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        for host in ("127.9.9.9", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    assert ForwardResult.SUCCESS is post(f"http://endpoint:{port}/", timeout=PATIENCE).result


def test_a_redirect_is_not_followed(stub):
    elsewhere = stub(OK)
    answer = f"HTTP/1.1 307 x\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"

    assert ForwardResult.REDIRECT is post(stub(answering(answer.encode())).url).result
    assert elsewhere.requests.empty()


def test_nothing_is_taken_from_the_environment_or_kept_from_an_answer(stub, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    endpoint = stub(OK)
    sender = Endpoint(endpoint.url, PATIENCE, "1")
    results = [sender.post(PAGE).result for _ in range(2)]

    assert [ForwardResult.SUCCESS] * 2 == results
    for _ in range(2):
        head, _ = endpoint.requests.get(timeout=PATIENCE)
        assert "cookie" not in head.lower()
        assert "authorization" not in head.lower()


def test_an_attempt_can_be_cut_short(stub):
    began = threading.Event()

    def hang(client: socket.socket, endpoint: StubEndpoint) -> None:
        endpoint.read_request(client)
        began.set()
        endpoint.over.wait(PATIENCE)

    sender = Endpoint(stub(hang).url, 10 * PATIENCE, "1")
    attempt = threading.Thread(target=sender.post, args=(PAGE,))
    attempt.start()
    assert began.wait(PATIENCE)
    sender.abort()
    attempt.join(PATIENCE)

    assert not attempt.is_alive()


def test_nothing_is_posted_once_it_was_aborted(stub):
    """Whoever aborts cannot know whether an attempt is about to begin."""
    endpoint = stub(OK)
    sender = Endpoint(endpoint.url, PATIENCE, "1")
    sender.abort()

    assert sender.post(PAGE).result is not ForwardResult.SUCCESS
    assert endpoint.requests.empty()


def test_attempts_leave_neither_threads_nor_sockets_behind(stub):
    sender = Endpoint(stub(hanging_up).url, PATIENCE, "1")
    sender.post(PAGE)
    threads, sockets = threading.active_count(), open_sockets()
    for _ in range(30):
        sender.post(PAGE)

    wait_until(lambda: threading.active_count() <= threads and open_sockets() <= sockets)


def attempts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "forward attempt"]


def open_sockets() -> int:
    def is_socket(descriptor: Path) -> bool:
        try:
            return str(descriptor.readlink()).startswith("socket:")
        except OSError:
            return False

    return sum(map(is_socket, Path("/proc/self/fd").iterdir()))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
