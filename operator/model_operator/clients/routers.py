"""Asks the agents of router pods what they have applied. Called by `observe`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from model_operator import router_answer
from model_operator.clients.pods import PodReader
from model_operator.clients.view import Key
from model_operator.errors import PodUnreachable
from model_operator.router_answer import AGENT_PATH, AGENT_PORT, RouterAnswer

SECONDS = 1.0
"""How long one agent is waited for."""


async def ask(
    reader: PodReader, key: Key, pods: Iterable[Mapping[str, Any]]
) -> dict[str, RouterAnswer]:
    """What each pod that has an address answers, by its name. `key` is whose pods they are."""
    asked = [pod for pod in pods if pod.get("status", {}).get("podIP")]
    answers = await asyncio.gather(*(_ask(reader, key, pod) for pod in asked))
    return {pod["metadata"]["name"]: a for pod, a in zip(asked, answers, strict=True)}


async def _ask(reader: PodReader, key: Key, pod: Mapping[str, Any]) -> RouterAnswer:
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    try:
        answer = await reader.get(key, name, address, AGENT_PORT, AGENT_PATH, SECONDS)
        return router_answer.parse(json.loads(answer))
    except PodUnreachable as error:
        return RouterAnswer(error=str(error))
    except ValueError:
        return RouterAnswer(error="it answered something that is not JSON")
