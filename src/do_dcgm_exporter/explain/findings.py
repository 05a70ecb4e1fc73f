"""Diagnose everything that is wrong, anywhere on the data path."""

from __future__ import annotations

from collections.abc import Iterator

from do_dcgm_exporter.collect.machine import GPU_TEMPERATURE
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.data_path import broken_ends
from do_dcgm_exporter.explain.device_findings import device_findings, tells_stale_devices
from do_dcgm_exporter.explain.diagnosis import Diagnosis, Finding, Severity, diagnose
from do_dcgm_exporter.explain.health_findings import health_findings
from do_dcgm_exporter.explain.view import View


def diagnosis_of(view: View) -> Diagnosis:
    """Say what is wrong at this moment, or that all is well."""
    return diagnose(_findings(view), view.topology, _all_is_well(view))


def _findings(view: View) -> Iterator[Finding]:
    health = view.page.health
    if view.status.result is None:
        severity = Severity.WARNING if health.is_starting else Severity.FAULT
        yield Finding(severity, health.reason)
    yield from device_findings(view)
    yield from health_findings(view)
    if view.status.result is not None:
        if not health.healthy and not view.machine.lost_gpus:
            yield Finding(Severity.FAULT, health.reason)
        yield from _stale_elsewhere(view)
    web_config = [health.web_config] * bool(health.web_config)
    missing = view.machine.roster.missing
    for sentence in (*health.notes, *web_config, *missing, *broken_ends(view)):
        yield Finding(Severity.WARNING, sentence)
    if view.status.reload_refused:
        yield Finding(
            Severity.WARNING,
            "the configuration of the last reload was refused, the previous one is still in force"
            " (do-dcgm-exporter --check-config)",
        )


def _stale_elsewhere(view: View) -> Iterator[Finding]:
    """Report stale values that no finding about a device mentions."""
    result = view.status.result
    stale = result.dropped.get(Absence.STALE, 0) if result else 0
    if stale and not tells_stale_devices(view):
        values = f"{words.counted(stale, 'value')} {'is' if stale == 1 else 'are'} left out"
        reason = f"the engine has not updated them for {view.settings.stale_after:g} s"
        yield Finding(Severity.WARNING, f"{values}, because {reason}")


def _all_is_well(view: View) -> str:
    machine = view.machine
    gpus = machine.roster.gpus
    text = f"All is well: {words.counted(len(gpus), 'GPU')}"
    text += " answers" if len(gpus) == 1 else " answer"
    busy = [machine.utilization(device) for device in machine.roster.devices]
    known = [value for value in busy if value is not None]
    if known:
        average = " on average" if len(known) > 1 else ""
        text += f", {sum(known) / len(known):.0f} % busy{average}"
    heat = [machine.number_of_gpu(gpu, GPU_TEMPERATURE) for gpu in gpus]
    hottest = max((value for value in heat if value is not None), default=None)
    if hottest is not None:
        text += f", {'the hottest ' if len(gpus) > 1 else ''}at {hottest:.0f} °C"
    return f"{text}."
