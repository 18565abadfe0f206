"""What ``predict.py`` prints: results on stdout as a table, JSON or CSV, messages on stderr."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asl.errors import UserError
from asl.files import atomic_write_text
from asl.inference.prediction import Failure, Prediction
from asl.inference.timeline import Timeline, as_json, to_csv


def say(message: str) -> None:
    """Print a message on stderr."""
    print(message, file=sys.stderr, flush=True)


def show_predictions(
    results: Sequence[Prediction | Failure], *, form: str, output: Path | None, top: int
) -> None:
    """Print or write the predictions of videos.

    Args:
        results: in the order of the videos. A table has the predictions alone.
        form: ``table``, ``json`` or ``csv``.
        output: the file; None: stdout.
        top: columns of glosses in CSV.

    Raises:
        UserError: the file cannot be written.
    """
    if form == "json":
        _show(_json([_as_json(one) for one in results]), output)
    elif form == "csv":
        names = [name for place in range(1, top + 1) for name in (f"top{place}", f"p{place}")]
        rows = [_csv_row(one, len(names)) for one in results]
        _show(_csv([["file", "start_s", "end_s", *names, "error"], *rows]), output)
    else:
        _show("".join(f"{one!r}\n" for one in results if isinstance(one, Prediction)), output)


def show_timelines(
    results: Sequence[Timeline | Failure], *, form: str, output: Path | None, folder: Path
) -> None:
    """Print or write the signs detected in videos.

    Args:
        results: in the order of the videos. A table and CSV have the timelines alone.
        form: ``table``, ``json`` or ``csv``.
        output: the file; None: stdout.
        folder: of the timelines' own files, for a message.

    Raises:
        UserError: the file cannot be written.
    """
    timelines = [one for one in results if isinstance(one, Timeline)]
    if form == "json":
        _show(_json([_as_json(one) for one in results]), output)
    elif form == "csv":
        _show(to_csv(timelines), output)
    else:
        _show("".join(map(_as_text, timelines)), output)
    say(f"timelines: {folder}/*.csv, *.json, *.vtt, *.eaf")


def show_live(windows: Iterable[Prediction], *, form: str) -> None:
    """Print each prediction as it comes: a line, a JSON object or a CSV row."""
    if form == "csv":
        print("time_s,gloss,probability", flush=True)
    for window in windows:
        values = round(window.end_s, 3), window.gloss, window.probability
        if form == "json":
            names = "time_s", "gloss", "probability"
            line = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False)
        elif form == "csv":
            line = _csv([values]).rstrip("\n")
        else:
            line = f"{window.end_s:8.1f} s  {window.gloss}  {window.probability:.1%}"
        print(line, flush=True)


def _as_json(one: Prediction | Timeline | Failure) -> dict[str, Any]:
    if isinstance(one, Failure):
        return {"file": str(one.file), "error": one.message}
    if isinstance(one, Timeline):
        return as_json(one)
    top = [{"gloss": gloss, "probability": probability} for gloss, probability in one.top]
    return {"file": str(one.file), "start_s": one.start_s, "end_s": one.end_s, "top": top}


def _csv_row(one: Prediction | Failure, columns: int) -> list[Any]:
    if isinstance(one, Failure):
        return [one.file, "", "", *[""] * columns, one.message]
    top = [value for pair in one.top for value in pair]
    return [one.file, one.start_s, one.end_s, *top, *[""] * (columns - len(top)), ""]


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _as_text(timeline: Timeline) -> str:
    """A line for the file and one for each detection."""
    width = max([len(one.gloss) for one in timeline.detections], default=0)
    lines = [
        f"  {one.start_s:8.2f} {one.end_s:8.2f} s  {one.gloss:<{width}}  {one.probability:6.1%}"
        for one in timeline.detections
    ]
    return "\n".join([str(timeline.file), *(lines or ["  no sign"])]) + "\n"


def _show(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        atomic_write_text(output, text)
    except OSError as error:
        raise UserError(f"output={output}: {error.strerror or error}") from error
