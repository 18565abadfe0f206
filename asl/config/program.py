"""The frame around the Hydra mains of the programs: ``--help``, and each error as one message."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from asl.config.compose import checked
from asl.config.explain import CONFIG_ERRORS, explain
from asl.config.help import print_help
from asl.errors import Terminated, UserError

C = TypeVar("C")

_USAGE_ERROR = 2  # exit code of argparse, which has printed its usage


def run_program(main: Callable[[], Any], *, name: str, conf: Path, if_stopped: str) -> None:
    """Run a Hydra main. An error that the user can fix is one message on stderr and exit code 1.

    Ctrl-C and SIGTERM are one message and exit codes 130 and 143.

    Args:
        main: function decorated with ``hydra.main``.
        name: name of the primary configuration, for ``--help``.
        conf: folder of the YAML files.
        if_stopped: printed after Ctrl-C or SIGTERM: how to continue. A KeyboardInterrupt's own message
            replaces it.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or Hydra would print exceptions itself
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
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
    except SystemExit as end:
        if end.code == _USAGE_ERROR:
            print(
                "Arguments are key=value, without dashes, all before or all after flags such as --multirun. "
                "--help lists the keys",
                file=sys.stderr,
            )
        raise
    except KeyboardInterrupt as stop:
        print(f"stopped; {stop.args[0] if stop.args else if_stopped}", file=sys.stderr)
        sys.exit(128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT))  # as shells do


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def job(cfg: DictConfig, schema: type[C]) -> Iterator[C]:
    """Context manager around a Hydra job. Yields its checked configuration.

    An error that the user can fix ends the program here, before Hydra adds a line to it. In a sweep it is
    raised, so that the other jobs run; Hydra raises it again after the last one.
    """
    try:
        yield checked(cfg, schema)
    except (UserError, *CONFIG_ERRORS) as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        sys.exit(f"error: {error if isinstance(error, UserError) else explain(error)}")
