"""What can go wrong with the engine's process: it dies, hangs, refuses, or stops sampling."""

from __future__ import annotations

from functools import partial

from tests.simulation.engine import CALL_TIME, CallFault
from tests.simulation.ledger import LIFE_SIGN
from tests.simulation.tampering import CHANGES
from tests.simulation.troubles import FIELDS, Troubles

from dcgm_simulator.fields import XID
from dcgm_simulator.versions import VERSIONS
from dcgm_simulator.wire import Function
from do_dcgm_exporter.dcgm.side_call import HARDWARE_CHANGES

SIDE_FUNCTIONS = (
    Function.HEALTH_CHECK,
    Function.HEALTH_SET,
    Function.GET_NVLINK_LINK_STATUS,
    Function.GET_NVLINK_P2P_STATUS,
    Function.GET_GPU_INSTANCE_HIERARCHY,
    Function.GET_ENTITY_GROUP_ENTITIES,
)
"""Calls that only one source needs."""


def kill(troubles: Troubles) -> None:
    version = ""
    if troubles.generator.random() < 0.3:
        version = troubles.generator.choice(VERSIONS)
    troubles.tell("the engine is killed")
    troubles.engine.kill()
    troubles.later(troubles.some_time(), lambda: start(troubles, version))


def start(troubles: Troubles, version: str) -> None:
    troubles.tell(f"the engine starts {version}")
    troubles.engine.start(version)


def drop(troubles: Troubles) -> None:
    troubles.tell("the engine drops all connections")
    troubles.engine.drop()


def hang(troubles: Troubles) -> None:
    troubles.tell("the engine hangs")
    troubles.engine.hang()
    seconds = troubles.generator.choice((troubles.some_time(), troubles.some_time(), 70.0))
    troubles.later(seconds, partial(resume, troubles))


def resume(troubles: Troubles) -> None:
    troubles.tell("the engine goes on")
    troubles.engine.resume()


def refuse(troubles: Troubles) -> None:
    troubles.tell("the engine refuses connections")
    troubles.engine.refuses = True
    troubles.engine.drop()
    troubles.later(troubles.some_time(), partial(resume, troubles))


def slow(troubles: Troubles) -> None:
    troubles.engine.call_time = troubles.generator.choice((0.01, 0.1, 0.4, 1.5))
    troubles.tell(f"the engine takes {troubles.engine.call_time} s for a call")
    troubles.later(troubles.some_time(), partial(quick, troubles))


def quick(troubles: Troubles) -> None:
    troubles.tell("the engine is quick again")
    troubles.engine.call_time = CALL_TIME


def flake(troubles: Troubles) -> None:
    troubles.flaky = troubles.generator.choice((0.005, 0.05, 0.3, 1.0))
    troubles.later(troubles.some_time(), partial(steady, troubles))


def steady(troubles: Troubles) -> None:
    troubles.tell("calls are refused no more")
    troubles.flaky = 0.0


def refuse_one(troubles: Troubles) -> None:
    function = _side_function(troubles)
    status = troubles.generator.choice((-12, -3, -17))
    troubles.tell(f"{function.name.lower()} is refused with {status} for a while")
    _unwilling(troubles, function, CallFault(refused=status))


def slow_one(troubles: Troubles) -> None:
    function, seconds = _side_function(troubles), troubles.generator.choice((1.0, 45.0))
    troubles.tell(f"{function.name.lower()} takes {seconds} s for a while")
    _unwilling(troubles, function, CallFault(delay=seconds))


def _side_function(troubles: Troubles) -> Function:
    """Draw a function; where there are peaks or instances, often the one that they need."""
    host = troubles.engine.host
    if troubles.has_peaks and troubles.generator.random() < 0.3:
        return Function.GET_FIELD_SUMMARY
    if host is not None and host.machine.instances and troubles.generator.random() < 0.5:
        return Function.GET_GPU_INSTANCE_HIERARCHY
    return troubles.generator.choice(SIDE_FUNCTIONS)


def _unwilling(troubles: Troubles, function: Function, fault: CallFault) -> None:
    troubles.unwilling[function] = fault

    def willing_again() -> None:
        troubles.tell(f"{function.name.lower()} is answered again")
        troubles.unwilling.pop(function, None)

    troubles.later(HARDWARE_CHANGES + troubles.some_time(), willing_again)


def garble(troubles: Troubles) -> None:
    troubles.tampering = (
        troubles.generator.choice(list(CHANGES)),
        troubles.generator.choice((0.1, 1.0)),
    )
    troubles.later(troubles.some_time(), partial(clear, troubles))


def clear(troubles: Troubles) -> None:
    troubles.tampering = None


def freeze(troubles: Troubles) -> None:
    fields = [field for field in FIELDS if field != XID]
    field_id = troubles.generator.choice([*fields, *[LIFE_SIGN] * 5])
    troubles.tell(f"field {field_id} is sampled no more")
    troubles.engine.hold(field_id)
    seconds = troubles.generator.choice((3 * troubles.some_time(), 6 * troubles.interval))
    troubles.later(seconds, lambda: thaw(troubles, field_id))


def thaw(troubles: Troubles, field_id: int) -> None:
    troubles.tell(f"field {field_id} is sampled again")
    troubles.engine.stuck.pop(field_id, None)


def stall(troubles: Troubles) -> None:
    stuck = troubles.generator.random() < 0.5
    troubles.tell(f"nothing is sampled any more{', the driver is stuck' if stuck else ''}")
    troubles.engine.stall(driver_is_stuck=stuck)
    troubles.later(3 * troubles.some_time(), partial(go_on, troubles))


def go_on(troubles: Troubles) -> None:
    troubles.tell("everything is sampled again")
    troubles.engine.go_on()
