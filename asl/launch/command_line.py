"""The command of a job: that of this program, with other overrides."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from hydra._internal.utils import get_args_parser


def job_command(overrides: Iterable[str], *, without: Iterable[str] = ()) -> tuple[str, ...]:
    """The command that runs this program with other overrides, and without launcher.

    Args:
        overrides: those of this program that are kept, and new ones.
        without: names of keys and groups whose overrides are left out.
    """
    args = get_args_parser().parse_args()
    options = ("config_path", "config_name", "config_dir")
    flags = [f"--{name.replace('_', '-')}={value}" for name in options if (value := getattr(args, name))]
    kept = [one for one in overrides if not is_override_of(one, ("launcher", *without))]
    script = str(Path(sys.argv[0]).resolve())
    return (sys.executable, script, *flags, *kept, "launcher=none")


def is_override_of(override: str, keys: Iterable[str]) -> bool:
    """Whether an override sets one of these keys or groups, or a key in one of them.

    >>> is_override_of("+launcher.cpus=4", ["launcher"]), is_override_of("launchers=1", ["launcher"])
    (True, False)
    """
    key = override.lstrip("+~").split("=", 1)[0].split("@", 1)[0]
    return any(key == one or key.startswith(f"{one}.") for one in keys)
