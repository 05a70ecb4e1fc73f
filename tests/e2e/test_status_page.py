"""The status page of the running program, as a client gets it."""

from __future__ import annotations

import re

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.endpoint import Endpoint, answering
from tests.e2e.exporter import Exporter
from tests.waiting import wait_until

from dcgm_simulator.process import SimulatedEngine


def headline(exporter: Exporter) -> str:
    """The first sentence."""
    found = re.search("<h1>(.*?)</h1>", exporter.get("/").text)
    assert found is not None
    return found[1]


def wait_for_headline(exporter: Exporter, pattern: str) -> None:
    wait_until(
        lambda: re.fullmatch(pattern, headline(exporter)) is not None, f"a headline {pattern!r}"
    )


def test_it_tells_of_a_loss_of_an_outage_and_that_all_is_well_again(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    exporter = stage.exporter(engine)
    wait_for_headline(exporter, r"All is well: 8 GPUs answer, .*")
    engine.control("lose-gpu", "3")
    engine.control("xid", "--gpu", "3", "79")
    wait_for_headline(exporter, r"GPU 3 fell off the bus \(XID 79\) .*")
    engine.kill()
    wait_for_headline(exporter, r"No engine answers at .*")
    assert "GPU has fallen off the bus" in exporter.get("/").text
    engine.restart()
    # The engine was started anew and does not know the XID any more, but the page does.
    wait_for_headline(exporter, r"GPU 3 reported XID 79 \(GPU has fallen off the bus\) .*")


def test_a_hung_engine_keeps_nobody_waiting(exporter: Exporter, engine: SimulatedEngine) -> None:
    exporter.wait_until_up()
    engine.suspend()
    wait_for_headline(exporter, r"The engine has not answered for more than 2 s\.")
    assert exporter.get("/").status == 200  # nothing but resume() ends the call that hangs
    engine.resume()
    wait_for_headline(exporter, r"All is well: 1 GPU answers, .*")


def test_it_tells_who_takes_the_data(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    exporter = stage.exporter(
        engine, forward="true", forward_url=endpoint.url, forward_interval=300
    )
    exporter.wait_until_up()
    exporter.get(headers={"User-Agent": "Prometheus/2.53.0"})
    endpoint.wait_for_posts(1)
    wait_until(lambda: "✓ sent " in exporter.get("/").text, "the endpoint's joint")
    assert "✓ scraped" in exporter.get("/").text
    endpoint.behaviour = answering("503 Busy")
    wait_for_headline(exporter, r"Forwarding fails: the endpoint .* answered 503\.")


def test_it_is_switched_off_and_on_by_a_reload(exporter: Exporter) -> None:
    exporter.wait_until_up()
    exporter.reload(status_page="false")
    page = exporter.get("/")
    assert "GPU" not in page.text
    assert 'href="metrics"' in page.text
    assert "Refresh" not in page.headers
    assert exporter.get("/paused").status == 404
    exporter.reload(status_page="true")
    wait_for_headline(exporter, r"All is well: .*")
    assert exporter.get("/paused").status == 200


def test_looking_asks_the_engine_nothing(stage: Stage, engine: SimulatedEngine) -> None:
    exporter = stage.exporter(engine, collect_interval=3_600_000)
    wait_until(lambda: exporter.has("DCGM_FI_PROF_SM_ACTIVE"), "the last cycle for an hour")
    before = engine.control("status")["calls"]
    for _ in range(20):
        assert exporter.get("/").status == 200
    assert engine.control("status")["calls"] == before


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_it_is_small(stage: Stage, coding: str) -> None:
    engine = stage.engine("h100x8-mig")
    exporter = stage.exporter(engine)
    for gpu in range(8):
        engine.control("mig", "--gpu", str(gpu), ",".join(["1g.10gb"] * 7))
    wait_until(lambda: exporter.get("/").text.count('class="part ') == 56, "56 instances")
    answer = exporter.get("/", headers={"Accept-Encoding": coding})
    assert len(answer.body) < {"gzip": 100_000, "identity": 300_000}[coding]
    assert exporter.get("/", method="HEAD").body == b""
