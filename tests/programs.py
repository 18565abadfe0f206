"""The programs of asl in processes of their own, without the seconds that each needs to import torch.

``run`` and ``Program`` are ``subprocess.run`` and ``subprocess.Popen`` for ``python train.py`` and the like:
a server, which is this file, has imported what they need, and forks a process for each.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_IMPORTED = (
    *("asl.download.run", "asl.evaluation.run", "asl.inference.run", "asl.preprocess.launch"),
    *("asl.training.run", "asl.training.sweep", "torch._dynamo"),
)


class Program:
    """A running program: what tests need of ``subprocess.Popen``. Its output goes to temporary files.

    Args:
        arguments: the script, relative to the repository, and its arguments.
        cwd: working directory; None: this process's.
        env: environment variables added to this process's.
        start_new_session: make it the leader of a process group.
    """

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
    ) -> None:
        self.args = [str(ROOT / arguments[0]), *map(str, arguments[1:])]
        self.returncode: int | None = None
        self._output = [
            tempfile.NamedTemporaryFile("r", encoding="utf-8")  # noqa: SIM115, deleted with this object
            for _ in range(2)
        ]
        self.pid: int = _ask(
            argv=self.args,
            cwd=str(cwd or Path.cwd()),
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            output=[file.name for file in self._output],
            new_session=start_new_session,
        )

    def poll(self) -> int | None:
        """The exit code; None while the program runs."""
        if self.returncode is None:
            self.returncode = _ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float = 200.0) -> int:
        """The exit code, after the program has ended."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return code

    def communicate(self, timeout: float = 200.0) -> tuple[str, str]:
        """What the program has written to stdout and stderr, after it has ended."""
        self.wait(timeout)
        out, err = (file.read() for file in self._output)
        return out, err

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)


def run(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 200.0,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, see :class:`Program`; ``timeout`` in seconds."""
    program = Program(*arguments, cwd=cwd, env=env)
    out, err = program.communicate(timeout)
    return subprocess.CompletedProcess(program.args, program.wait(), out, err)


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The server. It ends when this process does, which closes its stdin."""
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,  # a line is a request or an answer
        start_new_session=True,  # Ctrl-C is for this process
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def _ask(**request: Any) -> Any:
    """The server's answer."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    return json.loads(server.stdout.readline())


# ---------------------------------------------------------------- in the server


def _serve() -> dict[str, Any] | None:
    """Fork a process for each request. Returns it in that process, and None in the server at the end."""
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            return request
        os.write(sys.stdout.fileno(), f"{json.dumps(answer)}\n".encode())
    return None


def _run_and_exit(path: str) -> None:
    """Run a script and exit as Python does, but do not free all modules, which takes a third of a second."""
    code: object = None
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as exit:
        code = exit.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def _become(argv: list[str], cwd: str, env: dict[str, str], output: list[str], new_session: bool) -> None:
    """Make this process like one that has just been started as ``python argv``."""
    if new_session:
        os.setsid()
    for fd, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), *((path, os.O_WRONLY) for path in output))
    ):
        file = os.open(path, flags | (os.O_APPEND if fd else 0))
        os.dup2(file, fd)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0:1] = [str(Path(argv[0]).parent), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = argv


if __name__ == "__main__":
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # memory that is shared with the processes
    if (request := _serve()) is not None:
        _become(**request)
        _run_and_exit(sys.argv[0])
