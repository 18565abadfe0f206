"""How the programs end: one message, and the exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import signal
from pathlib import Path
from asl.config.program import run_program

run_program(lambda: signal.raise_signal({signum}), name="train", conf=Path(), if_stopped="start again")
"""

PARSER = """
from pathlib import Path
from hydra._internal.utils import get_args_parser
from asl.config.program import run_program

run_program(get_args_parser().parse_args, name="train", conf=Path(), if_stopped="start again")
"""


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_program_in_one_line(signum: int, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(signum=int(signum))],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it in the background
    )
    assert (ended.returncode, ended.stderr) == (code, "stopped; start again\n")


def test_an_unknown_flag_is_answered_with_the_form_of_arguments() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PARSER, "--dataset", "demo"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.endswith(
        "unrecognized arguments: --dataset\nArguments are key=value, without dashes, all before or all after "
        "flags such as --multirun. --help lists the keys\n"
    )
