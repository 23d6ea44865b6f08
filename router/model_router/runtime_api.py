"""HAProxy's runtime API: its administration socket, one command to a connection.

HAProxy says in free text how a command went. What counts is what it shows afterwards: the agent
reads everything back (`servers`, `entries`) and compares.
"""

from __future__ import annotations

import csv
import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path

from model_router.configuration import SLOTS, Server
from model_router.errors import ProxyError
from model_router.route import Address

BACKEND = "revisions"
TIMEOUT_SECONDS = 2.0
_MAINTENANCE = 0x01 | 0x08 | 0x10  # srv_admin_state: forced, inherited or by its configuration


class RuntimeApi:
    """Commands to one HAProxy."""

    def __init__(self, admin_socket: Path, map_file: Path) -> None:
        self._socket = admin_socket
        self._map = map_file

    def command(self, text: str) -> str:
        """HAProxy's answer. Raises ProxyError when there is none."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(str(self._socket))
                connection.sendall(f"{text}\n".encode())
                parts = []
                while part := connection.recv(65_536):
                    parts.append(part)
        except OSError as error:
            verb = " ".join(text.split()[:2])
            raise ProxyError(f"HAProxy did not answer '{verb}': {error}") from error
        return b"".join(parts).decode(errors="replace").strip()

    def set_server(self, slot: str, server: Server) -> None:
        """Lets a slot lead to an address; connections that are open stay where they are."""
        name, address = f"{BACKEND}/{slot}", server.address
        self.command(f"set server {name} addr {address.host} port {address.port}")
        self.set_weight(slot, server.weight)
        self.command(f"set server {name} state ready")

    def set_weight(self, slot: str, weight: int) -> None:
        """Lets requests that were not taken elsewhere go to a slot (1), or not (0)."""
        self.command(f"set server {BACKEND}/{slot} weight {weight}")

    def servers(self) -> dict[str, Server]:
        """By slot, those that are not in maintenance, as HAProxy has them."""
        rows = self.command(f"show servers state {BACKEND}").splitlines()
        names = next((row[2:].split() for row in rows if row.startswith("# ")), [])
        found = {}
        for row in rows:
            state = dict(zip(names, row.split(), strict=False))
            if state.get("srv_name") in SLOTS and not (
                int(state["srv_admin_state"]) & _MAINTENANCE
            ):
                host = str(ipaddress.ip_address(state["srv_addr"]))
                address = Address(host, int(state["srv_port"]))
                found[state["srv_name"]] = Server(address, int(state["srv_uweight"]))
        return found

    def exchange_entries(self, entries: Mapping[str, str]) -> None:
        """Puts these entries into the map in place of all others, in one moment."""
        answer = self.command(f"prepare map {self._map}")
        version = answer.rpartition(" ")[2]
        if not version.isdecimal():
            raise ProxyError(f"HAProxy prepared no new map: {answer}")
        lines = "".join(f"{key} {value}\n" for key, value in entries.items())
        self.command(f"add map @{version} {self._map} <<\n{lines}")
        self.command(f"commit map @{version} {self._map}")

    def entries(self) -> dict[str, str]:
        """The map, as HAProxy has it."""
        rows = [row.split(" ", 2) for row in self.command(f"show map {self._map}").splitlines()]
        return {row[1]: row[2] for row in rows if len(row) == 3}

    def counters(self) -> dict[str, dict[str, str]]:
        """HAProxy's statistics by slot, and of its frontend by the name `clients`."""
        rows = self.command("show stat").removeprefix("# ").splitlines()
        named = {("clients", "FRONTEND"): "clients", **{(BACKEND, slot): slot for slot in SLOTS}}
        return {
            named[row["pxname"], row["svname"]]: row
            for row in csv.DictReader(rows)
            if (row["pxname"], row["svname"]) in named
        }
