"""Settings of downloads, ``download.*`` in the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from asl.config.setting import setting

#: Time limit in seconds for opening a file to see whether it is a video. It takes milliseconds; damaged files
#: can hang a decoder.
PROBE_TIMEOUT_S = 60.0


@dataclass(kw_only=True)
class DownloadSettings:
    """How files are fetched: how many at once, how often, and when an attempt is given up."""

    hosts: int = setting(16, "number of hosts from which files are fetched at the same time", ge=1)
    per_host: int = setting(1, "number of files fetched from one host at the same time", ge=1)
    interval_s: float = setting(1.0, "seconds between the starts of two requests to one host", ge=0)
    tries: int = setting(3, "attempts in a row without a new byte, after which a file is left", ge=1)
    connect_timeout_s: float = setting(20.0, "time limit for a connection", gt=0)
    stall_timeout_s: float = setting(30.0, "an attempt ends if no byte arrives for so long", gt=0)
    file_timeout_s: float = setting(900.0, "time limit for a file in one run, without waiting", gt=0)
    max_wait_s: float = setting(
        120.0, "longest wait that a host may ask for; if it asks for more, it is left for a later run", ge=0
    )
    give_up_after: int = setting(
        5, "a host that failed for so many files in a row is left for a later run", ge=1
    )
    max_mb: float = setting(1000.0, "largest file, in 10^6 bytes", gt=0)
    max_redirects: int = setting(5, "number of redirects that are followed for a file", ge=0)
    allow_private: bool = setting(False, "also connect to local and private addresses")
    retry_permanent: bool = setting(False, "also try files that failed for good in an earlier run")
    user_agent: str = setting("Mozilla/5.0 (compatible; asl)", "sent to hosts as User-Agent")
    youtube: bool = setting(True, "also fetch from YouTube")
    youtube_height: int = setting(720, "preferred number of lines of YouTube videos", ge=1)
    cookies: str | None = setting(
        None, "a browser's cookies.txt for YouTube, for videos that ask for a login or an age"
    )
