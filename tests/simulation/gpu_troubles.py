"""What can go wrong with GPUs: lost, cut anew, XIDs, values that no GPU has."""

from __future__ import annotations

from dataclasses import replace

from tests.simulation.engine_troubles import kill
from tests.simulation.tampering import VALUE_STATUSES
from tests.simulation.troubles import FIELDS, XID_CODES, Troubles

from dcgm_simulator.codes import EntityGroup, Sentinel, Status, sentinel
from dcgm_simulator.control import command_health
from dcgm_simulator.faults import Override
from dcgm_simulator.fields import XID
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity

ENERGY = 156
CUTS = ((), ("3g.40gb",), ("1g.10gb", "1g.10gb"), ("2g.20gb", "3g.40gb"), ("7g.80gb",))


def _gpu(troubles: Troubles, host: Host) -> int:
    return troubles.generator.randrange(host.machine.layout.gpus)


def _some_entity(troubles: Troubles, host: Host) -> Entity:
    machine = host.machine
    parts = [Entity(EntityGroup.GPU_I, n) for n in machine.entities(EntityGroup.GPU_I)]
    return troubles.generator.choice([Entity(EntityGroup.GPU, _gpu(troubles, host)), *parts])


def cut(troubles: Troubles) -> None:
    if host := troubles.engine.host:
        gpu, cut = _gpu(troubles, host), troubles.generator.choice(CUTS)
        troubles.tell(f"GPU {gpu} is cut into {list(cut)}")
        host.machine.cut(gpu, cut) if cut or gpu in host.machine.instances else None
        host.hardware.forget()
        host.cache.forget_missing()


def lose(troubles: Troubles) -> None:
    if host := troubles.engine.host:
        gpu = _gpu(troubles, host)
        troubles.tell(f"GPU {gpu} is lost")
        host.faults.lose(gpu, host.clock())
        troubles.engine.were_lost.add(gpu)
        troubles.later(troubles.some_time(), lambda: restore(troubles, gpu))


def restore(troubles: Troubles, gpu: int) -> None:
    if host := troubles.engine.host:
        troubles.tell(f"GPU {gpu} is back")
        host.faults.restore(gpu, host.clock())


def xid(troubles: Troubles) -> None:
    if host := troubles.engine.host:
        for _ in range(troubles.generator.choice((1, 1, 3))):
            entity, code = _some_entity(troubles, host), troubles.generator.choice(XID_CODES)
            troubles.tell(f"XID {code} on {EntityGroup(entity.group).name} {entity.id}")
            host.xids.report(entity, code, host.clock())


def kill_driver(troubles: Troubles) -> None:
    if host := troubles.engine.host:
        troubles.tell("XID 119: the engine asks the driver no more")
        times = host.xids.report(Entity(EntityGroup.GPU, 0), 119, host.clock())
        host.faults.kill_driver(times[-1])
        life = troubles.engine.life
        troubles.later(4 * troubles.interval, lambda: kill_if(troubles, life))


def kill_if(troubles: Troubles, life: int) -> None:
    if troubles.engine.life == life:
        kill(troubles)


def spoil(troubles: Troubles) -> None:
    if host := troubles.engine.host:
        if troubles.has_peaks and troubles.generator.random() < 0.5:
            _count_no_energy(troubles, host)
            return
        entity, field_id = _some_entity(troubles, host), troubles.generator.choice(FIELDS)
        known = host.cache.fields()[field_id]
        now = host.clock()
        override = troubles.generator.choice(
            (
                Override(now, status=troubles.generator.choice(VALUE_STATUSES)),
                Override(
                    now, value=sentinel(known.type, troubles.generator.choice(list(Sentinel)))
                ),
                Override(now, value="" if known.type == "s" else 7.0 if known.type == "d" else 7),
            )
        )
        # No engine makes XIDs up, nor does one that has some say that there are none.
        if field_id != XID or override.status not in (Status.OK, Status.NO_DATA):
            troubles.tell(f"{entity} answers {override.status or override.value!r} to {field_id}")
            host.faults.override(entity, field_id, override)
            troubles.later(troubles.some_time(), lambda: answer_again(troubles, entity, field_id))


def _count_no_energy(troubles: Troubles, host: Host) -> None:
    gpu = Entity(EntityGroup.GPU, _gpu(troubles, host))
    troubles.tell(f"GPU {gpu.id} counts no energy")
    value = sentinel("i", Sentinel.NOT_SUPPORTED)
    host.faults.override(gpu, ENERGY, Override(host.clock(), value=value))
    seconds = 6 * troubles.interval
    troubles.later(seconds, lambda: answer_again(troubles, gpu, ENERGY))


def answer_again(troubles: Troubles, entity: Entity, field_id: int) -> None:
    if host := troubles.engine.host:
        host.faults.release(entity, field_id, host.clock())


def profiling(troubles: Troubles) -> None:
    if host := troubles.engine.host:
        layout = host.machine.layout
        troubles.tell(f"profiling is {'away' if layout.profiling else 'back'}")
        host.machine.layout = replace(layout, profiling=not layout.profiling)


def health(troubles: Troubles) -> None:
    if host := troubles.engine.host:
        kind = troubles.generator.choice(("pass", "warn", "fail"))
        troubles.tell(f"health: {kind}")
        command_health(host, f"gpu:{_gpu(troubles, host)}", 16, kind, 1, "simulated")
