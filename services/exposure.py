"""A warning for a service that strangers can reach."""

from __future__ import annotations

import ipaddress
import logging

import psutil

log = logging.getLogger("bentoml.kairos.exposure")


def listens_to() -> set[str]:
    """The addresses, IPv4 or IPv6, that this process listens on."""
    sockets = psutil.Process().net_connections("inet")
    return {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}


def warn_if_open(addresses: set[str], *, keys_in_force: bool) -> bool:
    """Say loudly that anybody who reaches an address of other machines may ask and tell anything.

    Returns:
        Whether there was something to say.
    """
    reachable = sorted(address for address in addresses if not ipaddress.ip_address(address).is_loopback)
    if not reachable or keys_in_force:
        return False
    log.warning(
        "the service listens on %s and asks for no keys: whoever reaches it reads any user's profile and writes "
        "events. `kairos keys add NAME --rights events,recommend`, or KAIROS_REQUIRE_KEYS=true; see docs/security.md",
        ", ".join(reachable),
    )
    return True
