"""Turn errors of Hydra and OmegaConf into messages that a user can act on."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from asl.config.setting import ConfigError, allowed_values

#: The base classes of all errors that :func:`explain` explains.
CONFIG_ERRORS = (HydraException, OmegaConfBaseException)


def explain(error: BaseException) -> str:
    """One readable message for an error of Hydra or OmegaConf."""
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()[0]
        if reason.startswith("Lexer"):  # no words, only the name of the parser's exception
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
        return str(error).partition("\nConfig search path:")[0]  # Hydra's own folders, which help nobody
    assert isinstance(cause, OmegaConfBaseException)
    key, owner = str(cause.full_key), cause.object_type
    first = next(iter(str(error).splitlines()), "")
    lines = [first.split(":")[0] + ":"] if first.startswith("In '") else []
    fields = {f.name: f for f in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else {}
    name = key.rsplit(".", 1)[-1]
    if dataclasses.is_dataclass(owner) and name not in fields:
        lines.append(_no_such_key(key, name, owner, list(fields)))
    else:
        problem = str(cause.msg or cause).splitlines()[0]
        if "is not a ListConfig" in problem:
            problem = f"must be a list, as {key}=[first,second]"
        lines.append(f"{key}: {problem}")
        if name in fields:
            allowed = allowed_values(fields[name])
            lines[-1] += f" ({fields[name].metadata.get('help', '')}{'; ' + allowed if allowed else ''})"
    return "\n".join(lines)


def _no_such_key(key: str, name: str, owner: Any, fields: list[str]) -> str:
    """The message for an unknown key. It names the replacement of a renamed key, or the most similar key."""
    moved = getattr(owner, "MOVED_KEYS", {}).get(name)
    if moved is not None:
        return f"{key}: there is no such key any more. {moved}"
    prefix = key[: len(key) - len(name)]
    if not fields:
        choice = prefix.rstrip(".")
        return f"{key}: there is no such key: the chosen {choice} has none. Choose another with {choice}=..."
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f" Did you mean {prefix}{near[0]}?" if near else ""
    where = prefix.rstrip(".") or "The top level"
    return f"{key}: there is no such key.{hint}\n{where} has: {', '.join(fields)}"
