"""Remember which units would not be clients, so that they are not tried at every boot."""

from __future__ import annotations

from do_dcgm_exporter.integration.changing.files import write_file
from do_dcgm_exporter.integration.deciding.record import Refusal, as_text
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.our_files import REFUSED


def remember(host: Host, unit: str, refusal: Refusal) -> None:
    """Write a refusal down, if the disk takes it."""
    try:
        write_file(host.path(REFUSED / unit), as_text(refusal))
    except OSError:
        pass  # it costs the unit one more attempt


def forget(host: Host, unit: str) -> None:
    """Remove the refusal of a unit, if there is one."""
    try:
        host.path(REFUSED / unit).unlink(missing_ok=True)
    except OSError:
        pass  # it is wrong about nothing but whether to try again
