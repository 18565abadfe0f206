"""Rate of ``predict.py`` from video files to glosses, side by side with plain loops over the same files.

python -m benchmarks.predict --checkpoint checkpoints/demo/best.pt --videos data/demo/videos
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import asl
from asl.inference.inputs import find_videos
from asl.inference.prediction import Prediction

if TYPE_CHECKING:
    from asl.inference.predictor import Predictor  # imports torch, which each process that decodes would do


def one_by_one(predictor: Predictor, files: list[Path]) -> int:
    """Decode a clip in this process, predict it, and go on with the next one."""
    return len([predictor.predict(file) for file in files])


def pool_for_each(predictor: Predictor, files: list[Path]) -> int:
    """The same with a new process that decodes each clip, so that a crash costs only that clip."""
    return sum(isinstance(one, Prediction) for file in files for one in predictor.predict_many([file]))


def many(predictor: Predictor, files: list[Path]) -> int:
    """``predict_many``: processes that decode beside the network, and batches."""
    return sum(isinstance(one, Prediction) for one in predictor.predict_many(files))


def decode_only(predictor: Predictor, files: list[Path]) -> int:
    """Decoding alone, in this process."""
    return len([predictor.frames(file) for file in files])


PLAIN = "one clip after another, decoded in this process"
#: By name, with the share of the clips that is enough to measure it.
WAYS: dict[str, tuple[Callable[[Predictor, list[Path]], int], float]] = {
    "predict_many, as predict.py": (many, 1.0),
    PLAIN: (one_by_one, 1.0),
    "one clip after another, a new process for each": (pool_for_each, 0.1),
    "decoding alone, in this process": (decode_only, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="checkpoints/demo/best.pt")
    parser.add_argument("--videos", default="data/demo/videos", help="folder of clips")
    parser.add_argument("--clips", type=int, default=200, help="clips in a round; files are taken again")
    parser.add_argument("--rounds", type=int, default=1, help="the ways take turns; the median is printed")
    args = parser.parse_args()
    files = list(islice(cycle(find_videos([args.videos])), args.clips))
    predictor = asl.load(args.checkpoint)
    many(predictor, files[:8])  # starts the server of processes and the network's first, slow step
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(args.rounds):
        for name, (way, share) in WAYS.items():
            some = files[: max(1, round(share * len(files)))]
            began = time.perf_counter()
            count = way(predictor, some)
            rates[name].append(len(some) / (time.perf_counter() - began))
            if count != len(some):
                raise SystemExit(f"{name}: {len(some) - count} clips failed")
    medians = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    print(f"| {len(files)} clips, {predictor.recogniser.device.type} | clips/s | times one after another |")
    print("|---|---|---|")
    for name, rate in medians.items():
        print(f"| {name} | {rate:.1f} | {rate / medians[PLAIN]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
