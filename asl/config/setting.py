"""A setting: one field of a dataclass with its default, its meaning and its range.

Each concept has one dataclass, which stands in the module that uses it. Hydra's schema of a program is
composed of these classes (``asl/preprocess/config.py``, ``asl/training/config.py``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from asl.errors import UserError

_BOUNDS = {
    "ge": (lambda value, bound: value >= bound, "at least"),
    "gt": (lambda value, bound: value > bound, "greater than"),
    "le": (lambda value, bound: value <= bound, "at most"),
    "lt": (lambda value, bound: value < bound, "less than"),
}


class ConfigError(UserError):
    """A key, type or value that the configuration does not allow."""


def setting(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    any_length: bool = False,
    **bounds: float,
) -> Any:
    """A dataclass field with its meaning and its range.

    Args:
        default: the default value; a list is copied for each instance. ``"???"``: it must be set.
        help: one line on what it does, shown by ``--help`` and in error messages.
        choices: the allowed strings.
        any_length: a list may have another length than its default.
        bounds: any of ``ge``, ``gt``, ``le``, ``lt``; for a list they hold for each item.
    """
    unknown = set(bounds) - set(_BOUNDS)
    if unknown:
        raise TypeError(f"unknown bounds {sorted(unknown)}")
    length = len(default) if isinstance(default, list) and not any_length else None
    metadata = {"help": help, "choices": choices, "bounds": bounds, "length": length}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def allowed_values(field: dataclasses.Field[Any]) -> str:
    """``'at least 1 and at most 51'``. Empty if every value of the type is allowed."""
    if field.metadata.get("choices"):
        return "one of " + ", ".join(field.metadata["choices"])
    return " and ".join(f"{_BOUNDS[k][1]} {v:g}" for k, v in field.metadata.get("bounds", {}).items())


def find_problems(config: Any, prefix: str = "") -> Iterator[str]:
    """Every value of a configuration that is out of range, and every pair that contradict each other.

    A dataclass that has a method ``problems()`` yields there what its fields say only together.

    Args:
        config: a dataclass of settings, which may hold others.
        prefix: of the keys in the messages: ``"data."``.
    """
    in_range = True
    for field in dataclasses.fields(config):
        key, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from find_problems(value, f"{key}.")
            continue
        if value is None:
            continue
        choices, bounds = field.metadata.get("choices"), field.metadata.get("bounds", {})
        items = value if isinstance(value, list) else [value]
        wrong = (choices and any(item not in choices for item in items)) or any(
            not _BOUNDS[name][0](item, bound) for name, bound in bounds.items() for item in items
        )
        if field.metadata.get("length") not in (None, len(items)):
            in_range = False
            yield f"{key}={value}: needs {field.metadata['length']} values ({field.metadata['help']})"
        elif wrong:
            in_range = False
            yield f"{key}={value}: must be {allowed_values(field)} ({field.metadata['help']})"
    if in_range and hasattr(config, "problems"):
        yield from config.problems()
