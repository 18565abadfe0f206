"""Kill ``download.py`` at random moments and run it again: each file is fetched once and is whole.

    python -m benchmarks.downloads [--kills 10] [--files 200] [--seed 0]

A server on the loopback sends the files slowly, some after a redirect, a 429 or a cut connection, and notes
each request. A kill is SIGKILL to the whole process group. After each kill, all files with a final name must
be those of the server; in the next run no such file may be asked for again, and a file that was begun must be
asked for from its next byte on. The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from asl.contract.paths import Paths
from asl.files import PART
from benchmarks.file_server import FileServer, Page, serve
from benchmarks.kills import run_until, start
from benchmarks.made_videos import make_set

ROOT = Path(__file__).resolve().parent.parent
DISTINCT = 20  # videos; the others are the same files under other names


def found(raw_dir: Path) -> dict[str, int]:
    """The sizes in bytes of the files in the raw folder by video_id, those that are not complete included.

    A run may be writing to the folder: a file that gets its final name meanwhile may be left out.
    """
    sizes: dict[str, int] = {}
    for path in raw_dir.iterdir() if raw_dir.is_dir() else ():
        if path.name != ".lock":
            with contextlib.suppress(FileNotFoundError):
                sizes[path.name.lstrip(".").split(".")[0]] = path.stat().st_size
    return sizes


def check_round(
    raw_dir: Path, server: FileServer, videos: Mapping[str, bytes], before: Mapping[str, int], earlier: int
) -> list[str]:
    """What a run did wrong, a line each.

    Args:
        raw_dir: the raw folder.
        server: its paths end in ``/{video_id}.mp4``.
        videos: the files by video_id.
        before: the sizes of the files before the run.
        earlier: number of requests before the run.
    """
    wrong = [
        f"{path.name} is not the file of the server"
        for path in raw_dir.glob("[!.]*")
        if path.read_bytes() != videos[path.stem]
    ]
    asked: set[str] = set()
    for request in server.requests[earlier:]:
        video_id = Path(request.path).stem
        if request.status not in (200, 206) or video_id in asked:
            continue
        asked.add(video_id)
        size = before.get(video_id, 0)
        if size == len(videos[video_id]):
            wrong.append(f"{video_id} was complete and is asked for again")
        elif request.start != size:
            wrong.append(f"{video_id} is asked for from byte {request.start}, {size} were there")
    return wrong


def publish(server: FileServer, videos: Mapping[str, bytes]) -> None:
    """Put the files on the server: of each 20, two behind a redirect, one after a 429, two with a cut."""
    for index, (video_id, body) in enumerate(videos.items()):
        path, page = f"/{video_id}.mp4", Page(body, chunk=1 << 15, pause_s=0.01)
        if index % 10 == 1:
            server.pages[path] = Page(status=302, headers={"Location": f"/moved{path}"})
            path = f"/moved{path}"
        elif index % 20 == 2:
            page.first = [Page(status=429, headers={"Retry-After": "1"})]
        elif index % 10 == 3:
            page.first = [dataclasses.replace(page, cut_after=len(body) // 2)]
        server.pages[path] = page


def prepare(data: Path, server: FileServer, videos: Mapping[str, bytes]) -> list[str]:
    """Make an empty data folder; returns the command of the run."""
    shutil.rmtree(data, ignore_errors=True)
    metadata = data / "metadata" / "bench.json"
    metadata.parent.mkdir(parents=True)
    row = {"gloss": "book", "split": "train", "frame_start": 1, "frame_end": -1}
    rows = [{**row, "video_id": name, "url": f"{server.url}/{name}.mp4"} for name in videos]
    metadata.write_text(json.dumps(rows))
    publish(server, videos)
    command = [sys.executable, str(ROOT / "download.py"), f"paths.data_dir={data}", "dataset.name=bench"]
    command += [f"dataset.metadata={metadata}", "dataset.num_glosses=null", "download.interval_s=0"]
    return [*command, "download.per_host=4", "download.allow_private=true"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()

    console, moments, wrong, kills = Console(), random.Random(args.seed), [], 0
    with tempfile.TemporaryDirectory() as temporary, serve() as server:
        made = Path(temporary) / "made"
        make_set(made, DISTINCT)
        bodies = [path.read_bytes() for path in sorted(made.glob("*.mp4"))]
        videos = {f"{index:04}": bodies[index % len(bodies)] for index in range(args.files)}
        data = Path(temporary) / "data"
        raw_dir, num_bytes = Path(Paths.below(data).raw_dir), sum(map(len, videos.values()))

        command = prepare(data, server, videos)
        started = time.perf_counter()
        if start(command, data).wait():
            raise RuntimeError((data / "log.txt").read_text()[-3000:])
        seconds = time.perf_counter() - started
        console.print(f"a quiet run: {seconds:.1f} s, {len(videos)} files, {num_bytes / 1e6:.0f} MB")

        while kills < args.kills:
            server.requests.clear()
            command, code = prepare(data, server, videos), None
            while code is None:
                sizes, earlier = found(raw_dir), len(server.requests)
                moment_s = moments.uniform(0, seconds / 3) if kills < args.kills else 10 * seconds + 60
                code = run_until(start(command, data), moment_s)
                wrong += check_round(raw_dir, server, videos, sizes, earlier)
                if code is None:
                    kills += 1
                    done = len(list(raw_dir.glob("[!.]*")))
                    console.print(f"killed after {moment_s:.1f} s with {done} files complete")
            if code:
                raise RuntimeError((data / "log.txt").read_text()[-3000:])
            sizes = found(raw_dir)
            wrong += [f"{name}: not complete" for name in videos if sizes.get(name) != len(videos[name])]
            wrong += [f"{path.name}: too much" for path in raw_dir.glob(f".*{PART}*")]
            sent = sum(request.sent for request in server.requests if request.status in (200, 206))
            console.print(f"ended: the server has sent {sent / num_bytes:.3f} times the bytes of the files")
    for line in wrong:
        console.print(line, markup=False)
    console.print(f"{kills} kills, {len(wrong)} things wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
