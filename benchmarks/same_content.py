"""How well the audit tells copies of a clip from other signs of the same signer before the same wall.

    python -m benchmarks.same_content
    python -m benchmarks.same_content --clips 8 --width 320 --height 240 --grain 3.5

Clips of the demo's signers. Each is compared with copies of it, and with other signs of the same wall, length
and start. A pair is called copies if its fingerprints propose it and its similarity confirms it. Then 200
proposed pairs of clips of 640x360 and 81 frames are timed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from asl.codecs.decoder import decode_file
from asl.contract.manifest import Clip
from asl.demo.glosses import GLOSSES
from asl.demo.signer import Performance, make_performance, make_signer, render_frame
from asl.preprocess.audit.confirm import SAME, compare_proposals, read_film, similarity
from asl.preprocess.audit.same_content import propose_copies
from asl.preprocess.clips import fingerprint
from asl.workers import Done, Workers, run_each

ROOT = Path(__file__).resolve().parent.parent
RATES = (Fraction(30000, 1001), Fraction(25), Fraction(24000, 1001), Fraction(30))
CHIN, MOUTH, EYE = 0.40, 0.345, 0.28  # heights in the picture of the demo's average signer

Pictures = list[npt.NDArray[np.uint8]]  # (H, W, 3) each


@dataclass(frozen=True)
class Measured:
    """A pair of clips."""

    kind: str
    copies: bool
    proposed: bool
    similarity: float


@dataclass(frozen=True)
class Original:
    """A clip, as frames before encoding."""

    frames: Pictures
    fps: Fraction

    def at_rate(self, fps: Fraction) -> Original:
        """The same at another rate: frames are left out or repeated."""
        count = round(len(self.frames) / self.fps * fps)
        indices = [min(int(i / fps * self.fps), len(self.frames) - 1) for i in range(count)]
        return Original([self.frames[i] for i in indices], fps)

    def without_first(self, count: int) -> Original:
        """Without its first frames."""
        return Original(self.frames[count:], self.fps)

    def with_bars_and_logo(self) -> Original:
        """With black bars above and below, and a light rectangle in a corner."""
        frames = [frame.copy() for frame in self.frames]
        height, width = frames[0].shape[:2]
        for frame in frames:
            frame[: height // 10] = frame[-height // 10 :] = 0
            frame[height // 9 : height // 6, width // 9 : width // 5] = 230
        return Original(frames, self.fps)

    def dimmed(self) -> Original:
        """With less contrast."""
        return Original([(frame * 0.8 + 20).astype(np.uint8) for frame in self.frames], self.fps)


def measure(size: tuple[int, int], grain: float, number: int) -> list[Measured]:
    """All pairs of one clip."""
    rng = np.random.default_rng([5, number])
    signer, fps = make_signer(number % 40, 0), RATES[number % 4]
    length = int(np.clip(rng.lognormal(np.log(60), 0.4), 27, 148))  # as of the demo's clips, at 25 fps
    duration_s = length / 25
    signed_s = min(duration_s * rng.uniform(0.8, 1.0), rng.uniform(2.2, 3.6))
    start_s = rng.uniform(0, duration_s - signed_s)
    usual = make_performance(GLOSSES[number % 8], start_s, signed_s, rng)

    def render(performance: Performance) -> Original:
        frames = []
        for i in range(round(duration_s * fps)):
            frame = render_frame(signer, (performance,), float(i / fps), i, *size)
            noise = rng.normal(0, grain, (*frame.shape[:2], 1))
            frames.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
        return Original(frames, fps)

    def held(height: float, x: float = 0.0) -> Performance:
        centre = (usual.gloss.side * x - 0.29, height - 0.58)
        return replace(usual, centre=centre, radius=0.01)

    def higher(by: float) -> Performance:
        return replace(usual, centre=(usual.centre[0], usual.centre[1] - by))

    with tempfile.TemporaryDirectory() as folder:
        half = (size[0] // 4 * 2, size[1] // 4 * 2)
        write, bad = (
            partial(_write, Path(folder), size=size),
            partial(_write, Path(folder), size=half, crf=35),
        )
        other = RATES[0] if fps == 25 else RATES[1]
        sign, chin = render(usual), render(held(CHIN))
        one, held_one = write(sign), write(chin)
        pairs: list[tuple[str, bool, Clip, Clip]] = [
            ("half the size, crf 35", True, one, bad(sign)),
            ("and less contrast", True, one, bad(sign.dimmed())),
            ("bars and a logo", True, one, write(sign.with_bars_and_logo())),
            ("one frame later", True, one, write(sign.without_first(1))),
            ("two frames later, half the size, crf 35", True, one, bad(sign.without_first(2))),
            ("another rate (25 to 29.97 or back)", True, one, write(sign.at_rate(other))),
            ("another rate, half the size, crf 35", True, one, bad(sign.at_rate(other))),
            ("15 fps, half the size, crf 35", True, one, bad(sign.at_rate(Fraction(15)))),
            ("hand at the chin: half the size, crf 35", True, held_one, bad(chin)),
            ("hand at the chin: and another rate", True, held_one, bad(chin.at_rate(other))),
            ("hand at the mouth, not at the chin", False, held_one, write(render(held(MOUTH)))),
            ("and half the size, crf 35", False, held_one, bad(render(held(MOUTH)))),
            ("hand at the cheek, not at the chin", False, held_one, write(render(held(MOUTH, 0.05)))),
            ("hand at the eyes, not at the chin", False, held_one, write(render(held(EYE)))),
            ("circle higher by chin to mouth (0.055)", False, one, write(render(higher(0.055)))),
            ("circle higher by 0.03 of the picture", False, one, write(render(higher(0.03)))),
        ]
        for radius in (usual.radius, 0.07, 0.04):
            first = one if radius == usual.radius else write(render(replace(usual, radius=radius)))
            pairs += [
                (
                    f"other motion, circle of {'usual radius' if first is one else radius}",
                    False,
                    first,
                    second,
                )
                for gloss in GLOSSES
                if gloss.hand == usual.gloss.hand and gloss != usual.gloss
                for second in [write(render(replace(usual, gloss=gloss, radius=radius)))]
            ]
        return [_measured(*pair) for pair in pairs]


def _measured(kind: str, copies: bool, one: Clip, other: Clip) -> Measured:
    proposed = propose_copies({"one": _fingerprint(one), "other": _fingerprint(other)})
    films = [read_film((Path(clip.path), clip)) for clip in (one, other)]
    return Measured(kind, copies, bool(proposed), similarity(*films))


def _fingerprint(clip: Clip) -> tuple[str, float]:
    kept = fingerprint.frames_to_keep(clip.num_frames)
    decoded = decode_file(Path(clip.path), thumbnail_frames=kept, thumbnail_side=fingerprint.SIDE)
    return fingerprint.to_text(decoded.thumbnails), clip.duration_s


def _write(folder: Path, original: Original, *, size: tuple[int, int], crf: int = 22) -> Clip:
    """Encode a clip, and return its row of the manifest."""
    path = folder / f"{len(list(folder.iterdir()))}.mp4"
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": str(crf)}
        stream: Any = container.add_stream("libx264", rate=original.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in original.frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(*size, format="yuv420p", interpolation="BICUBIC")))
        container.mux(stream.encode())
    return _row(path, len(original.frames), original.fps)


def _row(path: Path, num_frames: int, fps: Fraction) -> Clip:
    duration_s = float(num_frames / fps)
    return Clip(
        split="train",
        gloss="",
        label=0,
        video_id=path.stem,
        path=str(path),
        num_frames=num_frames,
        fps=float(fps),
        duration_s=duration_s,
        width=0,
        height=0,
        signer_id="",
        source="",
        start_s=0.0,
        end_s=duration_s,
    )


def seconds_of(pairs: int, workers: int | None) -> float:
    """How long that many pairs take, of clips that are in no other pair."""
    signer, fps = make_signer(1, 0), Fraction(25)
    performance = make_performance(GLOSSES[0], 0.3, 2.6, np.random.default_rng(0))
    frames = [render_frame(signer, (performance,), i / 25, i, 640, 360) for i in range(81)]
    with tempfile.TemporaryDirectory() as name, Workers(workers) as pool:
        folder = Path(name)
        clip = _write(folder, Original(frames, fps), size=(640, 360))
        names = [f"{i:05}" for i in range(2 * pairs)]
        clips = [replace(clip, video_id=video_id) for video_id in names]
        started = time.perf_counter()
        compare_proposals(
            list(zip(names[::2], names[1::2], strict=True)),
            clips=clips,
            digests={name: name for name in names},  # so that each clip is decoded
            data_dir=Path(),
            workers=pool,
            progress=Progress(disable=True),
            timeout_s=60,
        )
        return time.perf_counter() - started


def by_kind(measured: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """The rows of the table: of pairs that are proposed, and of all, the range of the similarity."""
    groups: dict[tuple[bool, str], list[Measured]] = defaultdict(list)
    for one in measured:
        groups[not one.copies, one.kind].append(one)
    for (_, kind), group in groups.items():
        values = [one.similarity for one in group]
        proposed = [one.similarity for one in group if one.proposed]
        yield {
            "kind": kind,
            "copies": group[0].copies,
            "pairs": len(group),
            "proposed": len(proposed),
            "called_copies": sum(value >= SAME for value in proposed),
            "proposed_range": [min(proposed), max(proposed)] if proposed else None,
            "range": [min(values), max(values)],
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--width", type=int, default=144)
    parser.add_argument("--height", type=int, default=108)
    parser.add_argument("--grain", type=float, default=0.0, help="of the camera, in grey levels")
    parser.add_argument("--pairs", type=int, default=200, help="proposed pairs that are timed")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/same_content.json")
    args = parser.parse_args()
    measured: list[Measured] = []
    task = partial(measure, (args.width, args.height), args.grain)
    for ended in run_each(task, range(args.clips), workers=args.workers):
        if not isinstance(ended, Done):
            raise SystemExit(f"clip {ended.task}: {ended.message}")
        measured += ended.result
    rows = list(by_kind(measured))
    table = Table(title=f"Clips of {args.width}x{args.height}; copies from {SAME} on", title_justify="left")
    for name in ("pair", "pairs", "proposed", "called copies", "similarity of proposed", "of all"):
        table.add_column(name, justify="left" if name == "pair" else "right")

    def text(limits: list[float] | None) -> str:
        return "" if limits is None else " to ".join(f"{value:.2f}" for value in limits)

    for row in rows:
        counts = (str(row[name]) for name in ("pairs", "proposed", "called_copies"))
        table.add_row(row["kind"], *counts, text(row["proposed_range"]), text(row["range"]))
    console = Console(width=130)
    console.print(table)
    seconds = seconds_of(args.pairs, args.workers)
    console.print(f"{args.pairs} proposed pairs of 640x360 and 81 frames: {seconds:.1f} s")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    content = {"rows": rows, "seconds": seconds, "measured": [dataclasses.asdict(one) for one in measured]}
    args.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
