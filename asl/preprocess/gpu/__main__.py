"""``python -m asl.preprocess.gpu``: print what this machine's GPU can do, and what ``trim=auto`` chooses."""

from __future__ import annotations

from rich.console import Console

from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.gpu.backend import open_backend
from asl.preprocess.gpu.capabilities import find_capabilities, show


def main() -> None:
    """Try everything, and print the table and the choice."""
    console = Console()
    show(find_capabilities(), console)
    with open_backend(TrimSettings(), makes_frames=True) as backend:
        choice, _ = backend.decide()
        console.print(f"trim=auto is {choice}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
