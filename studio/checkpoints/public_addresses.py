"""A client for addresses that somebody pasted: https alone, and public servers alone, at every redirect.

A name is resolved once, its addresses are judged, and the connection goes to one that was judged: a name that means
another machine a moment later leads nowhere else. Proxies of the environment are not used, since they would resolve
names themselves.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

import httpx

from studio.asked.messages import Message

MOST_REDIRECTS = 8


class NotPublic(Exception):
    """An address that is not fetched from. The text is a sentence for the page."""


def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of a name. Raises OSError."""
    return list(dict.fromkeys(str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, also what it stands for in IPv6's ways to write IPv4."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class PublicOnly(httpx.BaseTransport):
    """Carries a request to the first address of its host that answers, if all of them are public."""

    def __init__(
        self, inner: httpx.BaseTransport | None = None, resolve: Callable[[str, int], Sequence[str]] = resolved
    ) -> None:
        """`inner` makes the connections; `resolve` names. Both for tests."""
        self._inner = inner or httpx.HTTPTransport()
        self._resolve = resolve

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises NotPublic, or httpx's own errors."""
        url = request.url
        if url.scheme != "https":
            raise NotPublic(
                Message("The address leads to one without https ({host}); nothing was fetched.", host=url.host)
            )
        try:
            addresses = self._resolve(url.host, url.port or 443)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error) or "its name is not known", request=request) from error
        if not addresses or not all(map(is_public, addresses)):
            raise NotPublic(
                Message(
                    "The address leads to {host}, which is not on the public internet; nothing was fetched.",
                    host=url.host,
                )
            )
        for place, address in enumerate(addresses):
            try:
                return self._inner.handle_request(_sent_to(request, address))
            except httpx.ConnectError:
                if place + 1 == len(addresses):
                    raise
        raise AssertionError

    def close(self) -> None:
        """See httpx."""
        self._inner.close()


def _sent_to(request: httpx.Request, address: str) -> httpx.Request:
    """The same request to an address; its Host header and the certificate stay those of the name."""
    extensions = {**request.extensions, "sni_hostname": request.url.host}
    url = request.url.copy_with(host=address)
    return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)


def client(transport: httpx.BaseTransport | None = None, *, timeout: httpx.Timeout, key: str | None) -> httpx.Client:
    """A client that reaches public addresses alone. `key` goes with the first host as a bearer's token: httpx drops it
    where a redirect leads to another."""
    headers = {"user-agent": "latent-studio", "accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    return httpx.Client(
        transport=transport or PublicOnly(),
        headers=headers,
        timeout=timeout,
        follow_redirects=True,
        max_redirects=MOST_REDIRECTS,
        trust_env=False,
    )
