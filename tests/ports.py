"""Ports for servers that tests start, stop and start again."""

import contextlib
import random
import socket

_DICE = random.SystemRandom()
"""Not the shared generator: two test processes that seed it alike would meet at one port."""


def free_ports(n: int) -> list[int]:
    """`n` different free TCP ports on loopback.

    They lie below those that the system gives to outgoing connections and to whoever asks for any
    port, so that nobody gets one while its server is not up yet, or down between two starts.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < n:
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", _DICE.randrange(20_000, 30_000)))
                found.append(int(probe.getsockname()[1]))
        return found


def free_port() -> int:
    """A loopback port that nobody listens on."""
    return free_ports(1)[0]
