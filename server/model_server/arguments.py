"""Command lines whose mistakes end like every other wrong setting. `main` and `fetch` use it."""

from __future__ import annotations

import argparse
from typing import NoReturn

from model_server.errors import SettingsError


class Arguments(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage and ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise the mistake as a sentence.

        Raises:
            SettingsError: always.

        """
        raise SettingsError(f"{message[0].upper()}{message[1:]}: {self.prog} --help lists all.")
