"""`python -m model_router`: what the command `model-router` does."""

from __future__ import annotations

import sys

from model_router.main import main

sys.exit(main())
