"""Runs `kubectl md` in the test's own loop, beside whatever the test has started."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from model_operator.cli import main
from model_operator.cli.arguments import parse


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def last(self) -> dict[str, Any]:
        """The last line of standard output, which a pipeline reads."""
        body: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return body


async def kubectl_md(*arguments: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = await main.run(parse(arguments))
        except SystemExit as usage:
            status = int(str(usage.code))
    return Done(status, out.getvalue(), err.getvalue())
