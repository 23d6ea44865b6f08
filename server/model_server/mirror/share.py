"""Which requests are copied: an exact share of any hundred in a row, with no randomness."""

from __future__ import annotations


class Share:
    """Spreads `percent` of a hundred evenly.

    With 30, of every ten requests in a row three are taken; with 1, every hundredth.
    """

    def __init__(self, percent: int) -> None:
        self._percent = percent
        self._owed = 0

    def take(self) -> bool:
        """Return whether the next request is one of them."""
        self._owed += self._percent
        if self._owed < 100:
            return False
        self._owed -= 100
        return True
