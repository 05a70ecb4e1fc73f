"""A handle to one engine: connect, call functions of the bindings, and translate errors.

What the engine can be asked is in connection.py. Every call goes through ``Handle._call`` or
``Handle._call_c``, which count it and raise DCGM's errors as ours.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from do_dcgm_exporter.dcgm.bindings import Bindings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.errors import (
    CallRefused,
    EngineError,
    EngineUnavailable,
    ReturnCode,
    VersionSkew,
    engine_error,
)
from do_dcgm_exporter.dcgm.versions import Versions, architecture_in, version_in

# Where a function or message that the engine does not understand leaves nothing to export.
# Any other call then fails alone: DCGM 4.7.1 beside an older release refuses single requests.
DECISIVE_FUNCTIONS = frozenset(
    {
        "dcgmConnect_v2",
        "dcgmConnect_v3",
        "dcgmGetAllDevices",
        "dcgmGetAllSupportedDevices",
        "dcgmGroupCreate",
        "dcgmGroupAddEntity",
        "dcgmFieldGroupCreate",
        "dcgmWatchFields",
        "dcgmEntitiesGetLatestValues",
    }
)

_Connected = TypeVar("_Connected", bound="Handle")


@dataclass(slots=True)
class Handle:
    """A live connection. Make one with ``connect``.

    Several threads may call at once, each for itself: libdcgm pairs answers with requests.
    ``architecture`` is that of the engine's machine as DCGM writes it, such as ``x86_64``,
    and empty if the engine does not say.
    """

    bindings: Bindings
    handle: Any
    count: CallCount
    versions: Versions = field(default_factory=Versions)
    architecture: str = ""

    @classmethod
    def connect(
        cls: type[_Connected],
        bindings: Bindings,
        address: EngineAddress,
        timeout: float,
        count: CallCount,
    ) -> _Connected:
        """Connect and prove that the connection works.

        ``dcgmConnect_v2`` can answer OK with a dead handle (DcgmApi.cpp), hence the probe.
        ``timeout`` (seconds) bounds a refused connection only. Raises EngineUnavailable,
        VersionSkew or NvmlNotLoaded.
        """
        client = version_in(text_of(bindings.agent.dcgmVersionInfo(), "rawBuildInfoString"))
        _check_address(address, bindings, Versions(client))
        engine = cls(bindings, None, count, Versions(client))
        try:
            engine.handle = engine._dial(address, int(timeout * 1000))
        except EngineError as error:
            raise EngineUnavailable(
                f"no engine answers at {address} ({error})", error.code
            ) from error
        try:
            engine._probe()
        except EngineError as error:
            engine.disconnect()
            error.versions = engine.versions
            raise
        return engine

    def _dial(self, address: EngineAddress, timeout: int) -> Any:
        """Connect within ``timeout`` (milliseconds) and return the handle."""
        agent, structs = self.bindings.agent, self.bindings.structs
        parameters = (
            structs.c_dcgmConnectV3Params_v1()
            if address.is_vsock
            else structs.c_dcgmConnectV2Params_v2()
        )
        parameters.persistAfterDisconnect = 0
        parameters.timeoutMs = timeout
        if address.is_vsock:
            with self._counted("dcgmConnect_v3"):
                return agent.dcgmConnect_v3(str(address), parameters)
        parameters.addressIsUnixSocket = 1 if address.socket_path else 0
        with self._counted("dcgmConnect_v2"):
            return agent.dcgmConnect_v2(address.socket_path or str(address), parameters)

    def disconnect(self) -> None:
        """End the connection; the engine drops its groups, field groups and watches.

        Calls that other threads are still waiting for fail at once.
        """
        try:
            self._call("dcgmDisconnect")
        except EngineError:
            pass  # a dead connection has nothing left to give back

    def _probe(self) -> None:
        told = self._engine_build()
        self.versions = Versions(self.versions.client, version_in(told))
        self.architecture = architecture_in(told)
        if self.versions.engine_release[0] not in (0, self.versions.client_major):
            raise VersionSkew(self.versions.remedy(), ReturnCode.VERSION_MISMATCH)
        self._call("dcgmGetAllSupportedDevices")

    def _engine_build(self) -> str:
        """Return the engine's build information; the bindings do not wrap this function."""
        structs = self.bindings.structs
        answer = structs.c_dcgmVersionInfo_v2()
        answer.version = structs.dcgmVersionInfo_version2
        with self._counted("dcgmHostengineVersionInfo"):
            ask = structs._dcgmGetFunctionPointer("dcgmHostengineVersionInfo")
            code = ask(self.handle, ctypes.byref(answer))
        if code == ReturnCode.CONNECTION_NOT_VALID:
            raise engine_error(code, "dead handle", "dcgmHostengineVersionInfo")
        return text_of(answer, "rawBuildInfoString") if code == ReturnCode.OK else ""

    def _call(self, function: str, *arguments: Any) -> Any:
        """Call ``function`` of the bindings on this connection."""
        call = getattr(self.bindings.agent, function, None)
        if call is None:
            raise CallRefused(f"these bindings have no {function}", ReturnCode.NOT_SUPPORTED)
        with self._counted(function):
            return call(self.handle, *arguments)

    def _call_c(self, function: str, *arguments: Any) -> None:
        """Call ``function`` of libdcgm itself, bypassing what the bindings do around it."""
        structs = self.bindings.structs
        with self._counted(function):
            status = structs._dcgmGetFunctionPointer(function)(self.handle, *arguments)
            structs._dcgmCheckReturn(status)

    @contextmanager
    def _counted(self, function: str) -> Iterator[None]:
        """Count a call, and raise DCGM's errors as ours."""
        self.count.begin()
        try:
            yield
        except self.bindings.structs.DCGMError as error:
            raise self._translated(error, function) from error
        finally:
            self.count.end()

    def _translated(self, error: Any, function: str) -> EngineError:
        ours = engine_error(int(error.value), str(error), function)
        if not isinstance(ours, VersionSkew):
            return ours
        if function in DECISIVE_FUNCTIONS:
            return VersionSkew(self.versions.remedy(), ours.code)
        return CallRefused(str(ours), ours.code)

    def _constant(self, name: str) -> int:
        return int(getattr(self.bindings.structs, name))


# The default of nv-hostengine is in /tmp.
_HIDDEN = (
    ", and the service, whose /tmp is its own (PrivateTmp=yes), sees it only elsewhere:"
    " start nv-hostengine with --domain-socket /run/nv-hostengine.socket and name that"
)


def _check_address(address: EngineAddress, bindings: Bindings, versions: Versions) -> None:
    if address.is_vsock and not hasattr(bindings.agent, "dcgmConnect_v3"):
        raise EngineUnavailable(
            f"DCGM {versions.client} cannot connect to {address}:"
            " vsock needs DCGM 4.5 or newer, here and where the engine runs"
        )
    if ":" in address.host and versions.client_major == 3:
        raise EngineUnavailable(
            f"DCGM {versions.client} cannot connect to an IPv6 address ({address}):"
            " use 127.0.0.1 or install DCGM 4"
        )
    path = Path(address.socket_path)
    if address.socket_path and path.parent.is_dir() and not os.access(path.parent, os.X_OK):
        raise EngineUnavailable(
            f"this user may not look into {path.parent} for the socket {path.name}:"
            " use TCP, or let the group of the service look into that directory"
        )
    if address.socket_path and not path.exists():
        raise EngineUnavailable(
            f"there is no socket at {path}: nv-hostengine listens there only if it is started"
            f" with --domain-socket {path}{_HIDDEN if path.is_relative_to('/tmp') else ''}"
        )
    if address.socket_path and not os.access(path, os.W_OK):
        raise EngineUnavailable(
            f"this user may not connect to the socket {path}:"
            " use TCP, or give the socket's group write permission"
        )


def text_of(structure: Any, name: str) -> str:
    """Decode a char array; the bindings' own access decodes strictly and may raise."""
    descriptor = getattr(type(structure), name)
    raw = ctypes.string_at(ctypes.addressof(structure) + descriptor.offset, descriptor.size)
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
