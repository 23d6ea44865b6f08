"""`python -m model_operator.cli`: the same as `kubectl-md`."""

import sys

from model_operator.cli.main import main

sys.exit(main())
