"""``evaluation.html``: an evaluation as one HTML file that needs no other files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asl import __version__
from asl.evaluation.page.charts import page_charts
from asl.evaluation.page.films import Film, mistakes
from asl.evaluation.page.history import History
from asl.evaluation.page.matrix import Matrix
from asl.evaluation.page.tables import page_tables, signer_text
from asl.evaluation.predictions import Prediction
from asl.page.addresses import link_to
from asl.page.render import render_page

#: Glosses that are listed for each clip that went wrong.
TOP = 5

#: Films that are visible at once; the further ones are folded.
UNFOLDED = 12

_FOLDER = Path(__file__).parent


def build_page(
    metrics: Mapping[str, Any],
    predictions: Sequence[Prediction],
    *,
    history: History | str,
    input_page: Path,
    films: Mapping[str, Film],
    folder: Path,
) -> str:
    """The page's HTML.

    Args:
        metrics: content of ``metrics.json``, with the dataclasses of each figure.
        predictions: of the clips as they are.
        history: of the training, or why it is unknown.
        input_page: the training's page of clips as the network gets them; linked if it exists.
        films: frames of clips that went wrong, by ``video_id``.
        folder: the page's folder, from which it links to the clips.
    """
    wrong = mistakes(predictions)
    matrix = Matrix.of(metrics["classes"], metrics["confusions"])
    return render_page(
        _FOLDER,
        tables=page_tables(metrics, wrong),
        charts=page_charts(metrics, history if isinstance(history, History) else None),
        data={"matrix": matrix.data},
        metrics=metrics,
        wrong=wrong,
        shown=[(one, films[one.video_id]) for one in wrong if one.video_id in films],
        no_history=history if isinstance(history, str) else "",
        input_page=link_to(input_page, folder) if input_page.is_file() else "",
        epochs=history.epochs if isinstance(history, History) else (),
        matrix=matrix,
        top=TOP,
        unfolded=UNFOLDED,
        signer_text=signer_text,
        link=lambda film: link_to(film.file, folder),
        version=__version__,
    )
