"""How the machine's apt sources become those of a source package."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.cluster import debian
from dev.cluster.errors import PackagesMissing

DEB822 = """\
Types: deb
# a comment in the middle
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Architectures: amd64
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://packages.example/other
Suites: nodistro
Components: main
"""


def test_a_stanza_of_the_release_becomes_deb_src_of_main():
    (stanza,) = debian.source_stanzas(DEB822, "bookworm")

    assert stanza.splitlines() == [
        "Types: deb-src",
        "Uris: http://mirror.example/debian",
        "Suites: bookworm bookworm-updates",
        "Components: main",
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
    ]


def test_a_disabled_stanza_is_left_out():
    assert debian.source_stanzas("Enabled: no\n" + DEB822, "bookworm") == []


def test_a_key_written_into_the_stanza_keeps_its_lines():
    key = "Signed-By:\n -----BEGIN PGP\n .\n abc"
    text = f"Types: deb\nURIs: http://m/d\nSuites: bookworm\nComponents: main\n{key}\n"

    (stanza,) = debian.source_stanzas(text, "bookworm")

    assert "-----BEGIN PGP\n .\n abc" in stanza


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ("deb http://m/d bookworm main contrib", "deb-src http://m/d bookworm main"),
        ("deb [arch=amd64 signed-by=/k] http://m/d bookworm main",
         "deb-src [signed-by=/k] http://m/d bookworm main"),
        ("deb [arch=amd64] http://m/d bookworm-security main # why",
         "deb-src http://m/d bookworm-security main"),
    ],
)  # fmt: skip
def test_a_line_of_the_release_becomes_deb_src(line: str, source: str):
    assert debian.source_lines(line, "bookworm") == [source]


@pytest.mark.parametrize("line", ["# deb http://m/d bookworm main", "deb http://m/d trixie main"])
def test_other_lines_are_left_out(line: str):
    assert debian.source_lines(line, "bookworm") == []


def test_the_private_configuration_leaves_the_machines_own_alone(tmp_path: Path):
    etc, private = tmp_path / "etc", tmp_path / "private"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list").write_text("deb http://m/d bookworm main\n")
    (etc / "sources.list.d" / "debian.sources").write_text(DEB822)

    configuration = debian.write_private_configuration(private, "bookworm", etc)

    assert (private / "sources.list.d" / "source.list").read_text().startswith("deb-src http://m/d")
    assert "deb-src" in (private / "sources.list.d" / "source.sources").read_text()
    assert str(private / "lists") in configuration.read_text()
    assert (etc / "sources.list").read_text() == "deb http://m/d bookworm main\n"
    assert debian.mirror("bookworm", etc) == "http://m/d"


def test_without_any_mirror_of_the_release_the_user_is_told(tmp_path: Path):
    with pytest.raises(PackagesMissing, match="knows no mirror of Debian bookworm"):
        debian.write_private_configuration(tmp_path / "private", "bookworm", tmp_path)


def test_a_package_is_missing_when_its_witness_is(tmp_path: Path):
    wanted = {"a-shell": "sh", "no-program": "no-such-program", "no-file": f"{tmp_path}/nothing"}

    assert debian.missing(wanted) == ["no-program", "no-file"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian 12"\n', "bookworm"),
        ("ID=ubuntu\nVERSION_CODENAME=noble\n", ""),
    ],
)
def test_only_debian_has_a_codename(tmp_path: Path, text: str, name: str):
    (tmp_path / "os-release").write_text(text)

    assert debian.codename(tmp_path / "os-release") == name
