"""Files of YouTube videos, by yt-dlp.

One stream with pictures alone is fetched, so that nothing must be joined and no ffmpeg is needed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.utils import DownloadCancelled

from asl.download.failure import FIND_ANOTHER, RUN_AGAIN, Failure, FetchError, too_large, too_slow
from asl.download.settings import DownloadSettings
from asl.errors import UserError
from asl.files import PART

_DISK_FULL = "disk full"

_LOGIN = (
    "give a browser's cookies: download.cookies=cookies.txt download.retry_permanent=true "
    "(github.com/yt-dlp/yt-dlp, FAQ, says how to export them)"
)
_SLOWER = "run the same command again in some hours; download.interval_s=10 asks less often"
_UPDATE = (
    "YouTube changes often: pip install --upgrade 'yt-dlp[default]' (it may need a JavaScript runtime, see "
    "github.com/yt-dlp/yt-dlp/wiki/EJS), then run the same command again"
)


@dataclass(frozen=True)
class _Said:
    """What YouTube or yt-dlp say when a video cannot be had."""

    parts: tuple[str, ...]  # of a message, in lower case; one is enough
    reason: str
    advice: str
    permanent: bool = True


#: The first that fits a message counts.
_SAID = (
    _Said(
        ("not a bot", "rate-limited", "try again later", "captcha", "error 429"), "rate limit", _SLOWER, False
    ),
    _Said(
        ("http error 5", "timed out", "transporterror", "connection re"),
        "no connection",
        RUN_AGAIN,
        False,
    ),
    _Said(("no space left",), _DISK_FULL, RUN_AGAIN, False),
    _Said(("private video", "video is private"), "private video", FIND_ANOTHER),
    _Said(("confirm your age", "age-restricted", "sign in", "members", "join this channel"), "login", _LOGIN),
    _Said(("country", "geo restrict"), "blocked in this country", FIND_ANOTHER),
    _Said(
        ("removed", "terminated", "no longer available", "unavailable", "not available"), "gone", FIND_ANOTHER
    ),
)

#: Messages of yt-dlp that contain the words above but say something about yt-dlp.
_NOT_THE_VIDEO = ("requested format is not available", "only images are available")


class _Stopped(DownloadCancelled):  # type: ignore[misc]
    """The download was stopped by a progress hook, for a failure or because the run ends."""

    def __init__(self, failure: Failure | None) -> None:
        super().__init__()
        self.failure = failure


class _Silent:
    """A logger for yt-dlp, which raises what it would print as an error, too."""

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...


def fetch_youtube(video_id: str, folder: Path, settings: DownloadSettings, stop: Event) -> Path:
    """Store a video, or the rest of it, under a temporary name. Returns the file.

    Args:
        video_id: YouTube's.
        folder: where the file is written.
        settings: limits, and the preferred size.
        stop: ends the download when it is set; the function then raises.

    Raises:
        FetchError: there is no such video, or it was not stored as a whole.
        UserError: the disk is full.
    """
    ends_s = time.monotonic() + settings.file_timeout_s

    def check(state: dict[str, Any]) -> None:
        num_bytes = max(state.get("total_bytes") or 0, state.get("downloaded_bytes") or 0)
        if num_bytes > settings.max_mb * 1e6:
            raise _Stopped(too_large(num_bytes))
        if time.monotonic() > ends_s:
            raise _Stopped(too_slow(settings.file_timeout_s))
        if stop.is_set():
            raise _Stopped(None)

    # The format stands in the name: another format must not be appended to what is there.
    template = f"{folder}/.{video_id}{PART}".replace("%", "%%") + ".%(format_id)s.%(ext)s"
    options = {
        "outtmpl": template,
        "format": "bv/b",
        "format_sort": [f"res:{settings.youtube_height}", "vcodec:h264"],
        "fixup": "never",  # would need ffmpeg
        "noplaylist": True,
        "updatetime": False,
        "retries": settings.tries,
        "extractor_retries": settings.tries,
        "socket_timeout": settings.stall_timeout_s,
        "js_runtimes": {name: {} for name in ("deno", "node", "bun", "quickjs")},  # whichever is there
        "cookiefile": settings.cookies,
        "progress_hooks": [check],
        "quiet": True,
        "noprogress": True,
        "logger": _Silent(),
    }
    try:
        with YoutubeDL(options) as downloader:
            info = downloader.extract_info(f"https://www.youtube.com/watch?v={video_id}")
            return Path(info["requested_downloads"][0]["filepath"])
    except _Stopped as stopped:
        failure = stopped.failure or Failure(reason="stopped", detail="the run was stopped", advice=RUN_AGAIN)
        raise FetchError(failure) from None
    except Exception as error:  # extractors raise anything when YouTube changes, most of it as DownloadError
        failed = youtube_failure(str(error))
        if failed.failure.reason == _DISK_FULL:
            raise UserError(f"{folder} (dataset.root): no space is left on the disk") from None
        raise failed from None


def youtube_failure(message: str) -> FetchError:
    """The failure that a message of yt-dlp stands for.

    >>> youtube_failure("ERROR: [youtube] 0UzEF7ru0sQ: Private video. Sign in if ...").failure.reason
    'private video'
    """
    detail = message.removeprefix("ERROR: ").partition("\n")[0]
    low = message.lower()
    if not any(part in low for part in _NOT_THE_VIDEO):
        for said in _SAID:
            if any(part in low for part in said.parts):
                failure = Failure(
                    reason=said.reason, detail=detail, advice=said.advice, permanent=said.permanent
                )
                return FetchError(failure, blames_host=not said.permanent)
    return FetchError(Failure(reason="yt-dlp", detail=detail, advice=_UPDATE), blames_host=True)
