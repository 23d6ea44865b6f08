"""Keeps this process's part in the election of the one that leads. `main` runs it.

It looks at the Lease, takes it where `leadership` allows that, renews it, and lets the term run
meanwhile. When the Lease is lost the term is cancelled and the process stands by again, in the same
process: docs/decisions/0009-a-deposed-leader-stands-by.md says why it does not end.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import structlog

from model_operator.clients.fence import Fence, boot_seconds
from model_operator.errors import ApiError, ApiUnreachable, Conflict
from model_operator.leadership import (
    ABSENT,
    Claim,
    Decision,
    Lease,
    Move,
    Standing,
    Terms,
    claim,
    decide,
    give_back,
    renewed,
    see,
)

log = structlog.get_logger(__name__)

Term = Callable[[], AbstractAsyncContextManager[None]]
"""What runs while this process leads."""


class LeaseStore(Protocol):
    """Where the Lease is."""

    async def read(self) -> Lease:
        """See `clients.leases`."""
        ...

    async def write(self, seen: Lease, claim: Claim) -> Lease:
        """See `clients.leases`."""
        ...


def new_identity(pod: str | None) -> str:
    """A name for this process, like no other's: its pod's, or its machine's, and a number."""
    name = re.sub(r"[^A-Za-z0-9.-]", "-", pod or socket.gethostname())
    return f"{name}_{secrets.token_hex(4)}"


class Election:
    """One candidate."""

    def __init__(
        self,
        store: LeaseStore,
        terms: Terms,
        fence: Fence,
        identity: str,
        *,
        pod: str | None = None,
        on_look: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = boot_seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`on_look` hears of each look at the Lease that was answered; `clock` is the fence's."""
        self._store = store
        self._terms = terms
        self._fence = fence
        self._standing = Standing(identity, pod or "")
        self._on_look = on_look
        self._clock = clock
        self._sleep = sleep
        self._sure = False
        """Whether nothing was sent that may have changed the Lease since it was last seen."""
        self._said = ""

    async def run(self, term: Term, ended: asyncio.Event) -> None:
        """Leads whenever it can, until `ended`; however a term ends, the Lease is given back."""
        while not ended.is_set():
            try:
                if (why := await _unless(ended, self.gain())) is None:
                    continue
                log.info("leading", lease=str(self._store), identity=self._identity, why=why)
                self._said = ""
                async with term():
                    lost = await _unless(ended, self.keep())
                    if lost is None:
                        await self._finish_writing()
                    else:
                        log.warning("no longer leading", identity=self._identity, why=lost)
            finally:
                await self.release()

    async def gain(self) -> str:
        """Waits until this process leads; says how that came."""
        while True:
            if await self._look():
                decision = self._decide()
                if decision.move is Move.WAIT:
                    self._say("standing by", why=decision.why)
                elif await self._claim(decision.move):
                    return decision.why
                await self._sleep(decision.seconds or self._terms.look_seconds)
            else:
                await self._sleep(self._terms.look_seconds)

    async def keep(self) -> str:
        """Renews the Lease until it is lost; says how that came. The fence is closed then."""
        pause = self._terms.renew_seconds
        while True:
            await self._sleep(min(pause, self._fence.seconds_left))
            pause = self._terms.look_seconds
            if self._fence.seconds_left and not self._sure:
                await self._look()
            decision = self._decide()
            if decision.move is Move.WAIT:
                self._fence.close()
                return decision.why
            if not self._fence.seconds_left:
                return f"the Lease could not be renewed for {self._terms.write_seconds:g} s"
            if self._sure and await self._claim(decision.move):
                pause = self._terms.renew_seconds

    async def _finish_writing(self) -> None:
        """Begins no write any more, and hears of those under way: one that is given up may still be
        carried out, and by then another process may lead.
        """
        self._fence.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._terms.answer_seconds):
                await self._fence.quiet()

    async def release(self) -> None:
        """Gives the Lease back if it is ours, so that the next one need not wait.

        What may write has ended before.
        """
        self._fence.close()
        if not self._sure and not await self._look():
            return
        if not self._standing.holds:
            return
        seen = self._standing.seen or ABSENT
        self._sure = False
        try:
            async with asyncio.timeout(self._terms.answer_seconds):
                self._see(await self._store.write(seen, give_back(seen)))
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            log.info("the Lease was not given back", error=_words(error))
        else:
            self._sure = True
            log.info("the Lease was given back", lease=str(self._store), identity=self._identity)

    @property
    def _identity(self) -> str:
        return self._standing.identity

    def _decide(self) -> Decision:
        leads = bool(self._fence.seconds_left)
        return decide(self._standing, self._terms, self._clock(), may_write=leads)

    async def _look(self) -> bool:
        """Whether the Lease could be read."""
        try:
            async with asyncio.timeout(self._patience()):
                lease = await self._store.read()
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            self._say("the Lease cannot be read", error=_words(error))
            return False
        self._see(lease)
        self._sure = True
        self._on_look()
        return True

    async def _claim(self, move: Move) -> bool:
        """Takes or renews the Lease; whether this process leads now."""
        seen, sent_at = self._standing.seen or ABSENT, self._clock()
        self._sure = False
        try:
            async with asyncio.timeout(self._patience()):
                wanted = claim(self._standing, self._terms, move)
                answer = await self._store.write(seen, wanted)
        except Conflict:
            await self._look()
            return False
        except (ApiError, ApiUnreachable, TimeoutError) as error:
            self._say("the Lease cannot be written", error=_words(error))
            return False
        self._see(answer)
        self._sure = True
        if renewed(seen, answer, self._identity):
            self._fence.open_until(sent_at + self._terms.write_seconds)
        return bool(self._fence.seconds_left)

    def _see(self, lease: Lease) -> None:
        self._standing = see(self._standing, lease, self._clock())
        if lease.holder and not self._standing.holds:
            self._fence.close()

    def _patience(self) -> float:
        """For how long an answer is waited for: while leading, not beyond the fence."""
        longest = self._terms.answer_seconds
        return min(longest, self._fence.seconds_left or longest)

    def _say(self, event: str, **details: str) -> None:
        """A line for each change, not for each try."""
        line = f"{event} {details}"
        if line != self._said:
            self._said = line
            tell = log.warning if "error" in details else log.info
            tell(event, lease=str(self._store), identity=self._identity, **details)


async def _unless(ended: asyncio.Event, work: Awaitable[str]) -> str | None:
    """What `work` gives; None, and it is cancelled, where `ended` comes first."""
    working = asyncio.ensure_future(work)
    tasks: list[asyncio.Future[Any]] = [working, asyncio.ensure_future(ended.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        result = working.result() if working.done() else None
        return None if ended.is_set() else result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _words(error: Exception) -> str:
    return str(error) or "no answer in time"
