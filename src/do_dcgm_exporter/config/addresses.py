"""Parse the addresses in options: where to listen, where the engine is, where pages go.

Each function raises ConfigurationError with what is wrong and what to write instead; the
caller adds which option it was.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.errors import ConfigurationError

DEFAULT_LISTEN_PORT = 9401
DEFAULT_ENGINE_PORT = 5555

# sockaddr_un.sun_path has 108 bytes, the last of them a NUL: unix(7).
_LONGEST_SOCKET_PATH = 107

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?"
)
# Both are numbers of 32 bits: vsock(7).
_CONTEXT_AND_PORT = re.compile(r"vsock://(?P<context>[0-9]{1,10})(?::(?P<port>[0-9]{1,10}))?")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")

# With these, two parsers may find different hosts in one URL.
_AMBIGUOUS = frozenset("\\@\t\r\n ")


def parse_listen_address(text: str) -> ListenAddress:
    """Parse ``:9401``, ``9401``, ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``.

    Port 0 lets the system choose one.
    """
    if re.fullmatch("[0-9]{1,5}", text):
        text = f":{text}"
    host, port = _host_and_port(text, f":{DEFAULT_LISTEN_PORT}, 127.0.0.1:{DEFAULT_LISTEN_PORT}")
    if not host and port is None:
        raise ConfigurationError(f"the address is empty; write for example :{DEFAULT_LISTEN_PORT}")
    return ListenAddress(host, DEFAULT_LISTEN_PORT if port is None else port)


def parse_engine_address(text: str) -> EngineAddress:
    """Parse ``HOST[:PORT]`` or ``[IPV6][:PORT]``, both also after ``tcp://``, or another way.

    That is ``unix:///PATH`` or ``vsock://CID[:PORT]``.
    """
    if text.startswith(("unix:", "/")):
        return EngineAddress(socket_path=_socket_path(text))
    if text.startswith("vsock:"):
        return _vsock_address(text)
    example = f"localhost:{DEFAULT_ENGINE_PORT}"
    host, port = _host_and_port(text.removeprefix("tcp://"), f"{example} or unix:///run/dcgm.sock")
    if not host:
        raise ConfigurationError(f"{text!r} names no host; write for example {example}")
    if port == 0:
        raise ConfigurationError("port 0 cannot be connected to; ports go from 1 to 65535")
    return EngineAddress(host, DEFAULT_ENGINE_PORT if port is None else port)


def parse_forward_url(text: str) -> str:
    """Check that ``text`` is an http or https URL with a host, and return it.

    Complaints do not repeat it: it may hold a password.
    """
    example = "write for example http://169.254.169.254:80/v1/gpu_metrics"
    if not re.fullmatch(r"[!-\[\]-~]+", text):
        raise ConfigurationError(f"it contains characters that a URL cannot have; {example}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"this is not a URL; {example}") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"the URL does not begin with http:// or https://; {example}")
    if not parts.hostname or port == 0:
        raise ConfigurationError(f"the URL lacks a host or has port 0; {example}")
    return text


def without_secrets(text: str) -> str:
    """Return ``text`` without the users and passwords of URLs, fit to be shown."""
    return re.sub(r"//[^/\s]*@|//\S*@", "//", text)


def is_loopback_url(url: str) -> bool:
    """Return whether ``url`` can only lead to this host: "localhost" or a loopback address.

    Nothing is looked up, and a URL that can be read in two ways is not loopback.
    """
    if _AMBIGUOUS & set(url):
        return False
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _host_and_port(text: str, examples: str) -> tuple[str, int | None]:
    """Split an address; a host that is not given is empty, a port None."""
    if _is_ipv6(text):
        raise ConfigurationError(f"an IPv6 address needs brackets: write [{text}]:PORT")
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} is not HOST:PORT; write for example {examples}")
    host = match["host"] or ""
    if match["ipv6"] is not None:
        host = match["ipv6"]
        if not _is_ipv6(host):
            raise ConfigurationError(f"{host!r} in brackets is not an IPv6 address")
    elif host and not _HOST_NAME.fullmatch(host):
        raise ConfigurationError(f"{host!r} is not a host name; write for example {examples}")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and port > 65535:
        raise ConfigurationError(f"port {port} is too high; ports go up to 65535")
    return host, port


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _vsock_address(text: str) -> EngineAddress:
    match = _CONTEXT_AND_PORT.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"{text!r} is not vsock://CID:PORT with two numbers;"
            f" write for example vsock://3:{DEFAULT_ENGINE_PORT}"
        )
    port = int(match["port"] or DEFAULT_ENGINE_PORT)
    return EngineAddress(match["context"], port, is_vsock=True)


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix://").removeprefix("unix:")
    if not path.startswith("/") or "\0" in path:
        raise ConfigurationError(
            f"{text!r} has no absolute path; write for example unix:///run/dcgm.sock"
        )
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"the path of a unix socket has at most {_LONGEST_SOCKET_PATH} bytes"
        )
    return path
