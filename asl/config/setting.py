"""What stands behind ``asl/config.py``: settings with a range, and errors a person can act on."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asl.errors import UserError

C = TypeVar("C")

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
    """A dataclass field with its meaning and what it may be.

    Args:
        default: the default value; a list is copied for each instance.
        help: one line on what it does, shown in error messages.
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


def _allowed(field: dataclasses.Field[Any]) -> str:
    """``'at least 1 and at most 51'``; empty where anything of the type goes."""
    if field.metadata.get("choices"):
        return "one of " + ", ".join(field.metadata["choices"])
    return " and ".join(f"{_BOUNDS[k][1]} {v:g}" for k, v in field.metadata.get("bounds", {}).items())


def _problems(node: Any, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(node):
        key, value = prefix + field.name, getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from _problems(value, key + ".")
            continue
        if value is None:
            continue
        choices, bounds = field.metadata.get("choices"), field.metadata.get("bounds", {})
        items = value if isinstance(value, list) else [value]
        wrong = (choices and any(item not in choices for item in items)) or any(
            not _BOUNDS[name][0](item, bound) for name, bound in bounds.items() for item in items
        )
        if field.metadata.get("length") not in (None, len(items)):
            yield f"{key}={value}: needs {field.metadata['length']} values ({field.metadata['help']})"
        elif wrong:
            yield f"{key}={value}: must be {_allowed(field)} ({field.metadata['help']})"


def _unknown(cfg: DictConfig, schema: Any, prefix: str = "") -> Iterator[str]:
    """Keys that ``+key=value`` appended although the schema does not have them."""
    fields = {field.name for field in dataclasses.fields(schema)}
    for name in map(str, cfg):
        key = f"{prefix}{name}"
        if name not in fields:
            yield (
                f"{key}={cfg[name]}: there is no such key; {prefix.rstrip('.') or 'the top level'} has: "
                + (", ".join(sorted(fields)))
            )
        elif isinstance(cfg._get_node(name), DictConfig):
            yield from _unknown(cfg[name], OmegaConf.get_type(cfg[name]), f"{key}.")


def checked(cfg: DictConfig, schema: type[C]) -> C:
    """The composed configuration as plain dataclasses, every value in its range.

    Raises:
        ConfigError: naming every key that is unknown or out of range, its value and what is allowed.
    """
    unknown = list(_unknown(cfg, schema))
    if unknown:
        raise ConfigError("\n".join(unknown))
    config = OmegaConf.to_object(cfg)
    if not isinstance(config, schema):
        raise TypeError(f"{schema.__name__} is not the schema of this configuration")
    problems = list(_problems(config, ""))
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _explain(error: BaseException) -> str:
    """One readable message for whatever Hydra or OmegaConf refused."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OmegaConfBaseException) and cause.full_key):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return str(error)
    assert isinstance(cause, OmegaConfBaseException)
    key, owner = str(cause.full_key), cause.object_type
    where = str(error).splitlines()[0] if str(error).startswith("In '") else ""
    lines = [where.split(":")[0] + ":"] if where else []
    fields = {f.name: f for f in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else {}
    name = key.rsplit(".", 1)[-1]
    if fields and name not in fields:
        prefix = key[: len(key) - len(name)]
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f" Did you mean {prefix}{near[0]}?" if near else ""
        keys = ", ".join(fields)
        lines.append(
            f"{key}: there is no such key.{hint}\n{prefix.rstrip('.') or 'The top level'} has: {keys}"
        )
    else:
        lines.append(f"{key}: {str(cause.msg or cause).splitlines()[0]}")
        if name in fields:
            allowed = _allowed(fields[name])
            lines[-1] += f" ({fields[name].metadata.get('help', '')}{'; ' + allowed if allowed else ''})"
    return "\n".join(lines)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Around a Hydra main: what the user can mend is one message on stderr and exit code 1."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions reach us instead of Hydra's printer
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {_explain(error)}")


@contextmanager
def readable_job_errors() -> Iterator[None]:
    """In a Hydra job: what the user can mend ends the program here, before Hydra adds a line of its own.

    Not in a sweep, whose other jobs go on; Hydra raises the error again after the last one.
    """
    try:
        yield
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {error}")
