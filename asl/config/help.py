"""``--help`` of a program: every key with its value, meaning and range."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from asl.config.setting import allowed_values, as_override


def print_help(name: str, conf: Path, overrides: list[str], *, more_conf: Path | None = None) -> None:
    """Print the choices and keys of a program, as ``overrides`` leave them.

    Args:
        name: of the primary configuration.
        conf: the folder with the YAML files.
        overrides: of the command line.
        more_conf: another such folder (``--config-dir``), whose choices are added.
    """
    folders = [conf] if more_conf is None else [conf, more_conf.resolve()]
    with initialize_config_dir(str(conf), version_base="1.3"):
        added = [f"hydra.searchpath=['file://{folder}']" for folder in folders[1:]]
        cfg = compose(name, overrides=[*overrides, *added])
    console = Console(highlight=False)

    def line(text: str, style: str | None = None, indent: int = 0) -> None:
        console.print(Padding(Text(text, style=style or ""), (0, 0, 0, indent)))

    line(f"python {name}.py [choice=name ...] [key=value ...]\n")
    groups = sorted(_groups(conf, name))
    if groups:
        line("Choices", "bold")
    for group in groups:
        names = {file.stem for folder in folders for file in (folder / group).glob("*.yaml")}
        line(f"{group}={', '.join(sorted(names))}", indent=2)
    line("\nKeys, with the values that they have now", "bold")
    for key, value, meaning in rows(cfg):
        line(f"{key}={value}", "cyan", indent=2)
        line(meaning, indent=6)
    choice = f"Choices decide which keys there are, for example: python {name}.py dataset=demo --help. "
    line(
        f"\n{choice if groups else ''}Hydra's own flags: --hydra-help; the composed YAML: --cfg job; a "
        "sweep: --multirun key=1,2,3"
    )


def _groups(conf: Path, name: str) -> set[str]:
    """The groups in the defaults list of a program."""
    defaults = OmegaConf.load(conf / f"{name}.yaml").defaults
    names = {str(group) for entry in defaults if isinstance(entry, DictConfig) for group in entry}
    return {group for group in names if (conf / group).is_dir()}


def rows(cfg: DictConfig, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key, value, and meaning with range of each setting."""
    schema: Any = OmegaConf.get_type(cfg)
    for field in dataclasses.fields(schema):
        key, node = prefix + field.name, cfg._get_node(field.name)
        if isinstance(node, DictConfig):
            yield from rows(node, f"{key}.")
            continue
        allowed = allowed_values(field)
        meaning = field.metadata.get("help", "") + (f"; {allowed}" if allowed else "")
        yield key, _shown(node), meaning


def _shown(node: Any) -> str:
    """A value as it is written on the command line. Interpolations are not resolved."""
    return as_override(list(node) if OmegaConf.is_list(node) and not node._is_none() else node._value())
