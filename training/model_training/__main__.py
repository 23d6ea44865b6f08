"""`python -m model_training` is `model-train`."""

from __future__ import annotations

import sys

from model_training.cli import main

if __name__ == "__main__":
    sys.exit(main())
