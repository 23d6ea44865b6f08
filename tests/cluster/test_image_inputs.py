"""An image is built anew when anything that it is made from has changed, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.images import inputs

DOCKERFILE = """\
ARG BASE_IMAGE=python
FROM ${BASE_IMAGE} AS builder
COPY requirements.txt LICENSE* \\
     ./
COPY src src
# the author's own
RUN echo it is 'built' && \
    COPY=nothing
FROM ${BASE_IMAGE}
COPY --from=builder /opt/venv /opt/venv
COPY --chown=1:1 app.py /app.py
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    for name in ("requirements.txt", "LICENSE.txt", "app.py", "src/a.py", "other.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


def digest(context: Path, *arguments: str) -> str:
    return inputs.digest(context / "Dockerfile", context, arguments)


def test_what_is_copied_from_the_context_is_found():
    assert inputs.copied(DOCKERFILE) == ["requirements.txt", "LICENSE*", "src", "app.py"]


@pytest.mark.parametrize(
    "changed", ["requirements.txt", "LICENSE.txt", "app.py", "src/a.py", "src/new.py", "Dockerfile"]
)
def test_a_changed_input_is_another_image(context: Path, changed: str):
    before = digest(context)

    with (context / changed).open("a") as file:
        file.write("\n# changed")

    assert digest(context) != before


def test_another_argument_is_another_image(context: Path):
    assert digest(context, "--build-arg", "BASE_IMAGE=x") != digest(context)


@pytest.mark.parametrize("changed", ["other.py", "src/__pycache__/a.pyc"])
def test_what_is_not_copied_does_not_matter(context: Path, changed: str):
    before = digest(context)

    (context / changed).write_text("changed")

    assert digest(context) == before
