"""``python evaluate.py``: its files, what the checkpoint decides, messages and errors."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from clips import write_manifest_and_label_map
from composing import composed
from made_checkpoint import write_checkpoint
from parsed_page import Page
from recomputed_metrics import check_metrics

from asl.config.setting import ConfigError
from asl.contract.manifest import Clip, read_manifest
from asl.data.settings import DataSettings
from asl.data.split import CHOSEN_ON_TEST, split_clips
from asl.errors import UserError
from asl.evaluation.predictions import read_predictions
from asl.evaluation.run import evaluate

ROOT = Path(__file__).resolve().parents[2]


def run(data_dir: Path, checkpoint: Path, *overrides: str) -> dict[str, Any]:
    keys = [
        "dataset.name=tiny",
        "data.num_workers=0",
        f"paths.data_dir={data_dir}",
        f"checkpoint={checkpoint}",
    ]
    return evaluate(composed("evaluate", *keys, "accelerator=cpu", *overrides))


@pytest.fixture
def manifest(tiny_data: Path) -> list[Clip]:
    return read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")


def signed(clips: list[Clip]) -> list[Clip]:
    """The clips with five signers, and every fourth with a flag."""
    return [
        dataclasses.replace(clip, signer_id=str(i % 5), flags="suspect" if i % 4 == 0 else "")
        for i, clip in enumerate(clips)
    ]


def test_an_evaluation_writes_files_beside_the_checkpoint_whose_figures_agree(
    tiny_data: Path, tmp_path: Path, manifest: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)
    (tmp_path / "metrics.json").write_text("of training")
    (tmp_path / "input.html").touch()
    signers = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", signed(manifest))
    metrics = run(tiny_data, checkpoint, f"data.manifest={signers}", "probe=all", "views=2")
    folder = tmp_path / "evaluation" / "best-test-2views"
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert list(metrics["probes"]) == ["shuffle", "reverse", "mirror", "static"]
    assert (metrics["split"], metrics["views"], metrics["clips"]) == ("test", 2, 6)
    check_metrics(metrics, folder)
    assert (tmp_path / "metrics.json").read_text() == "of training"
    page = Page((folder / "evaluation.html").read_text(encoding="utf-8"))
    assert "There is no history.csv beside the checkpoint." in page.text
    assert "../../input.html" in [link["href"] for link in page.all("a")]
    wrong = round(6 * (1 - metrics["accuracy"]["top1"]["instances"]["value"]))
    assert len(page.all("img")) == page.data["tables"]["mistakes"]["length"] == wrong > 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "test clips of tiny, official split, 2 views: 6 clips, of how many is unknown (the data" in printed
    assert "3 of 3 glosses, 5 known signers" in printed
    assert "top-1 over classes" in printed
    assert (metrics["clean_clips"], metrics["clips"]) == (5, 6)
    assert printed.count("the 5 clean clips") == 2
    assert "shuffle" in printed
    assert f"Page: {folder}/evaluation.html" in printed


def test_predictions_of_probes_of_an_earlier_evaluation_do_not_stay(
    tiny_data: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "predictions_mine.csv").touch()  # not of an evaluation
    run(tiny_data, checkpoint, f"output={tmp_path}", "probe=all")
    run(tiny_data, checkpoint, f"output={tmp_path}", "probe=static")
    assert sorted(path.name for path in tmp_path.glob("*")) == [
        *("evaluation.html", "metrics.json", "predictions.csv", "predictions_mine.csv"),
        "predictions_static.csv",
    ]


def test_the_metrics_of_training_are_not_overwritten(tiny_data: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)
    with pytest.raises(ConfigError, match=r"output=.* is the folder of the checkpoint, .* another folder"):
        run(tiny_data, checkpoint, f"output={tmp_path}/.")
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_another_split_has_its_own_folder(tiny_data: Path, tmp_path: Path, split: str) -> None:
    metrics = run(tiny_data, write_checkpoint(tmp_path / "best.pt", tiny_data), f"split={split}")
    assert metrics["clips"] == {"train": 12, "val": 6}[split]
    assert (tmp_path / "evaluation" / f"best-{split}" / "predictions.csv").is_file()


def test_the_folds_are_those_of_the_checkpoint(tiny_data: Path, tmp_path: Path, manifest: list[Clip]) -> None:
    clips = signed(manifest)
    signers = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", clips)
    fold = DataSettings(fold=2, folds=4, fold_seed=7)
    keys = [f"data.manifest={signers}", "data.fold=2", "data.folds=4", "data.fold_seed=7"]
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data, *keys)
    metrics = run(tiny_data, checkpoint, f"data.manifest={signers}")
    with (tmp_path / "evaluation" / "best-test" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = {clip.video_id for clip in split_clips(clips, fold) if clip.split == "test"}
    assert {row["video_id"] for row in rows} == expected
    assert {row["signer_in_train"] for row in rows} == {"no"}
    assert metrics["data_split"] == "signer, fold 2 of 4, seed 7"
    assert metrics["coverage"]["reason"] == "folds are made of the clips that are there"


def test_a_checkpoint_of_the_first_version_can_be_measured(tiny_data: Path, tmp_path: Path) -> None:
    """It has no split, and no name for a gloss without training clips."""
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data, glosses=["book", "", "go"])
    content = torch.load(checkpoint, weights_only=True)
    for key in ("split", "network", "clips", "settings"):
        del content["asl"][key]
    torch.save(content, checkpoint)
    metrics = run(tiny_data, checkpoint)
    assert metrics["data_split"] == "official"
    with (tmp_path / "evaluation" / "best-test" / "predictions.csv").open() as file:
        row = next(csv.DictReader(file))
    assert {row["top1"], row["top2"], row["top3"]} == {"book", "drink", "go"}


def metadata(clips: list[Clip], *more: str) -> str:
    """WLASL's flat metadata for the clips and for test clips that are missing."""
    rows = [
        {
            **{"video_id": clip.video_id, "gloss": clip.gloss, "split": clip.split, "source": "aslpro"},
            **{"url": f"http://a.example/{clip.video_id}.mp4", "frame_start": 1, "frame_end": -1},
        }
        for clip in clips
    ]
    return json.dumps(rows + [{**rows[-1], "video_id": name, "split": "test"} for name in more])


def test_coverage_and_sites_come_from_the_metadata(
    tiny_data: Path, checkpoint: Path, tmp_path: Path, manifest: list[Clip]
) -> None:
    (tmp_path / "flat.json").write_text(metadata(manifest, "lost", "gone"))
    keys = [f"dataset.metadata={tmp_path}/flat.json", "dataset.num_glosses=null", f"output={tmp_path}/out"]
    metrics = run(tiny_data, checkpoint, *keys)
    assert metrics["coverage"] == {"clips": 6, "official": 8, "reason": ""}
    assert list(metrics["groups"]["site"]) == ["aslpro"]
    (tmp_path / "flat.json").write_text(metadata(manifest[:-1]))
    coverage = run(tiny_data, checkpoint, *keys)["coverage"]
    assert coverage["official"] is None
    assert coverage["reason"] == "1 of the clips are not in the test split of the data set's metadata"


def test_only_the_clips_of_the_split_need_files_and_only_they_are_read(
    tiny_data: Path, checkpoint: Path, tmp_path: Path, manifest: list[Clip]
) -> None:
    clips = [
        clip if clip.split == "test" else dataclasses.replace(clip, path="nowhere.mp4") for clip in manifest
    ]
    without = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", clips)
    assert run(tiny_data, checkpoint, f"data.manifest={without}", f"output={tmp_path}")["clips"] == 6


def test_a_manifest_with_other_glosses_is_refused(
    tiny_data: Path, checkpoint: Path, tmp_path: Path, manifest: list[Clip]
) -> None:
    renamed = [
        dataclasses.replace(clip, gloss="sign") if clip.gloss == "drink" else clip for clip in manifest
    ]
    other = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", renamed)
    with pytest.raises(
        UserError,
        match=r"best\.pt was trained with another label map than .*: 3 glosses there, 3 in the label map now"
        r"; label 1 is 'drink' there, 'sign' now\. Give the manifest and the label map",
    ):
        run(tiny_data, checkpoint, f"data.manifest={other}")


def test_a_checkpoint_of_two_data_sets_is_measured_on_both_and_on_each(
    tiny_data: Path, tmp_path: Path, manifest: list[Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second data set has the glosses of labels 1 and 2, and one that training leaves out."""
    other = [
        dataclasses.replace(
            clip,
            label=(clip.label + 2) % 3,
            gloss="sign" if clip.label == 0 else clip.gloss,
            path=str(tiny_data / clip.path),
            source=f"other/{clip.source}",
        )
        for clip in manifest
    ]
    both = [
        tiny_data / "metadata" / "tiny_manifest.csv",
        write_manifest_and_label_map(tmp_path / "other_manifest.csv", other),
    ]
    key = f"data.manifest=[{both[0]},{both[1]}]"
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data, key, "data.labels=first")
    metrics = run(tiny_data, checkpoint, key)
    assert (metrics["dataset"], metrics["clips"], metrics["left_out"]) == ("tiny+other", 10, 8)
    printed = " ".join(capsys.readouterr().out.split())
    assert "8 clips of all splits, whose glosses the network does not know, left out" in printed
    assert (run(tiny_data, checkpoint)["dataset"], run(tiny_data, checkpoint)["clips"]) == ("tiny", 6)
    alone = run(tiny_data, checkpoint, "dataset.name=other", f"data.manifest={both[1]}")
    assert (alone["dataset"], alone["clips"], alone["glosses"]) == ("other", 4, 3)
    predicted = read_predictions(tmp_path / "evaluation" / "best-test" / "predictions.csv")
    assert {one.gloss: one.label for one in predicted} == {"drink": 1, "go": 2}
    with pytest.raises(UserError, match=r"Choose dataset=tiny or dataset=other, or .* dataset\.root"):
        run(tiny_data, checkpoint, "dataset.name=third", f"data.manifest={both[1]}")


@pytest.mark.parametrize(
    ("info", "overrides", "message"),
    [
        ({"dataset": "demo"}, [], r"trained on the data set demo, and this is tiny\. Choose dataset=demo"),
        ({"dataset": "demo"}, ["frames.short_side=160"], r"Choose dataset=demo"),
        ({"split": "by weekday"}, [], r"does not know: 'by weekday' is not the name of a split"),
        (
            {},
            ["frames.enabled=false"],
            r"frames\.enabled=false: reader=frames needs .*\n\(data\.\* are those of",
        ),
        ({}, ["frames.short_side=160"], r"other frames: frames\.short_side=128 there, 160 now\. Set these"),
        ({}, ["frames.crop=signer"], r"data\.crop=none needs whole pictures, but frames\.crop=signer"),
        ({}, ["dataset=wlasl300", "dataset.name=tiny", "data.manifest=no.csv"], r"no\.csv: no such manifest"),
        ({}, ["accelerator=gpu"], r"accelerator=gpu: there is no CUDA device here"),
    ],
)
def test_what_does_not_fit_is_one_message(
    tiny_data: Path, tmp_path: Path, info: dict[str, Any], overrides: list[str], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data, **info)
    with pytest.raises(UserError, match=message):
        run(tiny_data, checkpoint, *overrides)
    assert not (tmp_path / "evaluation").exists()


def test_clips_that_the_network_was_trained_on_are_not_measured(
    tiny_data: Path, tmp_path: Path, manifest: list[Clip]
) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)
    other = {"train": "test", "test": "train", "val": "val"}
    swapped = [dataclasses.replace(clip, split=other[clip.split]) for clip in manifest]
    path = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", swapped)
    with pytest.raises(
        UserError, match=r"best.pt was trained on 12 of the test clips of .*tiny_manifest.csv \("
    ):
        run(tiny_data, checkpoint, f"data.manifest={path}")
    metrics = run(tiny_data, checkpoint, f"data.manifest={path}", "split=train")
    assert (metrics["clips"], metrics["manifest"]) == (6, str(path))


def test_training_clips_under_other_ids_are_not_measured_but_copies_in_the_own_split_are(
    tiny_data: Path, tmp_path: Path, manifest: list[Clip]
) -> None:
    first = next(clip for clip in manifest if clip.split == "train")
    copy = dataclasses.replace(first, video_id="copy", split="test")
    path = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", [*manifest, copy])
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)
    with pytest.raises(UserError, match=r"best\.pt was trained on 1 of the test clips of .* \(copy\)"):
        run(tiny_data, checkpoint, f"data.manifest={path}")
    own = write_checkpoint(tmp_path / "own.pt", tiny_data, f"data.manifest={path}")
    assert run(tiny_data, own, f"data.manifest={path}")["clips"] == 7


def test_a_checkpoint_whose_epoch_was_chosen_on_test_has_no_test_figure(
    tiny_data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figure has the protocol's name, in the table and in the files."""
    chosen = write_checkpoint(tmp_path / "best.pt", tiny_data, "protocol=wlasl_authors")
    metrics = run(tiny_data, chosen)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"wlasl_authors: {CHOSEN_ON_TEST}" in printed
    assert "Accuracy, wlasl_authors" in printed
    folder = tmp_path / "evaluation" / "best-wlasl_authors"
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert (metrics["protocol"], metrics["protocol_note"]) == ("wlasl_authors", CHOSEN_ON_TEST)
    assert "accuracy" not in metrics
    assert set(metrics["wlasl_authors_accuracy"]) == {"top1"}
    with (folder / "predictions.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"wlasl_authors"}

    assert run(tiny_data, checkpoint, f"output={tmp_path / 'honest'}")["protocol"] == "standard"
    files = f"[{tmp_path}/honest/predictions.csv,{folder}/predictions.csv]"
    for key in ("compare", "seeds"):
        with pytest.raises(UserError, match=r"one of .* is of protocol=wlasl_authors.* the same protocol"):
            evaluate(composed("evaluate", f"{key}={files}"))
    assert run(tiny_data, chosen, "split=train")["protocol"] == "standard"
    with pytest.raises(UserError, match="has no val clips"):
        run(tiny_data, chosen, "split=val")


def test_a_split_without_clips_is_an_error(
    tiny_data: Path, checkpoint: Path, tmp_path: Path, manifest: list[Clip]
) -> None:
    without = [clip for clip in manifest if clip.split != "test"]
    other = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", without)
    with pytest.raises(UserError, match=r"tiny_manifest\.csv has no test clips\. Measure another split="):
        run(tiny_data, checkpoint, f"data.manifest={other}")


def test_models_and_seeds_are_compared_from_their_files(
    tiny_data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, views in (("a", 1), ("b", 2), ("c", 3)):
        run(tiny_data, checkpoint, f"output={tmp_path / name}", f"views={views}")
    capsys.readouterr()
    files = ",".join(str(tmp_path / name / "predictions.csv") for name in "abc")
    result = evaluate(composed("evaluate", f"compare=[{files}]", f"output={tmp_path}"))
    assert json.loads((tmp_path / "comparison.json").read_text()) == result
    assert [one["clips"] for one in result["comparisons"]] == [6, 6]
    printed = capsys.readouterr().out
    assert printed.count("McNemar's test of top-1") == 2
    top1 = result["comparisons"][1]["accuracy"]["top1"]["instances"]["difference"]
    low, high = (f"{100 * bound:+.1f}" for bound in top1["interval"])
    assert f"{100 * top1['value']:+.1f} {low} to {high}" in " ".join(printed.split())
    result = evaluate(composed("evaluate", f"seeds=[{files}]"))
    assert len(result["accuracy"]["top1"]["instances"]["values"]) == 3
    assert "3 runs, 6 clips" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["compare=[a.csv]"], r"compare=\['a\.csv'\]: name at least two predictions\.csv"),
        (["compare=[a.csv,b.csv]", "seeds=[a.csv,b.csv]"], "compare and seeds: give only one of them"),
        (["compare=[a.csv,a.csv]"], r"compare=\['a\.csv', 'a\.csv'\]: a file is named twice"),
        (["views=0"], "views=0: must be at least 1"),
        (["probe=blur"], "probe=blur: must be one of shuffle, reverse, mirror, static, all"),
    ],
)
def test_values_that_make_no_sense_are_errors(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(composed("evaluate", *overrides))


def test_the_program_prints_one_message_and_leaves_no_files(tmp_path: Path) -> None:
    result = programs.run("evaluate.py", "views=0", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: views=0: must be at least 1 (temporal views")
    assert list(tmp_path.iterdir()) == []
