"""Commands of jobs, which are that of this program with other overrides."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from hydra._internal.utils import get_args_parser


def this_program() -> tuple[str, str]:
    """The interpreter and the script that are running."""
    return sys.executable, str(Path(sys.argv[0]).resolve())


def arguments_without(keys: Iterable[str]) -> list[str]:
    """The arguments of this program but the overrides of these keys and groups."""
    return [one for one in sys.argv[1:] if not is_override_of(one, keys)]


def config_flags() -> list[str]:
    """Hydra's flags of this program that say where its configuration is."""
    args = get_args_parser().parse_args()
    names = ("config_path", "config_name", "config_dir")
    return [f"--{name.replace('_', '-')}={value}" for name in names if (value := getattr(args, name))]


def is_override_of(argument: str, keys: Iterable[str]) -> bool:
    """Whether an argument sets one of these keys or groups, or a key in one of them.

    >>> is_override_of("+launcher.cpus=4", ["launcher"]), is_override_of("launchers=1", ["launcher"])
    (True, False)
    """
    key = argument.lstrip("+~").split("=", 1)[0]
    return any(key == one or key.startswith(f"{one}.") for one in keys)
