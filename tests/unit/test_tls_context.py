"""From certificate files to what OpenSSL works with, and what is said of wrong ones."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from tests.certificates import Authority

from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.serve.access.tls_config import ClientAuth, TlsConfig, TlsVersion
from do_dcgm_exporter.serve.access.tls_context import has_allowed_name, make_context, read_material

ENCRYPTED = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiPUgUPAzPpqwICCAAw
-----END ENCRYPTED PRIVATE KEY-----
"""


def context(certificate: object, key: object, **more: object) -> ssl.SSLContext:
    config = TlsConfig(certificate, key, **more)
    return make_context(read_material(config, read_file))


def complaint(certificate: object, key: object, **more: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        context(certificate, key, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def pair(authority: Authority):
    return authority.server("context")


@pytest.fixture(scope="module")
def other(authority: Authority):
    return authority.server("other", curve="")


def test_only_good_suites_are_offered(pair):
    suites = {suite["name"] for suite in context(pair.certificate, pair.key).get_ciphers()}

    assert {
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    } == suites


def test_what_is_configured_is_what_openssl_is_told(pair):
    made = context(
        pair.certificate,
        pair.key,
        client_ca=pair.certificate,
        client_auth=ClientAuth.IF_GIVEN,
        min_version=TlsVersion.TLS12,
        max_version=TlsVersion.TLS12,
        cipher_suites=("ECDHE-ECDSA-AES128-SHA",),
        prefer_server_cipher_suites=False,
        curves=("secp384r1",),
    )

    assert made.minimum_version == made.maximum_version == ssl.TLSVersion.TLSv1_2
    assert made.verify_mode is ssl.CERT_OPTIONAL
    assert not made.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    names = {suite["name"] for suite in made.get_ciphers() if suite["protocol"] != "TLSv1.3"}
    assert {"ECDHE-ECDSA-AES128-SHA"} == names


def test_pem_may_be_given_as_it_is(pair):
    context(pair.certificate.read_bytes(), pair.key.read_bytes())


def test_a_chain_may_have_remarks(pair, authority, tmp_path):
    chain = tmp_path / "chain.pem"
    parts = ("Prüfling", pair.certificate.read_text(), authority.certificate.read_text())
    chain.write_text("\n".join(parts))

    context(chain, pair.key)


def test_a_missing_file_is_named(pair, tmp_path):
    nowhere = tmp_path / "nowhere.pem"

    assert f"cannot read the cert_file {nowhere}: No such file" in complaint(nowhere, pair.key)
    assert f"cannot read the key_file {nowhere}: No such" in complaint(pair.certificate, nowhere)


@pytest.mark.parametrize(
    "content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_named(pair, tmp_path, content):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text(content)
    expected = f"file {wrong}: it contains no certificate in PEM"

    assert f"cert_{expected}" == complaint(wrong, pair.key)
    more = {"client_ca": wrong, "client_auth": ClientAuth.REQUIRED}
    assert f"client_ca_{expected}" == complaint(pair.certificate, pair.key, **more)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("nonsense", "it contains no private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n", "cannot read the key"),
        (ENCRYPTED, "OpenSSL cannot read the key"),
    ],
)
def test_what_is_no_key_is_named_but_not_repeated(pair, tmp_path, content, expected):
    wrong = tmp_path / "wrong.key"
    wrong.write_text(content)
    message = complaint(pair.certificate, wrong)

    assert message.startswith(f"key_file {wrong}: ")
    assert expected in message
    assert "AA" not in message.replace(str(wrong), "")


def test_an_encrypted_key_asks_nobody_for_its_password(pair, tmp_path):
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", pair.key, "-out", locked, "-passout", "pass:x"],
        check=True,
    )

    assert "the key is encrypted" in complaint(pair.certificate, locked)


def test_a_key_of_another_certificate_is_refused(pair, other, authority):
    assert complaint(pair.certificate, other.key).endswith("does not belong to the certificate")
    third = authority.server("third")
    assert complaint(pair.certificate, third.key).endswith("does not belong to the certificate")


def test_a_pair_given_as_it_is_has_no_file_to_name(pair, other):
    message = complaint(pair.certificate.read_bytes(), other.key.read_bytes())

    assert "key: the key does not belong to the certificate" == message


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ({"a.example"}, True),
        ({"b.example"}, True),
        ({"10.0.0.1"}, True),
        ({"2001:db8::1"}, True),
        ({"2001:0DB8:0:0:0:0:0:1"}, True),
        ({"x@example.org"}, True),
        ({"spiffe://a/b"}, True),
        ({"c.example", "b.example"}, True),
        ({"A.example"}, False),
        ({"example"}, False),
        ({"*.example"}, False),
        ({"client"}, False),
        (set(), False),
    ],
)
def test_names_are_compared_as_they_are(allowed, expected):
    certificate = {
        "subject": ((("commonName", "client"),),),
        "subjectAltName": (
            ("DNS", "a.example"),
            ("DNS", "b.example"),
            ("IP Address", "10.0.0.1"),
            ("IP Address", "2001:DB8:0:0:0:0:0:1\n"),
            ("email", "x@example.org"),
            ("URI", "spiffe://a/b"),
        ),
    }

    assert expected is has_allowed_name(certificate, allowed)
    assert not has_allowed_name({}, allowed)


def test_what_has_been_read_is_alike_if_the_files_are(pair, other):
    config = TlsConfig(pair.certificate, pair.key)

    assert read_material(config, read_file) == read_material(config, read_file)
    another = TlsConfig(other.certificate, other.key)
    assert read_material(config, read_file) != read_material(another, read_file)
    assert "BEGIN" not in repr(read_material(config, read_file))
    assert Path(pair.key).read_text() not in repr(read_material(config, read_file))
