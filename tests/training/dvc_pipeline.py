"""`make test-dvc`: the DVC pipeline gives the same bytes twice, and a remote gives them back.

In a folder of its own, with a small params.yaml, a local remote and a DVC from PyPI in a virtual
environment beside the project's. Ends with one line of figures; status 1 when something is wrong.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DVC = Path.home() / ".cache" / "cv-factory" / "dvc"
REQUIREMENT = "dvc>=3.60,<4"
SMALL = {
    "prepare": {"synthetic": 120, "seed": 0},
    "train": {
        "name": "cats-dogs",
        "size": 32,
        "channels": [3, 8, 16],
        "epochs": 2,
        "seed": 0,
        "threads": 1,
        "test_percent": 20,
    },
}


def dvc_program() -> Path:
    """DVC, in an environment that is kept for the next time."""
    program = DVC / "bin" / "dvc"
    if not program.exists():
        venv.create(DVC, with_pip=True, clear=True)
        install = [str(DVC / "bin" / "python"), "-m", "pip", "install", "--quiet", REQUIREMENT]
        subprocess.run(install, check=True)
    return program


class Pipeline:
    """A checkout with nothing but the pipeline."""

    def __init__(self, folder: Path, dvc: Path) -> None:
        self.folder, self.dvc = folder, dvc
        self.environment = {
            **{name: value for name, value in os.environ.items() if "MLFLOW" not in name},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
        }
        folder.mkdir()
        shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
        (folder / "params.yaml").write_text(yaml.safe_dump(SMALL))
        self.call("git", "init", "--quiet")
        self.run("init", "--quiet")

    def run(self, *arguments: str) -> str:
        """Runs `dvc`."""
        return self.call(str(self.dvc), *arguments)

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"test-dvc: {' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every file that the pipeline has made."""
        made = [*self.folder.glob("data/raw/**/*"), *self.folder.glob("artifact/*")]
        files = [*(path for path in made if path.is_file()), self.folder / "evaluation.json"]
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


def main() -> int:
    """Runs it twice from nothing, once without a change, and pulls from a remote."""
    started = time.monotonic()
    dvc = dvc_program()
    with tempfile.TemporaryDirectory(prefix="test-dvc-") as temporary:
        root = Path(temporary)
        one, other = Pipeline(root / "one", dvc), Pipeline(root / "other", dvc)
        one.run("repro")
        other.run("repro")
        first, second = one.digests(), other.digests()
        lock = (one.folder / "dvc.lock").read_text() == (other.folder / "dvc.lock").read_text()
        nothing_to_do = "up to date" in one.run("repro")
        one.run("remote", "add", "--default", "store", str(root / "store"))
        one.run("push")
        for name in ("data/raw", "artifact"):
            shutil.rmtree(one.folder / name)
        shutil.rmtree(one.folder / ".dvc" / "cache")
        one.run("pull")
        pulled = one.digests() == first
    same = first == second and bool(first)
    sys.stdout.write(
        f"test-dvc: {len(first)} files, {'the same' if same else 'other'} bytes twice,"
        f" {'the same' if lock else 'another'} dvc.lock, a third repro"
        f" {'has nothing to do' if nothing_to_do else 'runs again'}, a local remote gives"
        f" {'them back' if pulled else 'others back'}; {time.monotonic() - started:.0f} s\n"
    )
    return 0 if same and lock and nothing_to_do and pulled else 1


if __name__ == "__main__":
    sys.exit(main())
