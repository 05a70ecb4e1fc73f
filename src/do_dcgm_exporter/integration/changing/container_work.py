"""Put copies in the place of containers, and the originals back.

An original is stopped and renamed, never removed, so every step back is a step that can be
repeated. A copy carries the original's id as a label: whatever else has the name is
somebody's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from do_dcgm_exporter.integration.changing import container_copy
from do_dcgm_exporter.integration.changing.container_copy import CannotCopy
from do_dcgm_exporter.integration.changing.state import ContainerRecord
from do_dcgm_exporter.integration.changing.workshop import Level, Workshop
from do_dcgm_exporter.integration.exporter_arguments import collect_interval, serves_tls
from do_dcgm_exporter.integration.looking.commands import CommandFailed, run
from do_dcgm_exporter.integration.looking.containers import COPY_LABEL, Container, inspect_container
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.scrape import Served, scrape

# docker gives a container 10 s to stop; an image may have to be looked for.
_WORK_SECONDS = 120.0
_POLL_SECONDS = 0.5


class Containers:
    """Changes containers, one after the other."""

    def __init__(
        self,
        workshop: Workshop,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shop = workshop
        self._records = workshop.state.containers
        self._clock = clock
        self._sleep = sleep

    def recreate(self, container: Container) -> bool:
        """Put a copy in the place of a container; return whether it stays there.

        Raises CannotCopy.
        """
        copy = container_copy.run_command(container, self._shop.engine)
        record = ContainerRecord(
            container.engine,
            container.name,
            container.id,
            container_copy.kept_name(container.name),
            container_copy.restart_policy(container),
            container.running,
        )
        self._save(record)
        try:
            self._step_aside(record)
            run(*copy, timeout=_WORK_SECONDS)
            obstacle = self._wait(container)
        except CommandFailed as error:
            obstacle = str(error)
        if obstacle:
            self.put_back([record])
            self._shop.tell(
                Level.WARNING, f"container {container.name}: {obstacle}; the old one was put back"
            )
            return False
        self._save(replace(record, settled=True))
        self._shop.tell(
            Level.INFO,
            f"container {container.name}: is a client of {self._shop.engine} now;"
            f" the old one is kept as {record.kept_as}",
        )
        return True

    def put_back(self, records: Iterable[ContainerRecord]) -> bool:
        """Undo records; return whether all of them are undone."""
        undone = [self._put_one_back(record) for record in list(records)]
        return all(undone)

    def interrupted(self) -> list[ContainerRecord]:
        """Return what an earlier run did not finish."""
        return [record for record in self._records.values() if not record.settled]

    def _step_aside(self, record: ContainerRecord) -> None:
        run(record.engine, "stop", record.name, timeout=_WORK_SECONDS)
        if record.restart_policy != "no":
            run(record.engine, "update", "--restart=no", record.name, timeout=_WORK_SECONDS)
        run(record.engine, "rename", record.name, record.kept_as, timeout=_WORK_SECONDS)

    def _wait(self, container: Container) -> str:
        """Wait until the copy serves metrics as a client; return why it does not."""
        host, port = container_copy.new_address(container)
        arguments, environment = container.arguments, container.environment
        tls = serves_tls(arguments, environment)
        seconds = max(self._shop.shortest_wait, 2 * collect_interval(arguments, environment))
        end = self._clock() + seconds
        while True:
            copy = inspect_container(container.engine, container.name)
            if copy is None or not (copy.get("State") or {}).get("Running"):
                return f"its copy exits: {container.engine} logs {container.name}"
            served = scrape(host or "127.0.0.1", port, tls=tls)
            if served is Served.METRICS and self._is_client(str(copy.get("Id"))):
                return ""
            if self._clock() >= end:
                return f"its copy does not serve metrics as a client after {seconds:g} s"
            self._sleep(_POLL_SECONDS)

    def _is_client(self, identity: str) -> bool:
        found = scan(self._shop.host, self._shop.engine_port).dcgm
        return all(process.is_client for process in found if process.container == identity)

    def _put_one_back(self, record: ContainerRecord) -> bool:
        self._save(replace(record, settled=False))
        try:
            message = self._return_original(record)
        except CommandFailed as error:
            self._shop.tell(
                Level.WARNING, f"container {record.name}: the old one cannot be put back: {error}"
            )
            return False
        self._records.pop(_key(record), None)
        self._shop.save()
        if message:
            self._shop.tell(Level.WARNING, message)
        return True

    def _return_original(self, record: ContainerRecord) -> str:
        """Put the original back; return what a person has to know."""
        engine, name = record.engine, record.name
        original = inspect_container(engine, record.old_id)
        if original is None:
            return f"container {name}: the old one is gone, so nothing is put back"
        holder = inspect_container(engine, name)
        if holder is not None and holder.get("Id") != record.old_id:
            labels = (holder.get("Config") or {}).get("Labels") or {}
            if labels.get(COPY_LABEL) != record.old_id:
                return (
                    f"container {name}: this name is another one's now; the old one stays as"
                    f" {record.kept_as}"
                )
            run(engine, "rm", "--force", name, timeout=_WORK_SECONDS)
        if str(original.get("Name") or "").lstrip("/") != name:
            run(engine, "rename", record.kept_as, name, timeout=_WORK_SECONDS)
        if record.restart_policy != "no":
            policy = f"--restart={record.restart_policy}"
            run(engine, "update", policy, name, timeout=_WORK_SECONDS)
        if record.was_running:
            run(engine, "start", name, timeout=_WORK_SECONDS)
        return ""

    def _save(self, record: ContainerRecord) -> None:
        self._records[_key(record)] = record
        self._shop.save()


def _key(record: ContainerRecord) -> str:
    return f"{record.engine}:{record.name}"


def why_not_recreated(container: Container, engine: str) -> str:
    """Say why a container cannot be recreated, nothing if it can."""
    if container.maker:
        return f"{container.maker} makes it: it has to be changed there"
    if not container.running:
        return "it does not run"
    try:
        container_copy.commands(container, engine)
    except CannotCopy as error:
        return str(error)
    return ""
