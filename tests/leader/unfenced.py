"""The operator with its fence taken away: `python -m tests.leader.unfenced`.

The campaign starts it to prove that it would notice the writes of a deposed leader.
"""

from __future__ import annotations

import sys

from model_operator import main
from model_operator.clients.fence import Fence

if __name__ == "__main__":
    Fence.seconds_left = property(lambda _: 10.0)  # type: ignore[method-assign, assignment]
    sys.exit(main.main())
