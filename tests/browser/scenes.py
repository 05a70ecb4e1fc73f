"""What goes wrong on a droplet, and the first sentence that its status page must have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.droplet import Droplet, droplet
from tests.waiting import wait_until

from do_dcgm_exporter.forward.forwarder import Forwarder


@dataclass(frozen=True)
class Scene:
    """A machine, what happens to it, and a pattern for the resulting sentence."""

    happens: Callable[[Droplet], None]
    sentence: str
    scenario: str = "h100x8"
    options: Mapping[str, object] = field(default_factory=dict)

    @contextmanager
    def played(self, *, before: float = 60.0) -> Iterator[Droplet]:
        """The droplet, after ``before`` healthy seconds and what happened then."""
        with droplet(self.scenario, **self.options) as played:
            played.run(before)
            self.happens(played)
            yield played


def _controls(*commands: str) -> Callable[[Droplet], None]:
    """Send ``commands`` to the engine, then read again."""

    def happen(on: Droplet) -> None:
        for command in commands:
            on.control(*command.split())
        on.run(20)

    return happen


def _nothing(_: Droplet) -> None:
    pass


def _fail_a_check(on: Droplet) -> None:
    """Fail a health check; those are a minute apart, but a session's first is immediate."""
    on.control("health", "--entity", "gpu:2", "--system", "16", "fail")
    on.agent._close_session()
    on.run(20)


def _cut_all(on: Droplet) -> None:
    for gpu in range(8):
        on.control("mig", "--gpu", str(gpu), ",".join(["1g.10gb"] * 7))
    on.run(900)


def _fail_to_forward(on: Droplet) -> None:
    forwarder = Forwarder(
        on.settings.forward_url, 20.0, 5.0, on.publisher.publication, on.statistics, "test"
    )
    forwarder.start()
    on.at_close.callback(forwarder.stop)  # which takes its complaint back
    wait_until(lambda: on.statistics.complaint, "a failure of the forwarder")
    on.cycle()


def _lose_prometheus(on: Droplet) -> None:
    on.run(600, scraped_by="curl/8")


def _stop_sampling(on: Droplet) -> None:
    on.control("freeze", "150")
    on.run(80)


def _much(on: Droplet) -> None:
    """Several problems, for a picture."""
    on.run(600)
    on.control("xid", "--gpu", "5", "13")
    on.run(240)
    on.control("lose-gpu", "3")
    on.control("xid", "--gpu", "3", "79")
    on.control("set", "--entity", "gpu:6", "112", "0x44")
    on.control("set", "--entity", "gpu:6", "150", "90")
    on.run(60)


_ALL_IS_WELL = r"All is well: {} answers?, \d+ % busy( on average)?,( the hottest)? at \d+ °C\."

FAULTS: dict[str, Scene] = {
    "a GPU fell off the bus": Scene(
        _controls("lose-gpu 3", "xid --gpu 3 79"),
        r"GPU 3 fell off the bus \(XID 79\) \d+ seconds ago\.",
    ),
    "a GPU is lost without an XID": Scene(
        _controls("lose-gpu 3"), r"GPU 3 is lost to the driver \(GPU-[0-9a-f-]+\)\."
    ),
    "the driver hangs": Scene(
        _controls("xid119"),
        r"GPU 0 reported XID 119 \(GSP RPC Timeout\), and the engine gets no answer about any GPU"
        r" since: restart nvidia-dcgm\.",
    ),
    "heat slows a GPU down": Scene(
        _controls("set --entity gpu:6 112 0x48", "set --entity gpu:6 150 91"),
        r"GPU 6 is slowed down by heat \(hw_thermal\), at 91 °C of 90 °C\.",
    ),
    "a GPU is nearly too hot": Scene(
        _controls("set --entity gpu:2 150 87"),
        r"GPU 2 is close to the slowdown temperature, at 87 °C of 90 °C\.",
    ),
    "the power brake holds GPUs down": Scene(
        _controls("set --entity gpu:4 112 0x88", "set --entity gpu:5 112 0x88"),
        r"GPUs 4 and 5 are held down by the power brake of the machine \(hw_power_brake\)\.",
    ),
    "memory errors": Scene(
        _controls("set --entity gpu:1 311 2"),
        r"GPU 1 has had uncorrectable ECC errors since the driver was loaded"
        r" \(2 double bit errors\)\.",
    ),
    "a row cannot be remapped": Scene(
        _controls("set --entity gpu:7 395 1"), r"GPU 7 has failed to remap a memory row: .*\."
    ),
    "an NVLink is down": Scene(
        _controls("nvlink --gpu 1 --link 4 down", "nvlink --gpu 1 --link 7 down"),
        r"GPU 1 has NVLinks 4 and 7 down\.",
    ),
    "an NVLink had to recover": Scene(
        _controls("set --entity gpu:2 439 3"),
        r"GPU 2 has an NVLink that had to recover since the driver was loaded"
        r" \(3 recovery errors\)\.",
    ),
    "an uncontained error": Scene(
        _controls("xid --gpu 2 95"),
        r"GPU 2 reported XID 95 \(Uncontained ECC error\) \d+ seconds ago\.",
    ),
    "a program crashed": Scene(
        _controls("xid --gpu-instance 0 31"),
        r"GPU 0 instance \d+ reported XID 31 \(GPU memory page fault\) \d+ seconds ago\.",
        "h100x8-mig",
    ),
    "an NvSwitch reports an error": Scene(
        _controls("set --entity switch:1 856 12028"),
        r"NvSwitch 1 reported the fatal SXid 12028\.",
        "hgx",
    ),
    "a health check fails": Scene(
        _fail_a_check,
        r"GPU 2 failed DCGM's health check of MEM \(\w+\)\.",
        options={"counters": ("DCGM_EXP_GPU_HEALTH_STATUS, gauge, x",)},
    ),
    "no profiling": Scene(_nothing, r"No profiling metrics on GPU 0, 1: .*\.", "a100-no-prof"),
    "no GPUs": Scene(_nothing, r".*NVML.*\.", "no-nvml"),
    "the engine is gone": Scene(Droplet.lose_engine, r"No engine answers at 127\.0\.0\.1:\d+ .*\."),
    "the engine hangs": Scene(Droplet.hang, r"The engine has not answered for more than 20 s\."),
    "the two sides are of different releases": Scene(
        _nothing,
        r".*client library is 4\.6\.0 but the running engine is 3\.3\.9: restart nvidia-dcgm\.",
        options={"version": "3.3.9", "client": "4.6.0"},
    ),
    "the engine does not sample": Scene(
        _stop_sampling,
        r"GPUs 0 to 7 have no current temperature: the engine has not updated it for 60 s\.",
    ),
    "the endpoint is away": Scene(
        _fail_to_forward,
        r"Forwarding fails: the endpoint http://127\.0\.0\.1:9/\S* refuses"
        r" connections\.",
    ),
    "Prometheus is away": Scene(_lose_prometheus, r"Prometheus has not scraped for 10 minutes\."),
}

WELL: dict[str, Scene] = {
    "one GPU": Scene(_nothing, _ALL_IS_WELL.format("1 GPU"), "h100x1"),
    "eight GPUs": Scene(_nothing, _ALL_IS_WELL.format("8 GPUs")),
    "56 instances": Scene(_cut_all, _ALL_IS_WELL.format("8 GPUs"), "h100x8-mig"),
    "NvSwitches": Scene(_nothing, _ALL_IS_WELL.format("8 GPUs"), "hgx"),
    "Grace": Scene(_nothing, _ALL_IS_WELL.format("2 GPUs"), "grace"),
}

MUCH = Scene(_much, r"GPU 3 fell off the bus \(XID 79\) 1 minute ago\.")

SCENES = {**WELL, **FAULTS, "much": MUCH}
