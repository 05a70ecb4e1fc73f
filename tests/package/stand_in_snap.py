#!/usr/bin/python3 -IB
"""Stands in for the snap command, with the snap dcgm installed: an engine and an exporter.

It logs each command it gets, one JSON list per line. Its services are units like snapd's;
their settings and states can be read and changed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

HOME = Path("/var/log/stand-in/snap")
ASKED = HOME / "asked"
SETTINGS = HOME / "settings.json"
DEFAULTS = {"nv-hostengine-port": 5555, "dcgm-exporter-address": ":9400"}
SERVICES = ("nv-hostengine", "dcgm-exporter")


def settings() -> dict:
    return DEFAULTS | (json.loads(SETTINGS.read_text()) if SETTINGS.exists() else {})


def state(service: str, question: str) -> bool:
    command = ["systemctl", "--quiet", question, f"snap.dcgm.{service}.service"]
    return subprocess.run(command, check=False).returncode == 0


def show_services() -> None:
    print("Service             Startup   Current   Notes")
    for service in SERVICES:
        startup = "enabled" if state(service, "is-enabled") else "disabled"
        current = "active" if state(service, "is-active") else "inactive"
        print(f"dcgm.{service}  {startup}  {current}  -")


def get(arguments: list) -> None:
    keys = [argument for argument in arguments if not argument.startswith("-")][1:]
    found = settings() if not keys else {key: settings().get(key) for key in keys}
    if "-d" in arguments:
        print(json.dumps(found, indent=4))
        return
    if None in found.values():
        sys.exit(f'error: snap "dcgm" has no "{keys[0]}" configuration option')
    print("\n".join(str(value) for value in found.values()))


def change(arguments: list) -> None:
    _, *pairs = arguments
    changed = settings()
    for pair in pairs:
        key, _, value = pair.partition("=")
        changed[key.rstrip("!")] = int(value) if value.isdigit() else value
    SETTINGS.write_text(json.dumps(changed))
    for service in SERVICES:
        if state(service, "is-active"):
            subprocess.run(["systemctl", "restart", f"snap.dcgm.{service}.service"], check=False)


def control(verb: str, arguments: list) -> None:
    """Start or stop, and enable or disable, services or the whole snap."""
    named = [argument for argument in arguments if not argument.startswith("-")]
    services = [name.partition(".")[2] for name in named if "." in name] or SERVICES
    units = [f"snap.dcgm.{service}.service" for service in services]
    for flag, action in (("--enable", "enable"), ("--disable", "disable")):
        if flag in arguments:
            subprocess.run(["systemctl", "--quiet", action, *units], check=True)
    subprocess.run(["systemctl", verb, *units], check=True)


def run(service: str) -> None:
    port = settings()["nv-hostengine-port"]
    if service == "nv-hostengine":
        os.execv("/usr/bin/nv-hostengine", ["nv-hostengine", "-n", "-p", str(port)])
    address = settings()["dcgm-exporter-address"]
    command = ["dcgm-exporter", "-r", f"localhost:{port}", "-a", address]
    os.execv("/usr/bin/dcgm-exporter", command)


def main() -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    verb, *rest = sys.argv[1:] or ["help"]
    if verb == "run":
        run(rest[0].partition(".")[2])
    with ASKED.open("a") as asked:
        asked.write(json.dumps(sys.argv[1:]) + "\n")
    if verb == "list":
        print("Name  Version  Rev  Tracking       Publisher   Notes")
        print("dcgm  4.5.2    20   latest/stable  canonical✓  -")
    elif verb == "services":
        show_services()
    elif verb == "get":
        get(rest)
    elif verb == "set":
        change(rest)
    elif verb in ("start", "stop", "restart"):
        control(verb, rest)
    else:
        sys.exit(f"error: unknown command {verb}")


if __name__ == "__main__":
    main()
