"""Entities of which there are no recordings: NvSwitches, their links, Grace CPUs.

The rows are as in the data files; fields that are not listed are a constant 0 or blank. The
numbers are plausible, not observed.
"""

from __future__ import annotations

from typing import Any

Row = list[Any]

SWITCH: dict[int, Row] = {
    701: ["i", 0, "between", 905, 915],
    702: ["i", 0, "constant", 120],
    703: ["i", 0, "constant", 2],
    704: ["i", 0, "constant", 30],
    705: ["i", 0, "between", 38, 61],
    706: ["i", 0, "between", 8, 11],
    707: ["i", 0, "between", 17, 22],
    858: ["i", 0, "between", 41, 52],
    859: ["i", 0, "constant", 105],
    860: ["i", 0, "constant", 110],
    861: ["i", 0, "counter", 4_000_000_000, 90_000_000],
    862: ["i", 0, "counter", 4_100_000_000, 92_000_000],
    863: ["i", 0, "identity", [0, 1, 2, 3]],
    867: ["i", 0, "identity", [5, 6, 7, 8]],
}

# 870: 2 is active, 3 would be an error.
LINK: dict[int, Row] = {
    780: ["i", 0, "counter", 60_000_000, 1_400_000],
    781: ["i", 0, "counter", 61_000_000, 1_450_000],
    870: ["i", 0, "constant", 2],
    871: ["i", 0, "constant", 1],
}

CPU: dict[int, Row] = {
    1110: ["d", 0, "between", 41.0, 58.0],
    1111: ["d", 0, "constant", 90.0],
    1112: ["d", 0, "constant", 95.0],
    1130: ["d", 0, "between", 95.0, 210.0],
    1131: ["d", 0, "constant", 250.0],
    1132: ["d", 0, "between", 18.0, 24.0],
    1133: ["d", 0, "between", 240.0, 480.0],
    1140: ["s", 0, "constant", "Nvidia"],
    1141: ["s", 0, "constant", "Grace (simulated)"],
}

CPU_CORE: dict[int, Row] = {
    1100: ["d", 0, "between", 0.05, 0.80],
    1101: ["d", 0, "between", 0.04, 0.62],
    1102: ["d", 0, "constant", 0.0],
    1103: ["d", 0, "between", 0.01, 0.15],
    1104: ["d", 0, "between", 0.0, 0.02],
    1120: ["i", 0, "between", 2_100_000, 3_300_000],
}
