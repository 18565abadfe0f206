"""Compose a configuration from YAML files and dataclasses, with Hydra.

A YAML file in ``conf/`` names the dataclass of its choice, and has only the values that differ from it::

    # conf/model/r3d.yaml
    _target_: asl.model.networks.r3d.R3D

:class:`TypedYaml` replaces ``_target_`` by the fields of the class. Every key of the choice then has its type
and default, can be overridden on the command line, and is checked by Hydra. To add a choice, add a module and
a YAML file; there is no list of choices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from hydra._internal.core_plugins.basic_launcher import BasicLauncherConf
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.launcher import Launcher
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from asl.config.explain import explain
from asl.config.setting import ConfigError, find_problems

C = TypeVar("C")

_TARGET = "_target_"


class TypedYaml(FileConfigSource):
    """Hydra's reader of YAML files; replaces ``_target_: module.Class`` by the fields of that dataclass."""

    def load_config(self, config_path: str) -> ConfigResult:
        try:
            result: ConfigResult = super().load_config(config_path)
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.path}/{config_path} is not YAML: {error}") from error
        if not config_path.startswith("hydra/"):  # Hydra's own _target_ keys stay
            result.config = _typed(result.config, f"{self.path}/{config_path}")
        return result


def _typed(node: Any, file: str) -> Any:
    if not isinstance(node, DictConfig):
        return node
    for key in list(node):
        child = node._get_node(key)
        if isinstance(child, DictConfig) and key != "hydra":
            node[key] = _typed(child, file)
    if _TARGET not in node:
        return node
    target, defaults = node.pop(_TARGET), node.pop("defaults", None)
    try:
        schema = get_class(target)
    except Exception as error:  # importing a module can raise anything
        raise ConfigError(f"{file}: _target_={target} cannot be imported: {_cause(error)}") from error
    if not dataclasses.is_dataclass(schema):
        raise ConfigError(f"{file}: _target_={target} is not a dataclass of settings")
    try:
        typed = OmegaConf.merge(OmegaConf.structured(schema), node)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{file}: {explain(error)}") from error
    if defaults is not None:
        with open_dict(typed):
            typed.defaults = defaults
    return typed


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def register(**schemas: type) -> None:
    """Register schemas with Hydra, under the names that the defaults lists of ``conf/*.yaml`` begin with.

    Also registers the resolver ``${name_of:path}``, the name of a folder or (without suffix) of a table, and
    makes Hydra read YAML files with :class:`TypedYaml`, including those of ``--config-dir``. Hydra 1.3 has no
    public way to replace its file reader, so this changes its registry.
    """
    OmegaConf.register_new_resolver("name_of", _name_of, replace=True)
    Plugins.instance()  # registers Hydra's own reader
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = TypedYaml
    for name, schema in schemas.items():
        ConfigStore.instance().store(name=name, node=schema)


def use_launcher(launcher: type[Launcher]) -> None:
    """Make Hydra run sweeps with this class. As above, Hydra has no public way to replace its own."""
    Plugins.instance().class_name_to_class[BasicLauncherConf._target_] = launcher


def _name_of(path: str) -> str:
    return Path(path).resolve().name.removesuffix(".csv").removesuffix(".tsv")


def checked(cfg: DictConfig, schema: type[C]) -> C:
    """Convert a composed configuration to dataclasses and check that every value is in range.

    Raises:
        ConfigError: keys are unknown or values are out of range. The message lists all of them.
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
    """Yield a message for each key that ``+key=value`` appended and that the schema does not have."""
    fields = {field.name for field in dataclasses.fields(schema)}
    for name in map(str, cfg):
        key = f"{prefix}{name}"
        if name not in fields:
            yield (
                f"{key}={cfg[name]}: there is no such key; {prefix.rstrip('.') or 'the top level'} has: "
                + (", ".join(sorted(fields)))
            )
        elif dataclasses.is_dataclass(OmegaConf.get_type(cfg, name)):
            yield from _unknown_keys(cfg[name], OmegaConf.get_type(cfg[name]), f"{key}.")
