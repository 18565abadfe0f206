"""Connections to public addresses only, and proxies.

URLs come from metadata, and redirects from servers: neither may reach the local network. The address is
checked when a socket is made for it, so that a name cannot resolve to another one afterwards.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.request import getproxies, proxy_bypass

from asl.errors import UserError


class PrivateAddressError(OSError):
    """A connection to a local or private address was refused."""

    def __init__(self) -> None:
        super().__init__("its address is local or private")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    >>> [is_public(one) for one in ("8.8.8.8", "10.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254")]
    [True, False, False, False, False]
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an entry of :func:`socket.getaddrinfo`.

    Raises:
        PrivateAddressError: its address is not public.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise PrivateAddressError
    return socket.socket(family, kind, protocol)


def check_literal(host: str) -> None:
    """Check a host that is given as an IP address or as ``localhost``, for requests through a proxy.

    Proxies take other forms of IPv4 addresses, too: ``127.1``, ``2130706433`` and ``0x7f.1`` are 127.0.0.1.

    Raises:
        PrivateAddressError: it is not public.
    """
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        raise PrivateAddressError
    with suppress(OSError):
        host = socket.inet_ntoa(socket.inet_aton(host))
    with suppress(ValueError):  # a name: the proxy resolves it
        if not is_public(host):
            raise PrivateAddressError


def find_proxies() -> Callable[[str, str], str | None]:
    """A function that returns the proxy for a scheme and a host, by the environment. None: no proxy.

    Raises:
        UserError: a proxy is of a kind that is not supported.
    """
    proxies = {scheme: url if "://" in url else f"http://{url}" for scheme, url in getproxies().items()}
    for scheme in ("http", "https", "all"):
        if not proxies.get(scheme, "http:").startswith(("http:", "https:")):
            raise UserError(
                f"{scheme.upper()}_PROXY={proxies[scheme]}: a proxy must begin with http:// or https://"
            )

    def proxy_for(scheme: str, host: str) -> str | None:
        return None if proxy_bypass(host) else proxies.get(scheme, proxies.get("all"))

    return proxy_for
