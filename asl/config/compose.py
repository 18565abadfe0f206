"""How Hydra composes a configuration out of YAML files and dataclasses.

A YAML file under ``conf/`` says which class its choice is, and only what differs from that class::

    # conf/model/r3d.yaml
    _target_: asl.model.networks.r3d.R3D

:class:`TypedYaml` puts the class's own fields in place of ``_target_``, so that every key of the choice is
there with its type and default, can be overridden on the command line, and is checked by Hydra. To add a
choice is therefore to add a module and a YAML file; nothing lists them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from asl.config.setting import ConfigError, find_problems

C = TypeVar("C")

_TARGET = "_target_"


class TypedYaml(FileConfigSource):
    """Hydra's reader of YAML files; replaces ``_target_: module.Class`` by the fields of that dataclass."""

    def load_config(self, config_path: str) -> ConfigResult:
        result: ConfigResult = super().load_config(config_path)
        result.config = _typed(result.config, f"{self.path}/{config_path}")
        return result


def _typed(node: Any, file: str) -> Any:
    if not isinstance(node, DictConfig):
        return node
    for key in list(node):
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            node[key] = _typed(child, file)
    if _TARGET not in node:
        return node
    target = node.pop(_TARGET)
    try:
        schema = get_class(target)
    except Exception as error:  # whatever importing a module can raise
        raise ConfigError(f"{file}: _target_={target} cannot be imported: {_cause(error)}") from error
    if not dataclasses.is_dataclass(schema):
        raise ConfigError(f"{file}: _target_={target} is not a dataclass of settings")
    return OmegaConf.merge(OmegaConf.structured(schema), node)


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def register(**schemas: type) -> None:
    """Make schemas known to Hydra, by the names with which the defaults lists of ``conf/*.yaml`` begin.

    From here on Hydra reads YAML files through :class:`TypedYaml`, those of ``--config-dir`` too. Hydra has
    no public way to replace its reader of files, so this sets it where Hydra 1.3 looks it up.
    """
    Plugins.instance()  # registers Hydra's own reader
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = TypedYaml
    for name, schema in schemas.items():
        ConfigStore.instance().store(name=name, node=schema)


def checked(cfg: DictConfig, schema: type[C]) -> C:
    """The composed configuration as plain dataclasses, every value in its range.

    Raises:
        ConfigError: naming every key that is unknown or out of range, its value and what is allowed.
    """
    unknown = list(_unknown_keys(cfg, schema))
    if unknown:
        raise ConfigError("\n".join(unknown))
    config = OmegaConf.to_object(cfg)
    if not isinstance(config, schema):
        raise TypeError(f"{schema.__name__} is not the schema of this configuration")
    problems = list(find_problems(config))
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _unknown_keys(cfg: DictConfig, schema: Any, prefix: str = "") -> Iterator[str]:
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
            yield from _unknown_keys(cfg[name], OmegaConf.get_type(cfg[name]), f"{key}.")
