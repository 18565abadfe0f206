"""Turn errors of Hydra and OmegaConf into messages that a user can act on."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator
from typing import Any

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from asl.config.setting import ConfigError, allowed_values

#: The base classes of all errors that :func:`explain` explains.
CONFIG_ERRORS = (HydraException, OmegaConfBaseException)


def explain(error: BaseException) -> str:
    """One readable message for an error of Hydra or OmegaConf."""
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()[0]
        if "=" not in error.override:
            reason = "not key=value; --help lists the keys"
        elif reason.startswith("Lexer"):  # no words, only the name of the parser's exception
            reason = "cannot be read"
        return (
            f"{error.override}: {reason}\nA value with =, comma, brackets, quotes or blanks needs quotes, "
            "inside those of the shell: 'checkpoint=\"checkpoints/seed=1/best.pt\"'"
        )
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OmegaConfBaseException) and cause.full_key):
        if isinstance(cause, ConfigError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        if unknown := re.match(r"Could not override '(.+?)'\. No match in the defaults list", str(error)):
            return f"{unknown[1]}: this program has no such choice. --help lists its choices and keys"
        return str(error).partition("\nConfig search path:")[0]  # Hydra's own folders, which help nobody
    assert isinstance(cause, OmegaConfBaseException)
    key, owner = str(cause.full_key), cause.object_type
    first = next(iter(str(error).splitlines()), "")
    lines = [first.split(":")[0] + ":"] if first.startswith("In '") else []
    fields = {f.name: f for f in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else {}
    name = key.rsplit(".", 1)[-1]
    if dataclasses.is_dataclass(owner) and name not in fields:
        if key == name and (choice := re.match(r"In '(.+)/(.+)':", first)):
            known = ", ".join(fields)
            return (
                f"{choice[1]}={choice[2]} sets {key}, a key that this program does not have. It has: {known}"
            )
        others = [] if cause.parent_node is None else list(_keys(cause.parent_node._get_root()))
        lines.append(_no_such_key(key, name, owner, list(fields), others))
    else:
        problem = str(cause.msg or cause).splitlines()[0]
        if "is not a ListConfig" in problem:
            problem = f"must be a list, as {key}=[first,second]"
        lines.append(f"{key}: {problem}")
        if name in fields:
            allowed = allowed_values(fields[name])
            lines[-1] += f" ({fields[name].metadata.get('help', '')}{'; ' + allowed if allowed else ''})"
    return "\n".join(lines)


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """The full keys of a configuration's values, without Hydra's own."""
    for name in map(str, node):
        child = node._get_node(name)
        if not isinstance(child, DictConfig):
            yield f"{prefix}{name}"
        elif name != "hydra" and not child._is_none():
            yield from _keys(child, f"{prefix}{name}.")


def _no_such_key(key: str, name: str, owner: Any, fields: list[str], others: list[str]) -> str:
    """The message for an unknown key. It names the replacement of a renamed key, or the most similar key.

    Args:
        key: the unknown key.
        name: its last part.
        owner: the class that lacks it.
        fields: the keys that the class has.
        others: the full keys of the whole configuration. Those with the same last part are suggested, too.
    """
    moved = getattr(owner, "MOVED_KEYS", {}).get(name)
    if moved is not None:
        return f"{key}: there is no such key any more. {moved}"
    prefix = key[: len(key) - len(name)]
    if not fields:
        choice = prefix.rstrip(".")
        return f"{key}: there is no such key: the chosen {choice} has none. Choose another with {choice}=..."
    same = [other for other in others if other.endswith(f".{name}")]
    near = [prefix + other for other in difflib.get_close_matches(name, fields, n=1)]
    hint = f" Did you mean {' or '.join(same or near)}?" if same or near else ""
    where = prefix.rstrip(".") or "The top level"
    choices = "" if prefix else "\n--help lists the choices, too"
    return f"{key}: there is no such key.{hint}\n{where} has: {', '.join(fields)}{choices}"
