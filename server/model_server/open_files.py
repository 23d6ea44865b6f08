"""How many connections the kernel lets this process have open.

`main` calls it at the start. Newer container runtimes start processes with room for 1024 open files
(what select() can name) and leave it to each to ask for more; a thousand idle connections would
fill that, and every further client would be turned away.
"""

from __future__ import annotations

import resource

_ENOUGH = 65_536
"""Beyond that memory is the limit; some libraries walk over all numbers that may be."""


def raise_limit() -> int:
    """Raise the limit as far as this process may, and return how many files it may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft
