"""systemd's quoting: what is written is read back as the same words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.integration.looking.systemd import (
    command_line,
    environment_file,
    expanded,
    quoted,
)

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "\\": "\\", '"': '"'}
# What can stand in an argument vector: no NUL, and bytes that are no UTF-8 as surrogates.
WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.characters(
        min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]
    ),
    max_size=20,
)  # fmt: skip


def read_as_systemd(line: str) -> list[str]:
    """Split a line into words by the rules of systemd.syntax(7), then resolve specifiers."""
    words: list[str] = []
    position = 0
    while position < len(line):
        if line[position] == " ":
            position += 1
            continue
        word, position = _word(line, position)
        words.append(re.sub("%%", "%", word))
    return words


def _word(line: str, position: int) -> tuple[str, int]:
    raw = b""
    in_quotes = False
    while position < len(line) and (in_quotes or line[position] != " "):
        character = line[position]
        if character == '"':
            in_quotes = not in_quotes
        elif character == "\\":
            position += 1
            if line[position] == "x":
                raw += bytes([int(line[position + 1 : position + 3], 16)])
                position += 2
            else:
                raw += ESCAPES[line[position]].encode()
        else:
            assert in_quotes or character not in "';", "means something to systemd"
            raw += character.encode("utf-8", "surrogateescape")
        position += 1
    assert not in_quotes
    return raw.decode("utf-8", "surrogateescape"), position


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_a_command_line_is_read_back_as_the_same_words(words: list[str]) -> None:
    line = command_line(words)
    assert "\n" not in line
    assert words == read_as_systemd(line)


@given(WORDS)
def test_every_percent_sign_is_escaped(word: str) -> None:
    assert "" == re.sub("[^%]", "", quoted(word).replace("%%", ""))


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/usr/bin/docker", "/usr/bin/docker"),
        ("--format={{.ID}}", '"--format={{.ID}}"'),
        ("50%", '"50%%"'),
        ("${PORT}", '"${PORT}"'),
        ("$$", '"$$"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("C:\\x", '"C:\\\\x"'),
        ("it's", '"it\'s"'),
        ("", '""'),
        (";", '";"'),
        ("a;b", '"a;b"'),
        ("Grüße", '"Grüße"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_what_is_written(word: str, written: str) -> None:
    assert written == command_line([word])


def test_variables_are_put_in_as_systemd_does() -> None:
    variables = {"ONE": "a b", "EMPTY": "", "PORT": "9400"}
    words = ["$ONE", "$ONE", "$EMPTY", "${EMPTY}", "-a:${PORT}", "x$ONE", "$$ONE", "$UNSET"]
    assert ["$ONE", "a", "b", "", "-a:9400", "x$ONE", "$ONE"] == expanded(words, variables)


def test_a_file_of_variables_is_read() -> None:
    text = "\n".join(
        [
            "# A=comment", "; B=comment", "", "C=plain", " D = spaced ", 'E="quoted \\"x\\""',
            "F='single $x'", "G=con\\", "tinued", "no assignment", "H=a=b",
        ]
    )  # fmt: skip
    assert {
        "C": "plain", "D": "spaced", "E": 'quoted "x"', "F": "single $x", "G": "continued",
        "H": "a=b",
    } == environment_file(text)  # fmt: skip
