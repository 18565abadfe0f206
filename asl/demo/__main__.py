"""``python -m asl.demo``: make the built-in data set."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from asl.demo.make import make_demo
from asl.errors import UserError


def main() -> None:
    """Make the demo that the command line describes and print a summary."""
    parser = argparse.ArgumentParser(prog="python -m asl.demo", description="Make the built-in data set.")
    parser.add_argument(
        "data_dir", nargs="?", type=Path, default=Path("data/demo"), help="default: data/demo"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a demo that is there")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    arguments = parser.parse_args()

    started = time.monotonic()
    try:
        demo = make_demo(
            arguments.data_dir,
            seed=arguments.seed,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the next run starts afresh")
    clips = ", ".join(f"{count} {split}" for split, count in demo.clips.items())
    print(
        f"{demo.num_instances} instances of 8 glosses, {demo.num_raw_files} raw videos. "
        f"{sum(demo.clips.values())} instances can be cut: {clips}"
    )
    if demo.made:
        print(f"made {demo.data_dir} in {time.monotonic() - started:.0f} s")
    else:
        print(f"{demo.data_dir} is there already; --overwrite makes it anew")
    where = "" if demo.data_dir == Path("data/demo") else f" paths.data_dir={demo.data_dir}"
    print(f"next: python preprocess.py dataset=demo{where}")


if __name__ == "__main__":
    main()
