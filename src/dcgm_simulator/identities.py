"""Identities by seed, so that each machine of a simulated fleet has its own."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

BUSES = range(1, 0x100)


def seeded(recording: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a machine's data with other UUIDs, serial numbers and bus ids, wherever they are.

    Those of seed 0 are the recorded ones.
    """
    if not seed:
        return recording
    known = [attributes["identifiers"] for attributes in recording["attributes"]]
    generator = random.Random(f"{seed}/identities")
    buses = sorted(generator.sample(BUSES, len(known)))
    text = json.dumps(recording)
    for own, bus in zip(known, buses, strict=True):
        made = uuid.UUID(int=generator.getrandbits(128), version=4)
        text = text.replace(own["uuid"], f"GPU-{made}")
        text = text.replace(f'"{own["serial"]}"', f'"{generator.randrange(10**12, 10**13)}"')
        text = text.replace(f'"{own["pciBusId"]}"', f'"seeded 00000000:{bus:02X}:00.0"')
    result: dict[str, Any] = json.loads(text.replace('"seeded ', '"'))
    return result


def instance_uuid(seed: int, gpu: int, nvml_id: int) -> str:
    """Return the UUID of a MIG instance; that of seed 0 is in the style of the recordings."""
    if not seed:
        return f"MIG-6b6b{gpu:04x}-4444-5555-{nvml_id:04d}-{gpu:012d}"
    generator = random.Random(f"{seed}/instance/{gpu}/{nvml_id}")
    return f"MIG-{uuid.UUID(int=generator.getrandbits(128), version=4)}"
