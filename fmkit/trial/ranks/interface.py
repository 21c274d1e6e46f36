"""Names of network interfaces: which one leads to another host."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress

SIOCGIFADDR = 0x8915
"""Linux's request for the IPv4 address of an interface (netdevice(7))."""

NAME_BYTES = 16


def loopback() -> str | None:
    """The interface that stays inside this host; None where its name is not known."""
    names = {name for _, name in socket.if_nameindex()} if hasattr(socket, "if_nameindex") else set()
    return next((name for name in ("lo", "lo0") if name in names), None)


def interface_towards(host: str) -> str | None:
    """The interface over which packets to `host` leave, or that has its address; None where that can't be found out (Linux, IPv4 only)."""
    if sys.platform != "linux":
        return None
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # a datagram socket sends nothing here: the kernel only chooses the way
        return _interface_with(probe, probe.getsockname()[0])
    return None


def _interface_with(probe: socket.socket, address: str) -> str | None:
    import fcntl  # noqa: PLC0415  not on Windows

    for _, name in socket.if_nameindex():
        with suppress(OSError):  # an interface without an IPv4 address
            found = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[: NAME_BYTES - 1]))
            if socket.inet_ntoa(found[20:24]) == address:
                return name
    return None
