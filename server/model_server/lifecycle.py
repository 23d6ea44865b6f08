"""Where the process is in its life, as probes, routes and connections need to know it.

`serve` moves it on; everything else reads. LOADING -> READY -> DRAINING -> STOPPING, and a
process that is told to end before it was ready goes straight to STOPPING.
"""

from __future__ import annotations

from enum import Enum

from model_server.errors import NotReady
from model_server.model import Identity, Model


class Phase(Enum):
    """The phases, in their order."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"


class Lifecycle:
    """The process's phase, and its model once that is loaded."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING
        self._model: Model | None = None

    @property
    def ending(self) -> bool:
        """Whether the process was told to end: each answer is then its connection's last."""
        return self.phase in (Phase.DRAINING, Phase.STOPPING)

    @property
    def identity(self) -> Identity | None:
        """What the model is called, once it is loaded."""
        return self._model.identity if self._model else None

    @property
    def model(self) -> Model:
        """The model, also while draining.

        Raises:
            NotReady: it is not loaded yet.

        """
        if self._model is None:
            raise NotReady("The model is still being verified and loaded: try again in a second.")
        return self._model

    def loaded(self, model: Model) -> None:
        """Become ready, unless the process was told to end meanwhile."""
        self._model = model
        if self.phase is Phase.LOADING:
            self.phase = Phase.READY

    def end(self, *, drain: bool) -> None:
        """Go on towards the end: to DRAINING, or past it."""
        self.phase = Phase.DRAINING if drain else Phase.STOPPING
