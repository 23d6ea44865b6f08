"""Builds the Kubernetes programs from Debian's source package, once, into a cache.

Called by `python3 -m dev.cluster build|up`; the control plane of the tests uses what it built.
A build is named by its recipe's hash and appears whole or not at all: it is made in a folder
beside, which an interrupted run leaves for the next one to go on with, and renamed at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.cluster import debian
from dev.cluster.errors import BuildFailed
from dev.cluster.paths import cache_dir
from dev.progress import say, step

PACKAGES = {
    "golang-go": "go",
    "golang-github-modern-go-reflect2-dev": "/usr/share/gocode/src/github.com/modern-go/reflect2",
    "dpkg-dev": "dpkg-source",
}
REFLECT2 = Path("/usr/share/gocode/src/github.com/modern-go/reflect2")
ESTIMATE_BUILD = 250.0  # seconds on two cores
ESTIMATE_FETCH = 25.0
_MARKER = b"+k8s:openapi-gen="
_NO_API_TYPES = re.compile(
    r"_test|/testing/|/generators/|zz_generated|openapi-gen/|/test/|/testdata/"
    r"|code-generator|sample-"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what the binaries are. A change of it is another build."""

    version: str = "1.20.2"
    release: str = "bookworm"
    programs: tuple[str, ...] = (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
    )
    # The vendored reflect2 1.0.1 corrupts memory under Go 1.18 and later: the API server dies
    # with "fatal error: fault" at the first custom resource. Debian packages 1.0.2.
    replaced: tuple[str, ...] = ("github.com/modern-go/reflect2",)
    environment: tuple[tuple[str, str], ...] = (
        ("CGO_ENABLED", "0"),
        ("GO111MODULE", "off"),
        ("GOFLAGS", ""),
    )

    @property
    def ldflags(self) -> str:
        """Strips the programs, and sets the version that they report."""
        major, minor, _ = self.version.split(".")
        values = {"gitVersion": f"v{self.version}", "gitMajor": major, "gitMinor": minor,
                  "gitTreeState": "clean"}  # fmt: skip
        # Vendored packages go by this prefix; servers report the one, clients the other.
        vendored = "k8s.io/kubernetes/vendor/k8s.io"
        packages = (f"{vendored}/component-base/version", f"{vendored}/client-go/pkg/version")
        named = [f"-X {p}.{name}={value}" for p in packages for name, value in values.items()]
        return " ".join(["-s", "-w", *named])

    @property
    def digest(self) -> str:
        """The first ten hex digits of a SHA-256 over all of the above."""
        text = json.dumps([asdict(self), self.ldflags], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def name(self) -> str:
        """The name of the build's folder in the cache."""
        return f"{self.version}-{self.digest}"


RECIPE = Recipe()


def bin_dir(recipe: Recipe = RECIPE) -> Path:
    """Where the built programs are, or will be."""
    return cache_dir() / "kubernetes" / recipe.name / "bin"


def is_built(recipe: Recipe = RECIPE) -> bool:
    """Whether the whole build is in the cache."""
    return bin_dir(recipe).is_dir()


def build(recipe: Recipe = RECIPE) -> Path:
    """Builds what is not in the cache yet; returns the folder of the programs.

    Raises BuildFailed or PackagesMissing. Two runs at a time do not collide: the second waits.
    """
    if is_built(recipe):
        return bin_dir(recipe)
    if debian.codename() != recipe.release:
        raise BuildFailed(
            f"Kubernetes is built from the source package of Debian {recipe.release}, and this "
            "is another system: use Docker with kind, or a Debian 12 machine."
        )
    root = cache_dir() / "kubernetes"
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{recipe.name}.lock"):
        if not is_built(recipe):
            debian.install(PACKAGES)
            _build_in(root / f"{recipe.name}.work", recipe)
    return bin_dir(recipe)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("- another run is building Kubernetes: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build_in(work: Path, recipe: Recipe) -> None:
    """All steps of the build. `work` may hold the remains of an interrupted one."""
    work.mkdir(parents=True, exist_ok=True)
    tree = work / "tree"
    if not tree.is_dir():
        with step(f"fetching the source of Kubernetes {recipe.version}", ESTIMATE_FETCH):
            _fetch(work, tree, recipe)
    made = work / "made"
    with step(f"building Kubernetes {recipe.version}, once for this machine", ESTIMATE_BUILD):
        _generate_openapi(work, tree, recipe)
        made.mkdir(exist_ok=True)
        _go(work, recipe, "build", "-ldflags", recipe.ldflags, "-o", f"{made}/bin/",
            *(f"k8s.io/kubernetes/cmd/{program}" for program in recipe.programs))  # fmt: skip
    made.rename(work.parent / recipe.name)
    shutil.rmtree(work)


def _fetch(work: Path, tree: Path, recipe: Recipe) -> None:
    """Fetches and unpacks the source, and replaces what must not be built as vendored."""
    described = debian.fetch_source("kubernetes", work, recipe.release)
    unpacked = work / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    with (work / "unpack.log").open("wb") as log:
        done = subprocess.run(
            ["dpkg-source", "--extract", str(described), str(unpacked)],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise BuildFailed(f"dpkg-source could not unpack {described}: see {log.name}.")
    _replace_reflect2(unpacked / "vendor" / "github.com" / "modern-go" / "reflect2")
    gopath = unpacked / ".go" / "src" / "k8s.io"
    gopath.mkdir(parents=True)
    (gopath / "kubernetes").symlink_to(Path("../../.."))
    unpacked.rename(tree)


def _replace_reflect2(vendored: Path) -> None:
    for old in [*vendored.glob("*.go"), *vendored.glob("*.s")]:
        old.unlink()
    for new in [*REFLECT2.glob("*.go"), *REFLECT2.glob("*.s")]:
        shutil.copy(new, vendored)


def _generate_openapi(work: Path, tree: Path, recipe: Recipe) -> None:
    """Debian's tree lacks the generated OpenAPI definitions, without which nothing compiles."""
    if (work / "openapi.done").exists():
        return
    packages = sorted(set(openapi_packages(tree)))
    _go(
        work, recipe, "run", "./vendor/k8s.io/kube-openapi/cmd/openapi-gen",
        "--go-header-file", "hack/boilerplate/boilerplate.generatego.txt",
        "-O", "zz_generated.openapi", "-p", "k8s.io/kubernetes/pkg/generated/openapi",
        "-r", str(work / "violations"), "-i", ",".join(packages), "-o", ".go/src",
    )  # fmt: skip
    (work / "openapi.done").touch()


def openapi_packages(tree: Path) -> Iterable[str]:
    """Import paths of the packages whose types belong to the API, as their markers say."""
    for part, prefix in (
        ("pkg", "k8s.io/kubernetes/pkg/"),
        ("staging/src", ""),
        ("cmd", "k8s.io/kubernetes/cmd/"),
    ):
        for path in (tree / part).rglob("*.go"):
            if _NO_API_TYPES.search(str(path.relative_to(tree))) or path.is_symlink():
                continue
            if _MARKER in path.read_bytes():
                yield prefix + str(path.parent.relative_to(tree / part))


def _go(work: Path, recipe: Recipe, *arguments: str) -> None:
    """Runs go in the tree, in GOPATH mode; what it says is kept in a log."""
    tree = work / "tree"
    environ = {
        **os.environ,
        **dict(recipe.environment),
        "GOPATH": str(tree / ".go"),
        "GOCACHE": str(work / "gocache"),
        "PWD": str(tree / ".go/src/k8s.io/kubernetes"),
    }
    log = work / f"go-{arguments[0]}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            ["go", *arguments],
            cwd=tree / ".go/src/k8s.io/kubernetes",
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        tail = " / ".join(log.read_text(errors="replace").splitlines()[-3:])
        raise BuildFailed(f"go {arguments[0]} failed: {tail} The whole output is in {log}.")
