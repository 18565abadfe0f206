"""``python -m asl.preprocess.gpu``: print what this machine's GPU can do, and what ``trim=auto`` chooses."""

from __future__ import annotations

from rich.console import Console

from asl.preprocess.gpu.capabilities import find_capabilities, show
from asl.preprocess.gpu.choice import choose


def main() -> None:
    """Try everything, and print the table and the choice."""
    console = Console()
    capabilities = find_capabilities()
    show(capabilities, console)
    console.print(f"trim=auto is {choose('auto', capabilities)}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
