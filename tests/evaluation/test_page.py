"""``evaluation.html``: what it shows, and what it does not load. Tests in a browser are in another module."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from clips import make_clip
from made_evaluation import HISTORY, GreyReader, make_page, metrics_of
from made_predictions import predictions_for, random_predictions
from parsed_page import Page
from PIL import Image

from asl.data.framing import Framing
from asl.data.sampling import Sampling
from asl.evaluation.confusion import class_results, confusions
from asl.evaluation.page.charts import page_charts
from asl.evaluation.page.films import MAX_FILMS, MAX_FRAMES, SIDE, Film, mistakes, read_films
from asl.evaluation.page.history import History, read_history
from asl.evaluation.page.matrix import Matrix
from asl.evaluation.page.tables import page_tables
from asl.page.charts import Chart

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"


def rows(predictions, name, **probes):
    made = metrics_of({"unchanged": predictions, **probes}, glosses=12)
    return [list(row) for row in page_tables(made, mistakes(predictions))[name].rows]


def film(folder: Path, *, num_frames: int = 12, crop_size: int = 16, **sampling) -> Film:
    clip = make_clip("test", 0, 1, num_frames=num_frames)
    (folder / clip.path).parent.mkdir(parents=True, exist_ok=True)
    (folder / clip.path).touch()
    films = read_films(
        [clip],
        data_dir=folder,
        reader=GreyReader(),
        sampling=Sampling(**sampling),
        framing=Framing(resize=[crop_size + 4, crop_size + 14], crop_size=crop_size),
    )
    return films[clip.video_id]


# ---------------------------------------------------------------- figures


def test_the_page_shows_the_figures_of_the_metrics(tmp_path: Path) -> None:
    predictions = random_predictions(0, skill=1.0)
    metrics = metrics_of({"unchanged": predictions}, glosses=12)
    page = Page(make_page(tmp_path))
    top1 = metrics["accuracy"][1]["instances"]
    low, high = top1.interval_by_signer
    assert f"top-1 over instances {100 * top1.value:.1f} % other clips:" in page.text
    assert f"other signers: {100 * low:.1f} % to {100 * high:.1f} %" in page.text
    assert "60 of 120 in the metadata, 50.0 %" in page.text
    assert f"calibration error (ECE) {100 * metrics['calibration'].ece:.1f} %" in page.text
    assert f"clips went wrong {sum(one.rank > 1 for one in predictions)}" in page.text
    assert "epoch 3, r2plus1d · official split · 1 view · probes: mirror, static" in page.text


def test_tables_have_intervals_and_both_ways_to_average() -> None:
    predictions, mirrored = random_predictions(0), random_predictions(1)
    metrics = metrics_of({"unchanged": predictions}, glosses=12)
    top1 = metrics["accuracy"][1]
    clean = metrics["accuracy_clean"][1]
    assert rows(predictions, "accuracy")[:4] == [
        ["top-1", over, name, one[over].value, *one[over].interval, *one[over].interval_by_signer]
        for over in ("instances", "classes")
        for name, one in (("all 60", top1), (f"{metrics['clean_clips']} clean", clean))
    ]
    names = [row[0] for row in rows(predictions, "probes", mirror=mirrored)]
    assert names == ["unchanged", "mirror", "guessing"]
    assert rows(predictions, "probes") == []
    assert {row[0] for row in rows(predictions, "groups")} == {"flags", "signer", "site"}
    assert sum(row[1] for row in rows(predictions, "classes")) == 60


def test_what_the_network_saw_in_training_is_linked_if_it_is_there(tmp_path: Path) -> None:
    assert "What the network saw" not in Page(make_page(tmp_path)).text
    (tmp_path / "input.html").touch()
    page = Page(make_page(tmp_path))
    assert "What the network saw : training and evaluation clips" in page.text
    assert [link["href"] for link in page.all("a")].count("../input.html") == 1


def test_a_protocol_of_its_own_is_named_with_its_note(tmp_path: Path) -> None:
    assert "chosen on test" not in Page(make_page(tmp_path)).text
    page = Page(make_page(tmp_path, protocol="wlasl_authors", protocol_note="the epoch was chosen on test"))
    assert "wlasl_authors : the epoch was chosen on test" in page.text


def test_an_unknown_interval_is_no_error(tmp_path: Path) -> None:
    (one,) = predictions_for([0], [[0.2, 0.8]])
    assert rows([one], "accuracy")[1][4:] == [None] * 4
    page = Page(make_page(tmp_path, clips=1, classes=1, probes=()))
    assert "top-1 over classes 100.0 % other clips: unknown other signers: unknown" in page.text


def test_the_matrix_has_the_clips_of_each_pair() -> None:
    labels = [0, 0, 0, 1, 2]
    taken = [0, 0, 1, 3, 2]
    predictions = predictions_for(labels, np.eye(4)[taken].tolist())
    matrix = Matrix.of(class_results(predictions), confusions(predictions))
    assert matrix.glosses == ("gloss 0", "gloss 1", "gloss 2", "gloss 3")
    assert matrix.clips == (3, 1, 1, 0)  # no clip of the last one; one is taken for it
    assert matrix.cells == ((0, 0, 2), (0, 1, 1), (1, 3, 1), (2, 2, 1))
    assert list(matrix.paths) == ["right shade-3", "right shade-4", "wrong shade-2", "wrong shade-4"]
    assert matrix.paths["wrong shade-2"].startswith("M1.03 0.03h")  # column, row


def charts_of(history, epoch=3):
    return page_charts(metrics_of({"unchanged": random_predictions(0)}, glosses=12, epoch=epoch), history)


def path(chart: Chart, name: str) -> str:
    return {series.name: series.path for series in chart.series}[name]


def test_curves_mark_the_measured_epoch_and_have_gaps_where_a_value_is_unknown() -> None:
    loss = charts_of(HISTORY)["losses"]
    assert path(loss, "val_loss").count("M") == 2
    assert path(loss, "train_loss").count("M") == 1
    assert path(loss, "measured") == "M2.5 100V0"
    assert loss.labels[1] == "epoch 2: train_loss 1, val_loss unknown"
    assert loss.labels[2].startswith("epoch 3 (measured): ")
    assert "measured" not in {one.name for one in charts_of(HISTORY, epoch=9)["losses"].series}


def test_curves_without_values_are_left_out() -> None:
    charts = charts_of(History((1, 2), {"val_top1": (None, None), "test_loss": (1.0, 0.5)}))
    assert (charts["accuracies"], charts["rates"]) == (None, None)
    assert [one.name for one in charts["losses"].series] == ["test_loss"]
    assert charts_of(None)["losses"] is None


@pytest.mark.parametrize(("classes", "styles"), [(8, ("bars", "whiskers")), (200, ("line", "band"))])
def test_glosses_are_drawn_in_the_order_of_their_recall(classes: int, styles: tuple[str, str]) -> None:
    predictions = random_predictions(0, clips=4 * classes, classes=classes)
    chart = page_charts(metrics_of({"unchanged": predictions}, glosses=classes), None)["classes"]
    recalls = [float(re.search(r", ([\d.]+) %", label)[1]) for label in chart.labels]
    assert recalls == sorted(recalls, reverse=True)
    assert tuple(one.style for one in chart.series) == styles
    assert len(chart.axis) == (classes if classes == 8 else 2)


def test_reliability_counts_every_clip_in_one_bin() -> None:
    charts = charts_of(None)
    counts = [int(re.search(r": (\d+) clips", label)[1]) for label in charts["confidences"].labels]
    assert (len(counts), sum(counts)) == (15, 60)
    assert charts["reliability"].labels == charts["confidences"].labels


# ---------------------------------------------------------------- history.csv


def test_the_history_of_a_training_is_read(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("epoch,train_loss,val_loss,val_top1,lr\n1,2.5,,nan,1e-3\n2,2,inf,0.25\n")
    assert read_history(file) == History(
        (1, 2),
        {
            "train_loss": (2.5, 2.0),
            "val_loss": (None, None),
            "val_top1": (None, 0.25),
            "lr": (0.001, None),
        },
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "There is no history.csv beside the checkpoint."),
        ("", "history.csv beside the checkpoint has no epochs."),
        ("lr\n2\n", "history.csv beside the checkpoint has no column 'epoch'."),
        (
            "epoch,lr\n1,high\n",
            "history.csv beside the checkpoint cannot be read: could not convert string to float: 'high'.",
        ),
    ],
)
def test_a_history_that_cannot_be_read_is_one_line(tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "history.csv").write_text(content)
    assert read_history(tmp_path / "history.csv") == reason
    page = Page(make_page(tmp_path, history=reason, with_films=False))
    assert reason in page.text
    assert not {"losses", "accuracies", "rates"} & page.data["charts"].keys()


# ---------------------------------------------------------------- clips that went wrong


def test_the_most_confident_mistakes_come_first() -> None:
    predictions = random_predictions(0, skill=1.0)
    wrong = mistakes(predictions)
    assert {one.video_id for one in wrong} == {one.video_id for one in predictions if one.rank > 1}
    confidences = [one.confidence for one in wrong]
    assert confidences == sorted(confidences, reverse=True)


def test_a_film_has_the_frames_that_the_network_saw(tmp_path: Path) -> None:
    made = film(tmp_path, clip_len=4)
    picture = np.asarray(Image.open(io.BytesIO(made.jpeg)))
    assert (made.num_frames, made.side, picture.shape) == (4, 16, (16, 4 * 16, 3))
    assert picture[8, 8::16, 0].tolist() == pytest.approx([0, 5, 10, 15], abs=3)
    assert picture.max() < 40  # the white edge is outside the crop


def test_large_and_long_films_are_made_smaller(tmp_path: Path) -> None:
    made = film(tmp_path, clip_len=48, crop_size=224, num_frames=48)
    assert Image.open(io.BytesIO(made.jpeg)).size == (MAX_FRAMES * SIDE, SIDE)
    levels = np.asarray(Image.open(io.BytesIO(made.jpeg)))[SIDE // 2, SIDE // 2 :: SIDE, 0].tolist()
    assert levels == pytest.approx([5 * (i * 48 // MAX_FRAMES) for i in range(MAX_FRAMES)], abs=3)


@pytest.mark.parametrize(
    ("sampling", "frame_s"),
    [
        ({"clip_len": 4, "long": "uniform"}, 0.12),  # 12 frames of 0.04 s
        ({"clip_len": 4, "long": "window"}, 0.08),
        ({"clip_len": 24, "long": "uniform"}, 0.08),  # the clip is shorter than the window
        ({"clip_len": 4, "long": "window", "fps": None, "frame_stride": 3}, 0.12),
        ({"clip_len": 64, "long": "window"}, 0.16),  # every second frame is shown
    ],
    ids=str,
)
def test_films_are_as_fast_as_their_clips(tmp_path: Path, sampling: dict, frame_s: float) -> None:
    assert film(tmp_path, **sampling).frame_s == pytest.approx(frame_s)


def test_a_bounded_number_of_clips_has_films_and_all_are_listed(tmp_path: Path) -> None:
    page = Page(make_page(tmp_path, clips=90, skill=0.0))
    wrong = page.data["tables"]["mistakes"]["length"]
    assert wrong > MAX_FILMS
    assert f"{wrong} of 90 clips are taken for another gloss. {MAX_FILMS} of them" in page.text
    assert len(page.all("img")) == MAX_FILMS


def test_without_mistakes_there_is_nothing_to_play(tmp_path: Path) -> None:
    page = Page(make_page(tmp_path, skill=50.0, probes=()))
    assert "None: every clip is recognised." in page.text
    assert "No clip is taken for another gloss." in page.text
    assert page.all("img") == []
    assert "probe=all" in page.text


def test_each_film_links_to_its_clip(tmp_path: Path) -> None:
    page = Page(make_page(tmp_path))
    links = [link["href"] for link in page.all("a") if not link["href"].startswith("#")]
    assert links
    assert all((tmp_path / "evaluation" / unquote(link)).resolve().is_file() for link in links)


# ---------------------------------------------------------------- a page for untrusted names


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    names = {"gloss 1": HOSTILE, "gloss 2": "long" * 200, "gloss 3": "\u05e9\u05dc\u05d5\u05dd"}
    said = dict.fromkeys(("checkpoint", "dataset", "model"), HOSTILE)
    return make_page(tmp_path_factory.mktemp("hostile"), names=names, skill=0.0, **said)


def test_untrusted_text_never_becomes_markup(hostile: str) -> None:
    page = Page(hostile)
    assert len(page.all("script")) == 2
    assert all(img["src"].startswith("data:image/jpeg;base64,") for img in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.data["matrix"]["glosses"]


def test_the_page_loads_no_other_files_and_runs_its_own_script_only(hostile: str) -> None:
    page = Page(hostile)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action", "background"):
            target = attributes.get(name) or ""
            assert not re.match(r"(?!data:)\w+:|//", target), (name, target)
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    digest = base64.b64encode(hashlib.sha256(page.script["code"].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy


def test_all_of_wlasl_is_a_page_below_a_megabyte_without_films(tmp_path: Path) -> None:
    page = make_page(tmp_path, clips=2878, classes=2000, skill=3.5, probes=(), with_films=False)
    assert len(page.encode()) < 1_000_000


def test_a_film_of_noise_has_at_most_200_kilobytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        GreyReader,
        "read",
        lambda self, clip, file, *, sampling, framing: rng.integers(
            0, 256, (sampling.clip_len, *framing.size, 3), np.uint8
        ),
    )
    assert len(film(tmp_path, clip_len=64, crop_size=SIDE).jpeg) < 200_000
