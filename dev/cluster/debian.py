"""Debian packages: installs what is missing, and fetches a source package.

Called by the Kubernetes build and by the local cluster. A source package needs a deb-src entry,
which machines seldom have: it gets one in a private apt configuration derived from the machine's
own sources. The machine's own configuration is never changed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dev.cluster.errors import PackagesMissing
from dev.cluster.paths import cache_dir
from dev.progress import step

SOURCES_DIR = Path("/etc/apt")


def codename(os_release: Path = Path("/etc/os-release")) -> str:
    """'bookworm' on Debian 12; empty where this is no Debian."""
    if not os_release.is_file():
        return ""
    fields = dict(line.split("=", 1) for line in os_release.read_text().splitlines() if "=" in line)
    if fields.get("ID", "").strip('"') != "debian":
        return ""
    return fields.get("VERSION_CODENAME", "").strip('"')


def missing(packages: Mapping[str, str]) -> list[str]:
    """Names of the packages whose witness (a program, or a path) is not on this machine."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [
        name
        for name, witness in packages.items()
        if not (Path(witness).exists() if "/" in witness else shutil.which(witness, path=path))
    ]


def install(packages: Mapping[str, str]) -> None:
    """Installs the packages whose witness is missing; never removes another one for them."""
    with _alone():
        _install(missing(packages))


@contextmanager
def _alone() -> Iterator[None]:
    """Lets one of our processes use apt at a time: its own lock does not cover `update`."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(wanted: list[str]) -> None:
    if not wanted:
        return
    listed = " ".join(wanted)
    if os.geteuid() != 0:
        raise PackagesMissing(
            f"Debian packages are missing: run `sudo apt-get install {listed}` and try again."
        )
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Somebody else may be installing something at this moment: apt waits for it.
    flags = ["-y", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=300"]
    with step(f"installing {listed}", 15 + 5 * len(wanted)):
        for command in (["update", "-q"], ["install", "-q", *flags, *wanted]):
            done = subprocess.run(
                ["apt-get", *command], env=environ, capture_output=True, text=True, check=False
            )
            if done.returncode != 0 and command[0] == "install":
                reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
                raise PackagesMissing(
                    f"apt-get could not install {listed}: {' '.join(reason)} "
                    "Install them by hand and try again."
                )


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """The stanzas of a deb822 file: field name in lower case -> value, continuations joined."""
    fields: dict[str, str] = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t" and last:
            fields[last] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            last = name.strip().lower()
            fields[last] = value.strip()


def source_stanzas(text: str, release: str) -> list[str]:
    """deb822 `.sources` text -> its stanzas for `release` and its updates, as `Types: deb-src`."""
    kept = []
    for fields in _stanzas(text):
        suites = [s for s in fields.get("suites", "").split() if _belongs(s, release)]
        off = fields.get("enabled", "yes").lower() == "no"
        if not suites or off or "components" not in fields:
            continue
        changed = {"types": "deb-src", "suites": " ".join(suites), "components": "main"}
        source = {name: v for name, v in (fields | changed).items() if name != "architectures"}
        kept.append("\n".join(f"{name.title()}: {value}" for name, value in source.items()))
    return kept


_ONE_LINE = re.compile(r"^\s*deb(?:-src)?\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)$")


def source_lines(text: str, release: str) -> list[str]:
    """One-line `sources.list` text -> its deb-src lines for `release` and its updates."""
    kept = []
    for line in text.splitlines():
        found = _ONE_LINE.match(line.split("#", 1)[0])
        if not found or not _belongs(found[3], release):
            continue
        options = [o for o in (found[1] or "").split() if not o.startswith("arch=")]
        prefix = f"deb-src [{' '.join(options)}]" if options else "deb-src"
        entry = f"{prefix} {found[2]} {found[3]} main"
        if entry not in kept:
            kept.append(entry)
    return kept


def _belongs(suite: str, release: str) -> bool:
    return suite in (release, f"{release}-updates", f"{release}-security")


def _machine_sources(etc: Path) -> Iterable[Path]:
    parts = etc / "sources.list.d"
    return [etc / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]


def write_private_configuration(directory: Path, release: str, etc: Path = SOURCES_DIR) -> Path:
    """Makes an apt configuration with the machine's own mirrors as deb-src; returns its path.

    Whatever else the machine has set (proxies, certificates, checks) stays in force.
    """
    stanzas: list[str] = []
    lines: list[str] = []
    for source in _machine_sources(etc):
        if source.is_file():
            text = source.read_text()
            if source.suffix == ".sources":
                stanzas += source_stanzas(text, release)
            else:
                lines += source_lines(text, release)
    if not stanzas and not lines:
        raise PackagesMissing(
            f"apt knows no mirror of Debian {release}: add one under /etc/apt/sources.list.d "
            "and try again."
        )
    parts = directory / "sources.list.d"
    shutil.rmtree(parts, ignore_errors=True)
    for wanted in (parts, directory / "lists" / "partial", directory / "archives" / "partial"):
        wanted.mkdir(parents=True, exist_ok=True)
    (parts / "source.sources").write_text("\n\n".join(stanzas) + "\n")
    (parts / "source.list").write_text("\n".join(lines) + "\n")
    configuration = directory / "apt.conf"
    configuration.write_text(
        'Dir::Etc::SourceList "/dev/null";\n'
        f'Dir::Etc::SourceParts "{parts}";\n'
        f'Dir::State::Lists "{directory / "lists"}";\n'
        f'Dir::Cache "{directory}";\n'
        'APT::Sandbox::User "root";\n'
    )
    return configuration


def fetch_source(package: str, directory: Path, release: str) -> Path:
    """Downloads a source package into `directory`; returns its .dsc. Signatures are checked."""
    apt = directory / "apt"
    environ = {**os.environ, "APT_CONFIG": str(write_private_configuration(apt, release))}
    for command in (["update", "-q"], ["source", "-q", "--download-only", package]):
        done = subprocess.run(
            ["apt-get", *command],
            cwd=directory,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PackagesMissing(
                f"apt-get {command[0]} failed for the source of {package}: "
                f"{done.stderr.strip().splitlines()[-1:]}. Check the network and try again."
            )
    described = sorted(directory.glob(f"{package}_*.dsc"), key=lambda path: path.stat().st_mtime)
    if not described:
        raise PackagesMissing(f"apt-get source left no {package}_*.dsc in {directory}.")
    return described[-1]


def mirror(release: str, etc: Path = SOURCES_DIR) -> str:
    """The address of the machine's own mirror of a release."""
    for source in _machine_sources(etc):
        text = source.read_text() if source.is_file() else ""
        if source.suffix == ".sources":
            for fields in _stanzas(text):
                if release in fields.get("suites", "").split():
                    return fields["uris"].split()[0]
        else:
            for line in source_lines(text, release):
                address, suite, _ = line.split()[-3:]
                if suite == release:
                    return address
    raise PackagesMissing(
        f"apt knows no mirror of Debian {release}: add one under /etc/apt/sources.list.d "
        "and try again."
    )
