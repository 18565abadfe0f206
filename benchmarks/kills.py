"""Kill ``preprocess.py`` at random moments and run it again: the results must be those of a quiet run.

    python -m benchmarks.kills [--trim cpu] [--kills 20] [--clips 200] [--seed 0] [--work DIR]

A kill is SIGKILL to the whole process group, at a moment that is drawn from the time that a quiet run takes.
After a kill the same command goes on with what is there. When a run comes to its end before its kill, all
files are compared byte for byte with those of the quiet run, and the next round begins with an empty folder.
The exit code is 1 if a file differs, is missing, is too much or is an incomplete one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from asl.contract.paths import Paths
from asl.files import PART
from benchmarks.made_videos import GRAIN
from benchmarks.trim import prepare, processes, read_lines, videos

ROOT = Path(__file__).resolve().parent.parent
END_S = 20.0  # in which killed processes must be gone


def start(command: Sequence[str], data: Path) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own; what it prints is appended to ``log.txt``."""
    with (data / "log.txt").open("ab") as output:
        return subprocess.Popen(
            command, cwd=data, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def run_until(process: subprocess.Popen[bytes], moment_s: float) -> int | None:
    """Kill a run ``moment_s`` seconds from now with all its processes; None. Its exit code if it ends before.

    Raises:
        RuntimeError: processes of the run outlive it.
    """
    try:
        return process.wait(timeout=moment_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + END_S
    while any(one.group == process.pid and not one.is_zombie for one in processes()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of the group {process.pid} outlive SIGKILL") from None
        time.sleep(0.02)
    return None


def snapshot(data: Path) -> dict[str, str]:
    """Digests of all results, by name: manifest, errors, audit, clips and stored frames."""
    paths = Paths.below(data)
    files = [paths.manifest("bench"), paths.errors("bench"), paths.audit("bench")]
    for folder in (paths.videos_dir, paths.frames_dir):
        files += [path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock"]
    return {
        path.relative_to(data).as_posix(): hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        for path in sorted(files)
    }


def compare(data: Path, meant: dict[str, str]) -> list[str]:
    """What is wrong with the results of a run, a line each."""
    wrong = [
        f"{path.relative_to(data)}: an incomplete file" for path in data.rglob(f".*{PART}*") if path.is_file()
    ]
    found = snapshot(data)
    wrong += [f"{name}: missing" for name in meant.keys() - found.keys()]
    wrong += [f"{name}: too much" for name in found.keys() - meant.keys()]
    wrong += [f"{name}: differs" for name in meant.keys() & found.keys() if meant[name] != found[name]]
    return sorted(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trim", default="cpu")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--work", type=Path, help="keep the files here, and take the videos from here next time"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/kills.json")
    args = parser.parse_args()

    console = Console()
    moments = random.Random(args.seed)
    results: dict[str, Any] = {"trim": args.trim, "clips": args.clips, "kills": [], "rounds": []}
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        rows = videos(work, args.clips, args.clips, GRAIN)
        quiet, killed = work / "quiet", work / "killed"
        for folder in (quiet, killed):
            shutil.rmtree(folder, ignore_errors=True)
        command = prepare(work / "raw", quiet, rows, args.trim)
        started = time.perf_counter()
        _check(start(command, quiet).wait(), quiet)
        results["quiet_s"] = seconds = time.perf_counter() - started
        meant = snapshot(quiet)
        console.print(f"a quiet run: {seconds:.1f} s, {len(meant)} files")

        while len(results["kills"]) < args.kills:
            shutil.rmtree(killed, ignore_errors=True)
            command = prepare(work / "raw", killed, rows, args.trim)
            code: int | None = None
            while code is None:
                left = args.kills - len(results["kills"])
                moment_s = moments.uniform(0, seconds) if left else 10 * seconds + 60
                code = run_until(start(command, killed), moment_s)
                if code is None:
                    if not left:
                        raise RuntimeError(f"a run did not end within {moment_s:.0f} s")
                    done = len(read_lines(Paths.below(killed).proof_log))
                    results["kills"].append({"after_s": moment_s, "clips": done})
                    console.print(f"killed after {moment_s:.1f} s with {done} clips done")
            _check(code, killed)
            wrong = compare(killed, meant)
            results["rounds"].append({"kills": len(results["kills"]), "wrong": wrong})
            console.print(
                "ended: " + (f"{len(wrong)} files are wrong" if wrong else "all files are the same")
            )
            for line in wrong[:20]:
                console.print(f"  {line}", markup=False, soft_wrap=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, indent=1))
    bad = sum(bool(one["wrong"]) for one in results["rounds"])
    console.print(f"{len(results['kills'])} kills in {len(results['rounds'])} rounds, {bad} with wrong files")
    sys.exit(1 if bad else 0)


def _check(code: int, data: Path) -> None:
    if code:
        raise RuntimeError(f"the run ended with {code}:\n{(data / 'log.txt').read_text()[-3000:]}")


if __name__ == "__main__":
    main()
