"""The page, made with Gradio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from asl.errors import UserError
from asl.inference.app.markup import frames_markup, problem_markup
from asl.inference.app.occlusion import frame_groups
from asl.inference.app.recognition import GROUPS, Recognition
from asl.inference.app.settings import ServerSettings

#: Glosses with their probabilities, and the HTML below them.
Shown = tuple[dict[str, float] | None, str]


def build_page(recognition: Recognition, settings: ServerSettings) -> gr.Blocks:
    """The page: a video in, glosses and frames out.

    Args:
        recognition: recognises the videos.
        settings: the limits.
    """
    predictor = recognition.predictor
    about = (
        f"Show one sign, in a video of at most {settings.max_s:g} s and {settings.max_mb} MB. The network "
        f"names one of the {len(predictor.glosses):,} glosses of {predictor.recogniser.info['dataset']} that "
        "it knows, whatever the video shows. Videos stay on the machine that serves this page, and are "
        f"removed after {settings.keep_s} s."
    )

    def recognise(video: str | None) -> Iterator[Shown]:
        """Yield the glosses at once; what decided takes several times as long."""
        if video is None:
            yield None, ""
            return
        try:
            found = recognition.recognise(Path(video))
            glosses, pictures = dict(found.top), recognition.cropped(found)
            groups = frame_groups(len(pictures), GROUPS)
            yield glosses, frames_markup(pictures, found.times_s, groups, None)
            falls = recognition.falls(found, groups)
            yield glosses, frames_markup(pictures, found.times_s, groups, falls)
        except UserError as error:
            yield None, problem_markup(str(error))

    delete_cache = (max(1, settings.keep_s // 10), settings.keep_s)
    with gr.Blocks(title="asl", analytics_enabled=False, delete_cache=delete_cache) as page:
        gr.Markdown(f"# Which sign is it?\n{about}")
        with gr.Row():
            with gr.Column(min_width=300):
                video = gr.Video(
                    label="Video",
                    sources=["upload", "webcam"],
                    webcam_options=gr.WebcamOptions(mirror=False),  # the network tells left from right
                    include_audio=True,  # otherwise Gradio runs ffmpeg to remove it
                )
            with gr.Column(min_width=300):
                glosses = gr.Label(label="Glosses")
        below = gr.HTML()
        video.change(
            recognise,
            video,
            [glosses, below],
            api_name="recognise",
            concurrency_limit=1,
            show_progress="minimal",
        )
    page.queue(max_size=settings.queue, api_open=False)
    return page


def launch(page: gr.Blocks, settings: ServerSettings) -> str:
    """Serve the page in a thread. Returns its address.

    Raises:
        UserError: the port is in use, or the address is not one of this machine.
    """
    theme: Any = gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))
    try:
        _, url, _ = page.launch(
            server_name=settings.host,
            server_port=settings.port,
            max_file_size=settings.max_mb * 10**6,
            theme=theme,
            css_paths=Path(__file__).with_name("page.css"),
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
        )
    except OSError as error:
        raise UserError(
            f"server.host={settings.host}, server.port={settings.port}: the page cannot be served there. "
            "Choose another server.port"
        ) from error
    return url
