"""Files of direct links, by HTTP: redirects, limits, and continuing where an earlier attempt ended."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import aiohttp
from yarl import URL

from asl.download.addresses import PrivateAddressError, check_literal, find_proxies, public_socket
from asl.download.failure import (
    FIND_ANOTHER,
    RUN_AGAIN,
    Failure,
    FetchError,
    not_writable,
    too_large,
    too_slow,
)
from asl.download.hosts import Host, retry_after_s
from asl.download.log import Begun, DownloadLog
from asl.download.settings import DownloadSettings

#: Headers that single hosts need, by the end of the host's name. The Referer of aslpro.com is the one that
#: start_kit/video_downloader.py of github.com/dxli94/WLASL sends.
REFERERS = {"aslpro.com": "http://www.aslpro.com/cgi-bin/aslpro/aslpro.cgi"}

_REDIRECTS = (301, 302, 303, 307, 308)

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class _Body:
    """What the headers of a response say about its body."""

    start: int  # offset of its first byte in the file
    total: int | None  # bytes of the whole file; None if unknown
    validator: str


class HttpClient:
    """Stores the files of direct links. Use it as an asynchronous context manager.

    Args:
        settings: limits, and what is sent.
        host_of: the host of a ``host:port``; a request to which another host redirects waits for its turn.
        log: knows what was begun.
    """

    def __init__(self, settings: DownloadSettings, host_of: Callable[[str], Host], log: DownloadLog) -> None:
        self._settings, self._host_of, self._log = settings, host_of, log
        self._proxy_for = find_proxies()

    async def __aenter__(self) -> HttpClient:
        # Bodies are stored as they are sent, so that their lengths can be compared.
        headers = {"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity"}
        public = None if self._settings.allow_private else public_socket
        self._direct, self._by_proxy = (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, socket_factory=make_socket),
                headers=headers,
                auto_decompress=False,
            )
            for make_socket in (public, None)  # a proxy may have a private address
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._direct.close()
        await self._by_proxy.close()

    async def fetch(self, url: str, part: Path, *, time_left_s: float) -> None:
        """Store the file of a URL, or the rest of it.

        Args:
            url: of any scheme; others than http and https are refused.
            part: the temporary file. It is kept if the attempt fails, and a later attempt continues it.
            time_left_s: time limit of each request.

        Raises:
            FetchError: there is no file, or the attempt did not store all of it.
            UserError: the disk is full, or the folder cannot be written.
        """
        size = part.stat().st_size if part.exists() else 0
        begun = self._log.begun(url) if size else None
        if begun is not None and size == begun.total:
            return  # killed before the file got its name
        headers = {}
        if begun is not None and begun.validator:
            headers = {"Range": f"bytes={size}-", "If-Range": begun.validator}
        try:
            async with await self._follow(url, headers, time_left_s) as response:
                body = self._body(response, size, begun)
                if body is None:
                    part.unlink(missing_ok=True)
                    raise _unreliable(f"does not continue at byte {size:,}, though it said that it could")
                self._check_size(body.total)
                if not body.start:
                    self._log.add(url, Begun(body.validator, body.total))
                await self._store(response, part, body)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            raise self._failed(error) from error

    async def _follow(self, url: str, headers: dict[str, str], time_left_s: float) -> aiohttp.ClientResponse:
        """The response at the end of the redirects."""
        timeout = aiohttp.ClientTimeout(
            total=time_left_s,
            connect=self._settings.connect_timeout_s,
            sock_read=self._settings.stall_timeout_s,
        )
        target = self._checked(url)
        for _ in range(self._settings.max_redirects + 1):
            host = target.host or ""
            proxy = self._proxy_for(target.scheme, host)
            if proxy and not self._settings.allow_private:
                check_literal(host)
            session = self._by_proxy if proxy else self._direct
            response = await session.get(
                target,
                headers=headers | _referer(host),
                allow_redirects=False,
                proxy=proxy,
                timeout=timeout,
            )
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            response.close()
            origin, target = target.host, self._checked(location, base=target)
            if target.host != origin:
                await self._host_of(target.authority.rpartition("@")[2]).turn()
        raise FetchError(
            Failure(
                reason="too many redirects",
                detail=f"more than {self._settings.max_redirects} redirects (download.max_redirects)",
                advice=FIND_ANOTHER,
                permanent=True,
            )
        )

    def _checked(self, location: str, base: URL | None = None) -> URL:
        """The URL of a request or of a redirect."""
        try:
            target = URL(location) if base is None else base.join(URL(location))
        except ValueError:
            target = URL()
        if target.scheme in ("http", "https") and target.host:
            return target
        what = f"the URL {location!r}" if base is None else f"a redirect from {base} to {location!r}"
        raise FetchError(_not_http(f"{what}: only http and https are fetched"))

    def _body(self, response: aiohttp.ClientResponse, size: int, begun: Begun | None) -> _Body | None:
        """Check the status of a response, and read its headers.

        Args:
            response: to a request for a file, or for its bytes from ``size`` on.
            size: bytes of the temporary file.
            begun: the response that they came from.

        Returns:
            None if it is not the rest of the temporary file, though a part of a file.
        """
        headers = response.headers
        if response.status == 200:
            etag = headers.get("ETag", "")
            validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
            return _Body(0, response.content_length, validator)
        if response.status not in (206, 416):
            raise self._refused(response)
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if begun is None or found is None or int(found[1]) != size:
            return None
        total = None if found[2] == "*" else int(found[2])
        return _Body(size, total, begun.validator) if begun.total in (None, total) else None

    def _refused(self, response: aiohttp.ClientResponse) -> FetchError:
        """The error for a status other than 200."""
        status, said = response.status, f"HTTP status {response.status} {response.reason or ''}".rstrip()
        if status in (404, 410):
            return FetchError(Failure(reason="gone", detail=said, advice=FIND_ANOTHER, permanent=True))
        if status in (401, 403):
            advice = (
                "if a browser opens the URL, save the file in dataset.root under its video_id, or give the "
                "browser's User-Agent: download.user_agent='...' download.retry_permanent=true"
            )
            return FetchError(Failure(reason="refused", detail=said, advice=advice, permanent=True))
        if 400 <= status < 500 and status not in (408, 425, 429):
            return FetchError(
                Failure(reason=f"status {status}", detail=said, advice=FIND_ANOTHER, permanent=True)
            )
        wait_s = retry_after_s(response.headers.get("Retry-After"), datetime.now(timezone.utc))
        reason = "too many requests" if status == 429 else f"status {status}"
        advice = "run the same command again later; download.interval_s=5 asks less often"
        failure = Failure(reason=reason, detail=said, advice=advice if status == 429 else RUN_AGAIN)
        return FetchError(failure, blames_host=True, again=True, wait_s=wait_s)

    async def _store(self, response: aiohttp.ClientResponse, part: Path, body: _Body) -> None:
        size = body.start
        try:
            file = part.open("ab" if size else "wb", buffering=0)  # what a kill interrupts can be continued
        except OSError as error:
            raise not_writable(part.parent, error) from None
        with file:
            async for chunk in response.content.iter_any():
                try:
                    file.write(chunk)
                except OSError as error:
                    raise not_writable(part.parent, error) from None
                size += len(chunk)
                self._check_size(size)
        if body.total is not None and size != body.total:
            if size > body.total:  # another file
                part.unlink()
            raise _unreliable(f"sent {size:,} of {body.total:,} bytes")

    def _check_size(self, num_bytes: int | None) -> None:
        if num_bytes is not None and num_bytes > self._settings.max_mb * 1e6:
            raise FetchError(too_large(num_bytes))

    def _failed(self, error: Exception) -> FetchError:
        """The error for a connection that could not be made, or broke."""
        settings = self._settings
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, PrivateAddressError):
            return FetchError(
                Failure(
                    reason="private address",
                    detail=f"not fetched: {cause}",
                    advice="download.allow_private=true download.retry_permanent=true, if it is meant to be",
                    permanent=True,
                )
            )
        if isinstance(error, ValueError):  # as of the host a..b
            return FetchError(_not_http(f"the URL cannot be used: {error}"))
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            reason = "no answer"
            detail = f"no connection within {settings.connect_timeout_s:g} s (download.connect_timeout_s)"
        elif isinstance(error, aiohttp.SocketTimeoutError):
            reason = "no answer"
            detail = f"no byte within {settings.stall_timeout_s:g} s (download.stall_timeout_s)"
        elif isinstance(error, asyncio.TimeoutError):
            return FetchError(too_slow(settings.file_timeout_s))
        elif isinstance(error, aiohttp.ClientConnectorDNSError):
            reason, detail = "no such host", f"the host's name cannot be resolved: {error.os_error.strerror}"
        elif isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
            reason, detail = "TLS", f"no secure connection: {error}"
        elif isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError)):
            number = cause.errno if isinstance(cause, OSError) else None
            said = os.strerror(number) if number else str(cause)
            reason, detail = "no connection", f"no connection: {said}"
        else:
            return _unreliable(f"the transfer broke off: {error or type(error).__name__}")
        return FetchError(
            Failure(reason=reason, detail=detail, advice=RUN_AGAIN), blames_host=True, again=True
        )


def _not_http(detail: str) -> Failure:
    return Failure(reason="not http", detail=detail, advice=FIND_ANOTHER, permanent=True)


def _unreliable(detail: str) -> FetchError:
    """A transfer that went wrong; the next attempt may do better."""
    return FetchError(Failure(reason="broken transfer", detail=detail, advice=RUN_AGAIN), again=True)


def _referer(host: str) -> dict[str, str]:
    for end, referer in REFERERS.items():
        if host == end or host.endswith("." + end):
            return {"Referer": referer}
    return {}
