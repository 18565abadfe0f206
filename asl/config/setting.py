"""A setting: a field of a dataclass with default, meaning and range.

Each group of settings is a dataclass in the module that uses it. Hydra's schema of a program is composed of
these classes, in the ``config.py`` of ``asl/download``, ``asl/preprocess``, ``asl/training``,
``asl/evaluation`` and ``asl/inference/export``.
"""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
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
    """Make a dataclass field with a meaning and a range.

    Args:
        default: the default value; a list is copied for each instance. ``"???"``: the user must set it.
        help: one line, shown by ``--help`` and in error messages.
        choices: the allowed strings.
        any_length: a list may have another length than the default.
        bounds: any of ``ge``, ``gt``, ``le``, ``lt``; for a list they apply to each item.

    Raises:
        TypeError: a bound is unknown.
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
    """The allowed values in words: ``'at least 1 and at most 51'``. Empty if all are allowed."""
    if field.metadata.get("choices"):
        return "one of " + ", ".join(field.metadata["choices"])
    return " and ".join(f"{_BOUNDS[k][1]} {v:g}" for k, v in field.metadata.get("bounds", {}).items())


def as_override(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"  # blanks would end the override
    return str(value).lower() if isinstance(value, bool) else str(value)


def shell_override(key: str, path: object) -> str:
    """``key=path``, or ``key=[path,path]``, as it is typed in a shell, with quotes for Hydra where needed.

    >>> print(shell_override("resume", "runs/last.pt"), shell_override("resume", "runs/seed=1/last.pt"))
    resume=runs/last.pt 'resume="runs/seed=1/last.pt"'
    >>> print(shell_override("data.manifest", ["a.csv", "b c.csv"]))
    'data.manifest=[a.csv,"b c.csv"]'
    """
    return shlex.quote(path_override(key, path))


def path_override(key: str, path: object) -> str:
    """``key=path``, or ``key=[path,path]``, with quotes for Hydra where needed."""
    items = [_quoted(item) for item in path] if isinstance(path, list) else _quoted(path)
    return f"{key}={as_override(items)}"


def _quoted(path: object) -> str:
    """A path as Hydra parses it in an override."""
    if re.fullmatch(r"[\w/.+:@%-]+", str(path), re.ASCII):
        return str(path)
    escaped = str(path).replace('"', r"\"")
    return f'"{escaped}"'


def find_problems(config: Any, prefix: str = "") -> Iterator[str]:
    """Yield a message for each value that is out of range, and for values that contradict each other.

    A dataclass checks combinations of its fields in a method ``problems()``, which yields messages. It is
    called only if each of its fields is in range.

    Args:
        config: a dataclass of settings, which may contain others.
        prefix: prefix of the keys in messages, for example ``"data."``.
    """
    in_range = True
    for field in dataclasses.fields(config):
        key, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            nested = list(find_problems(value, f"{key}."))
            in_range = in_range and not nested
            yield from nested
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
        elif any(isinstance(item, float) and not math.isfinite(item) for item in items):
            in_range = False
            yield f"{key}={value}: must be finite ({field.metadata['help']})"
        elif wrong:
            in_range = False
            yield f"{key}={value}: must be {allowed_values(field)} ({field.metadata['help']})"
    if in_range and hasattr(config, "problems"):
        yield from config.problems()
