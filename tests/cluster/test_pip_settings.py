"""The host's pip settings, as they reach an image's build."""

from __future__ import annotations

from pathlib import Path

from dev.images.pip_settings import PipSettings

LISTING = """\
:env:.cert='/etc/ssl/env.pem'
:env:.disable-pip-version-check='1'
global.cert='/etc/ssl/global.pem'
global.extra-index-url='file:///srv/index/simple\\nhttps://index.example/simple'
global.find-links='/srv/wheels https://wheels.example/'
install.index-url='https://pypi.example/simple'
"""


def test_what_decides_where_packages_come_from_is_kept():
    configuration = PipSettings.parse(LISTING).configuration().splitlines()

    assert configuration == [
        "[global]",
        "cert = /run/pip/certificates.pem",
        "index-url = https://pypi.example/simple",
        "extra-index-url = file:///srv/index/simple https://index.example/simple",
        "find-links = /srv/wheels https://wheels.example/",
    ]


def test_the_environment_wins_over_files():
    assert PipSettings.parse(LISTING).certificates == "/etc/ssl/env.pem"


def test_local_directories_are_mounted_and_of_an_index_its_parent(tmp_path: Path):
    arguments = PipSettings.parse(LISTING).build_arguments(tmp_path)

    assert arguments == [
        "--build-arg", "PIP_CONFIG_FILE=/run/pip/pip.conf",
        "--volume", f"{tmp_path}:/run/pip:ro",
        "--volume", "/srv/index:/srv/index:ro",
        "--volume", "/srv/wheels:/srv/wheels:ro",
    ]  # fmt: skip


def test_without_settings_the_build_gets_no_arguments(tmp_path: Path):
    assert (
        PipSettings.parse(":env:.disable-pip-version-check='1'\n").build_arguments(tmp_path) == []
    )


def test_the_mounted_folder_holds_the_certificates(tmp_path: Path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates")

    (tmp_path / "mounted").mkdir()
    PipSettings(certificates=str(bundle)).write(tmp_path / "mounted")

    assert (tmp_path / "mounted" / "certificates.pem").read_text() == "certificates"
    assert "certificates.pem" in (tmp_path / "mounted" / "pip.conf").read_text()
