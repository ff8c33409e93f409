"""Which hosts may be asked for a download: those of the internet at large, not this machine or its neighbours."""

import ipaddress
import os
import socket

from learner.datasets.names import shown
from learner.errors import DatasetError

PRIVATE_SETTING = "THAW_ALLOW_PRIVATE_ADDRESSES"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ALSO_PRIVATE = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("64:ff9b:1::/48"))
"""Reserved by IANA, but partly global to Python 3.11."""


def checked_addresses(host: str, port: int) -> list[str]:
    """The addresses that `host` stands for. Raises DatasetError when there are none, or one is not public.

    `THAW_ALLOW_PRIVATE_ADDRESSES=1` allows them all.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DatasetError(
            f"No computer is known by the name {shown(host)}. Check the address, and that this computer is online."
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if os.environ.get(PRIVATE_SETTING) != "1" and not all(map(is_public, addresses)):
        raise DatasetError(
            f"{shown(host)} is on this machine or in a private network, which Thaw does not download from. Whoever "
            f"runs Thaw can allow that with {PRIVATE_SETTING}=1."
        )
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet at large; addresses that wrap another one count as that one."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        wrapped = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if any(wrapped):
            return all(is_public(str(inner)) for inner in wrapped if inner)
    if any(ip in network for network in _ALSO_PRIVATE):
        return False
    return ip.is_global and not (
        ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified
    )
