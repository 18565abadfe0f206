"""What the programs share around their Hydra mains: ``--help``, and errors in one message."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from asl.config.compose import checked
from asl.config.explain import CONFIG_ERRORS, explain
from asl.config.help import print_help
from asl.errors import UserError

C = TypeVar("C")


def run_program(main: Callable[[], Any], *, name: str, conf: Path, if_stopped: str) -> None:
    """Run a Hydra main. What the user can mend is one message on stderr and exit code 1.

    Args:
        main: decorated by ``hydra.main``.
        name: of the primary configuration, for ``--help``.
        conf: the folder with the YAML files.
        if_stopped: printed after Ctrl-C; how to go on.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions reach us instead of Hydra's printer
    try:
        if {"--help", "-h"} & set(sys.argv[1:]):
            args = get_args_parser().parse_args()
            more_conf = Path(args.config_dir) if args.config_dir else None
            print_help(name, conf, args.overrides, more_conf=more_conf)
        else:
            main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except CONFIG_ERRORS as error:
        sys.exit(f"error: {explain(error)}")
    except KeyboardInterrupt:
        print(f"stopped; {if_stopped}", file=sys.stderr)
        sys.exit(130)  # as shells do after SIGINT


@contextmanager
def job(cfg: DictConfig, schema: type[C]) -> Iterator[C]:
    """Around the work of a Hydra job: its checked configuration, and its errors.

    An error that the user can mend ends the program here, before Hydra adds a line of its own. Not in a
    sweep, whose other jobs go on; Hydra raises the error again after the last one.
    """
    try:
        yield checked(cfg, schema)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {error}")
