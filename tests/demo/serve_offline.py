"""Runs ``tfcamp`` where nothing but this machine can be reached, and tells who tried."""

import ipaddress
import sys
from typing import Any

from tfcamp.cli import main

ATTEMPT = "reached out to"


def forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments[:2]
    else:
        return
    if isinstance(address, tuple) and not is_this_machine(address[0]):
        print(f"{ATTEMPT} {address}", file=sys.stderr, flush=True)
        raise OSError(f"no network: {address}")


def is_this_machine(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    try:
        return name in (None, "", "localhost") or ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.addaudithook(forbid)
    main()
