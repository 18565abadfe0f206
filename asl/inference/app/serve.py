"""``python predict.py app=true``: serve the page until Ctrl-C."""

from __future__ import annotations

import os
import tempfile
import threading
from importlib.util import find_spec

from asl.errors import UserError
from asl.inference.app.recognition import Recognition
from asl.inference.app.settings import ServerSettings
from asl.inference.predictor import load


def serve(checkpoint: str, settings: ServerSettings, *, accelerator: str) -> None:
    """Serve the page until Ctrl-C or SIGTERM. Uploaded videos are removed then at the latest.

    Args:
        checkpoint: the trained recogniser.
        settings: address and limits.
        accelerator: ``auto``, ``cpu`` or ``gpu``.

    Raises:
        UserError: Gradio is not installed, or an error of the checkpoint or the address.
    """
    if find_spec("gradio") is None:
        raise UserError("app=true needs Gradio, which is not installed: pip install 'gradio>=6.31,<7'")
    predictor = load(checkpoint, accelerator=accelerator)
    with (
        tempfile.TemporaryDirectory(prefix="asl-app-") as folder,
        Recognition(predictor, settings) as recognition,
    ):
        # Gradio reads these when it is imported.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        from asl.inference.app.page import build_page, launch

        page = build_page(recognition, settings)
        url = launch(page, settings)
        print(f"{url} (Ctrl-C ends it)", flush=True)
        try:
            threading.Event().wait()
        finally:
            page.close(verbose=False)
