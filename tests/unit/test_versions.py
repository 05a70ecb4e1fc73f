"""Releases of DCGM: reading them, comparing them, what to do when they do not fit."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.dcgm.versions import Versions, release, version_in


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("4.5.3", (4, 5, 3)), ("3.3.9", (3, 3, 9)), ("4", (4,)), ("", (0,)), ("4.6.", (4, 6))],
)
def test_a_release_is_numbers_that_compare(text: str, numbers: tuple[int, ...]) -> None:
    assert numbers == release(text)


@pytest.mark.parametrize(
    ("information", "version"),
    [
        ("version:4.5.3;arch:x86_64;buildtype:Release", "4.5.3"),
        ("arch:x86_64;version:3.3.9", "3.3.9"),
        ("nothing of the kind", ""),
        ("", ""),
    ],
)
def test_a_release_is_found_in_the_build_information(information: str, version: str) -> None:
    assert version == version_in(information)


def test_an_engine_that_does_not_tell_its_release_is_taken_for_the_clients() -> None:
    assert (4, 2, 3) == Versions("4.2.3").engine_release
    assert (4, 5, 3) == Versions("4.2.3", "4.5.3").engine_release


@pytest.mark.parametrize(("client", "major"), [("3.3.9", 3), ("4.6.0", 4), ("", 0)])
def test_the_major_release_of_the_client(client: str, major: int) -> None:
    assert major == Versions(client).client_major


@pytest.mark.parametrize(
    ("client", "engine", "restart"),
    [
        ("4.6.0", "4.5.3", "nvidia-dcgm"),
        ("4.6.0", "3.3.9", "nvidia-dcgm"),
        ("3.3.9", "4.2.3", "do-dcgm-exporter"),
        ("4.5.3", "4.10.0", "do-dcgm-exporter"),
    ],
)
def test_the_side_that_runs_the_older_release_has_to_be_restarted(
    client: str, engine: str, restart: str
) -> None:
    remedy = Versions(client, engine).remedy()
    assert f"is {client} but the running engine is {engine}: restart {restart}" in remedy


def test_an_unknown_release_is_said_to_be_unknown() -> None:
    expected = (
        "the DCGM client library is of an unknown release but the running engine is of another"
        " one: restart nvidia-dcgm"
    )
    assert expected == Versions().remedy()


def test_two_sides_of_one_release_are_named_as_one() -> None:
    remedy = Versions("4.6.0", "4.6.0").remedy()
    assert "are both 4.6.0 and do not understand each other" in remedy
