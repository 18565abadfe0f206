"""The packages that export needs and that asl does not install by itself."""

from __future__ import annotations

from importlib import import_module

from asl.errors import UserError

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class ExportError(UserError):
    """A network that cannot be exported, or a file that does not compute what the checkpoint computes."""


def check_packages() -> None:
    """Check that the packages that write and run ONNX files are installed.

    Raises:
        ExportError: one of them is not.
    """
    for name in _PACKAGES:
        try:
            import_module(name)
        except ImportError as error:
            raise ExportError(
                f"{name} cannot be imported ({error}). Install what export.py needs: "
                f"pip install {' '.join(_PACKAGES)}"
            ) from None
