"""``python export.py``: files that compute what the checkpoint computes, and what the model card says."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from av.video.frame import VideoFrame
from clips import write_clip, write_manifest_and_label_map
from composing import composed
from made_checkpoint import write_checkpoint
from raw_videos import write_raw
from torch import nn

import asl
from asl.config.setting import ConfigError
from asl.contract.manifest import read_manifest
from asl.data.frames.store import frame_pictures
from asl.data.framing import Framing
from asl.data.sampling import Sampling, draw_frames
from asl.data.split import WLASL_AUTHORS, protocol
from asl.errors import UserError
from asl.evaluation.config import EvaluateConfig
from asl.evaluation.run import evaluate
from asl.inference.export.measure import Measured, noise
from asl.inference.export.model_card import Evaluation, find_evaluation, model_card
from asl.inference.export.network import FramesToProbabilities
from asl.inference.export.quantize import calibration_sample
from asl.inference.export.run import export
from asl.inference.recogniser import Recogniser
from asl.training.checkpoints import read_checkpoint

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def run(data_dir: Path, checkpoint: Path, *overrides: str) -> list[Measured]:
    keys = ["dataset.name=tiny", "data.num_workers=0", f"paths.data_dir={data_dir}"]
    return export(composed("export", *keys, f"checkpoint={checkpoint}", *overrides))


@pytest.fixture(scope="module", autouse=True)
def _brief_measurements() -> Iterator[None]:
    """Rates are not tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asl.inference.export.measure._MIN_SECONDS", 0)
        yield


@pytest.fixture(scope="module")
def checkpoint(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("export") / "best.pt", tiny_data)


@pytest.fixture(scope="module")
def exported(tiny_data: Path, checkpoint: Path) -> tuple[Path, list[Measured]]:
    """The folder and the table of an export with all files, after an evaluation on test."""
    keys = ["dataset.name=tiny", "data.num_workers=0", f"paths.data_dir={tiny_data}", "accelerator=cpu"]
    config: EvaluateConfig = composed("evaluate", *keys, f"checkpoint={checkpoint}", "probe=all")
    evaluate(config)
    rows = run(tiny_data, checkpoint, "quantize=[fp16,int8]", "calibration_clips=4")
    return checkpoint.parent / "export", rows


def session(folder: Path, name: str = "model.onnx") -> Any:
    return onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])


def front_matter(card: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return content


def test_both_formats_give_the_checkpoints_probabilities_for_any_batch_size(
    exported: tuple[Path, list[Measured]], checkpoint: Path
) -> None:
    folder, _ = exported
    recogniser = Recogniser(read_checkpoint(checkpoint), device=torch.device("cpu"))
    network = torch.export.load(folder / "model.pt2").module()
    for size in (1, 2, 5):
        frames = noise((4, 20, 30, 3), size)
        expected = recogniser.probabilities(torch.from_numpy(frames)).numpy()
        assert np.ptp(expected, axis=0).max() > 0.1 or size == 1  # the clips differ
        (found,) = session(folder).run(None, {"frames": frames})
        assert np.abs(found - expected).max() < 1e-4
        assert np.abs(network(torch.from_numpy(frames)).numpy() - expected).max() < 1e-4


def test_files_say_what_their_input_and_output_mean(
    exported: tuple[Path, list[Measured]], checkpoint: Path
) -> None:
    folder, _ = exported
    info = read_checkpoint(checkpoint)["asl"]
    inside = {"asl.json": ""}
    torch.export.load(folder / "model.pt2", extra_files=inside)
    for name in ("model.onnx", "model_fp16.onnx", "model_int8.onnx"):
        about = json.loads(session(folder, name).get_modelmeta().custom_metadata_map["asl"])
        assert about == json.loads(inside["asl.json"])
    assert {name: about[name] for name in ("glosses", "sampling", "resize", "crop_size")} == {
        name: info[name] for name in ("glosses", "sampling", "resize", "crop_size")
    }
    (video,) = session(folder).get_inputs()
    (probabilities,) = session(folder).get_outputs()
    assert (video.name, video.type, video.shape) == ("frames", "tensor(uint8)", ["batch", 4, 20, 30, 3])
    assert (probabilities.name, probabilities.shape) == ("probabilities", ["batch", 3])


def test_the_table_has_accuracy_on_val_and_differences_of_each_file(
    exported: tuple[Path, list[Measured]], checkpoint: Path, tiny_data: Path
) -> None:
    folder, rows = exported
    names = ["best.pt", "model.onnx", "model_fp16.onnx", "model_int8.onnx", "model.pt2"]
    assert [row.name for row in rows] == names
    assert [row.num_bytes for row in rows[1:]] == [(folder / name).stat().st_size for name in names[1:]]
    assert (rows[0].difference, rows[0].same) == (0, 1)
    assert rows[1].difference < 1e-4 < rows[3].difference
    keys = ["dataset.name=tiny", "data.num_workers=0", f"paths.data_dir={tiny_data}", "accelerator=cpu"]
    val = evaluate(composed("evaluate", *keys, f"checkpoint={checkpoint}", "split=val"))
    assert rows[0].top1 == rows[1].top1 == val["accuracy"]["top1"]["instances"]["value"]
    assert "on 6 val clips" in " ".join((folder / "README.md").read_text().split())


def test_without_quantize_no_clips_are_needed_and_files_of_an_earlier_export_go(
    tmp_path: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)
    folder = tmp_path / "export"
    folder.mkdir()
    for name in ("model_int8.onnx", "model.pt2", "mine.txt"):
        (folder / name).write_text("old")
    rows = run(tmp_path / "nowhere", checkpoint, "formats=[onnx]")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "mine.txt", "model.onnx"]
    assert [(row.top1, row.same) for row in rows] == [(None, None)] * 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "The model card has no figures of evaluate.py" in printed
    card = (folder / "README.md").read_text()
    assert "`evaluate.py` was not run for this checkpoint" in card
    assert "torch.export.load" not in card
    assert set(front_matter(card)) == {"license", "library_name", "pipeline_tag", "tags"}


def test_a_file_that_does_not_agree_is_an_error_and_nothing_is_written(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)

    def wrong(self: FramesToProbabilities, frames: torch.Tensor) -> torch.Tensor:
        return right(self, 255 - frames)

    right = FramesToProbabilities.forward
    monkeypatch.setattr(FramesToProbabilities, "forward", wrong)
    with pytest.raises(UserError, match=r"model\.onnx does not compute what best\.pt computes: .*0\.0001 is"):
        run(tiny_data, checkpoint)
    assert not (tmp_path / "export").exists()


def test_a_network_that_cannot_be_exported_is_one_message(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Choosy(nn.Module):
        def forward(self, video: torch.Tensor) -> torch.Tensor:
            return video.mean((1, 2, 3))[:, :3] if video.sum() > 0 else video[:, :3, 0, 0, 0]

    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)
    monkeypatch.setattr("asl.inference.export.network.restore_network", lambda _: Choosy())
    with pytest.raises(UserError, match=r"torch\.export cannot express the network Choosy: "):
        run(tiny_data, checkpoint)


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_message_with_the_command(
    name: str, tiny_data: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UserError, match=rf"{name} cannot be imported .*: pip install onnx onnxscript onnxruntime"
    ):
        run(tiny_data, checkpoint)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["formats=[]"], r"formats=\[\]: name at least one of onnx, torch"),
        (["formats=[torch]", "quantize=[int8]"], r"quantize=\['int8'\]: needs onnx in formats"),
        (["quantize=[int4]"], r"quantize=\['int4'\]: must be one of fp16, int8"),
    ],
)
def test_values_that_make_no_sense_are_errors(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed("export", *overrides)


def test_int8_without_training_clips_is_one_message(
    tiny_data: Path, checkpoint: Path, tmp_path: Path
) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    without = [clip for clip in clips if clip.split != "train"]
    path = write_manifest_and_label_map(tmp_path / "tiny_manifest.csv", without)
    keys = [f"data.manifest={path}", f"output={tmp_path / 'files'}", "quantize=[int8]"]
    with pytest.raises(
        UserError, match=r"tiny_manifest\.csv has no train clips, from which quantize=\[int8\]"
    ):
        run(tiny_data, checkpoint, *keys)
    assert not (tmp_path / "files").exists()


def test_calibration_clips_are_spread_over_the_glosses(tiny_data: Path) -> None:
    from asl.contract.manifest import read_manifest

    clips = [
        clip for clip in read_manifest(tiny_data / "metadata" / "tiny_manifest.csv") if clip.split == "train"
    ]
    assert [clip.label for clip in calibration_sample(clips[::-1], 3)] == [0, 1, 2]
    assert calibration_sample(clips, 100) == clips


# ---------------------------------------------------------------- the model card


def test_the_card_has_the_figures_of_evaluate_with_intervals(exported: tuple[Path, list[Measured]]) -> None:
    folder, _ = exported
    card = (folder / "README.md").read_text()
    metrics = json.loads((folder.parent / "evaluation" / "best-test" / "metrics.json").read_text())
    content = front_matter(card)
    assert (content["license"], content["pipeline_tag"]) == ("unknown", "video-classification")
    assert content["metrics"] == ["accuracy"]
    (result,) = content["model-index"][0]["results"]
    top1 = metrics["accuracy"]["top1"]["instances"]
    assert result["metrics"][0] == {
        **{"type": "accuracy", "name": "top-1 over instances"},
        "value": round(top1["value"], 4),
    }
    low, high = top1["interval"]
    assert f"| top-1 over instances | {top1['value']:.1%} | {low:.1%} to {high:.1%} | unknown |" in card
    assert "Clips: 12 train, 6 val, 6 test." in card
    assert "| shuffle | " in card
    assert "No licence of the weights is stated." in card


def test_the_front_matter_is_what_the_hub_reads(exported: tuple[Path, list[Measured]]) -> None:
    repocard = pytest.importorskip("huggingface_hub.repocard")
    card = repocard.ModelCard((exported[0] / "README.md").read_text())
    assert card.data.pipeline_tag == "video-classification"
    assert [one.metric_name for one in card.data.eval_results][:2] == [
        *("top-1 over instances", "top-1 over classes")
    ]


def test_the_licence_is_the_users(tmp_path: Path, tiny_data: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", tiny_data)
    run(tiny_data, checkpoint, "license=cc-by-4.0", "formats=[torch]", f"output={tmp_path / 'other'}")
    card = (tmp_path / "other" / "README.md").read_text()
    assert (front_matter(card)["license"], front_matter(card)["library_name"]) == ("cc-by-4.0", "pytorch")
    assert "The weights: cc-by-4.0." in card


@pytest.mark.parametrize("change", [{"epoch": 7}, {"dataset": "demo"}, None])
def test_figures_of_another_checkpoint_are_not_used(
    tmp_path: Path, exported: tuple[Path, list[Measured]], checkpoint: Path, change: dict[str, Any] | None
) -> None:
    copy = tmp_path / "best.pt"
    copy.write_bytes(checkpoint.read_bytes())
    source = exported[0].parent / "evaluation" / "best-test" / "metrics.json"
    target = tmp_path / "evaluation" / "best-test" / "metrics.json"
    target.parent.mkdir(parents=True)
    metrics = json.loads(source.read_text())
    target.write_text(json.dumps(metrics | (change or {})))
    info = read_checkpoint(copy)["asl"]
    if change is None:
        assert find_evaluation(None, copy, info).metrics == metrics
        os.utime(target, (0, 0))
        assert "it is older than the checkpoint" in find_evaluation(None, copy, info).missing
        return
    assert "it is of another checkpoint" in find_evaluation(None, copy, info).missing
    with pytest.raises(ConfigError, match=r"metrics=.*: it is of another checkpoint \("):
        find_evaluation(str(target), copy, info)


def test_figures_of_an_epoch_that_was_chosen_on_test_have_their_own_name_in_the_card(
    exported: tuple[Path, list[Measured]], checkpoint: Path
) -> None:
    folder, rows = exported
    info = read_checkpoint(checkpoint)["asl"] | {"split": WLASL_AUTHORS}
    metrics = json.loads((folder.parent / "evaluation" / "best-test" / "metrics.json").read_text())
    metrics |= {f"{WLASL_AUTHORS}_accuracy": metrics.pop("accuracy"), **protocol(WLASL_AUTHORS)}
    card = model_card(info, rows, "", Evaluation(metrics), license=None)
    (result,) = front_matter(card)["model-index"][0]["results"]
    assert all(one["name"].startswith("wlasl_authors top-") for one in result["metrics"])
    assert "| wlasl_authors top-1 over instances |" in card
    assert "| top-1 over instances |" not in card
    assert "its epoch was chosen on these test clips" in card


def test_figures_of_one_of_several_data_sets_name_it(exported: tuple[Path, list[Measured]]) -> None:
    folder, rows = exported
    source = folder.parent / "evaluation" / "best-test" / "metrics.json"
    info = read_checkpoint(folder.parent / "best.pt")["asl"]
    both = info | {"dataset": "tiny+other", "manifest": ["tiny_manifest.csv", "other_manifest.csv"]}
    found = find_evaluation(str(source), folder.parent / "best.pt", both)
    front = front_matter(model_card(both, rows, "", found, license=None))
    assert front["tags"][-2:] == ["tiny", "other"]
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "tiny"


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_damaged_figures_are_one_message(tmp_path: Path, checkpoint: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ConfigError, match=r"metrics\.json: it cannot be read \("):
        find_evaluation(str(tmp_path / "metrics.json"), checkpoint, read_checkpoint(checkpoint)["asl"])


# ---------------------------------------------------------------- the example in the model card


def example(folder: Path) -> str:
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[0]
    assert isinstance(code, str)
    return code


def run_example(folder: Path, video: Path, script: Path) -> dict[str, float]:
    """The probabilities that the card's example prints, by gloss, without torch and asl."""
    blocked = "import sys\nfor name in ('torch', 'asl'):\n    sys.modules[name] = None\n"
    script.write_text(blocked + example(folder))
    result = subprocess.run(
        [sys.executable, str(script), str(video)],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.split("%") for line in result.stdout.splitlines()]
    return {gloss.strip(): float(percent) / 100 for percent, gloss in lines}


def test_the_example_runs_without_torch_and_asl_and_gives_the_same_answer(
    exported: tuple[Path, list[Measured]], checkpoint: Path, tmp_path: Path
) -> None:
    folder, _ = exported
    grey = list(range(30, 210, 6))
    write_clip(tmp_path / "sign.mp4", grey=grey)
    found = run_example(folder, tmp_path / "sign.mp4", tmp_path / "example.py")
    info = read_checkpoint(checkpoint)["asl"]
    drawn = draw_frames(np.arange(len(grey)) / 25, len(grey) / 25, Sampling(**info["sampling"]))
    frames = np.empty((1, 4, 20, 30, 3), np.uint8)
    frames[0] = np.array(grey)[drawn][:, None, None, None]
    recogniser = Recogniser(read_checkpoint(checkpoint), device=torch.device("cpu"))
    (expected,) = recogniser.probabilities(torch.from_numpy(frames)).numpy()
    assert list(found) == [info["glosses"][label] for label in np.argsort(-expected)]
    assert list(found.values()) == pytest.approx(sorted(expected, reverse=True), abs=0.05)


@pytest.mark.parametrize("rotation", [90, 180])
def test_the_example_brings_videos_upright_as_asl_does(
    exported: tuple[Path, list[Measured]], checkpoint: Path, tmp_path: Path, rotation: int
) -> None:
    video = write_raw(tmp_path / "sign.mp4", duration_s=0.5, rotation=rotation)
    found = run_example(exported[0], video, tmp_path / "example.py")
    expected = asl.load(checkpoint, accelerator="cpu").predict(video)
    assert found == pytest.approx(dict(expected.top), abs=0.03)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(clip_len=8, frame_stride=1),
        Sampling(clip_len=8, long="window"),
        Sampling(clip_len=32, pad="loop"),
        Sampling(clip_len=5, fps=None),
        Sampling(clip_len=7, fps=12.5, frame_stride=3, long="window", pad="loop"),
    ],
    ids=str,
)
def test_the_example_draws_the_frames_that_asl_draws(
    exported: tuple[Path, list[Measured]], sampling: Sampling
) -> None:
    code = example(exported[0])
    drawing = code[code.index("fps, steps =") : code.index("pictures =")]
    for num_frames in (1, 2, 7, 24, 25, 40, 63, 64, 90):
        for fps in (12.0, 24000 / 1001, 25.0, 30.0):
            times = np.arange(num_frames) / fps
            names: dict[str, Any] = {
                **{"np": np, "times": times, "last_s": 1 / fps, "decoded": [None] * num_frames},
                "sampling": dataclasses.asdict(sampling),
            }
            exec(drawing, names)
            assert names["shown"].tolist() == draw_frames(times, num_frames / fps, sampling).tolist()


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90)], ids=["16:9", "portrait"])
@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_the_example_takes_the_part_of_a_picture_that_asl_takes(
    checkpoint: Path, fit: str, height: int, width: int
) -> None:
    framing = Framing(fit=fit, resize=[64, 64], crop_size=56)
    info = {**read_checkpoint(checkpoint)["asl"], **dataclasses.asdict(framing)}
    evaluation = Evaluation(None, "not measured")
    row = Measured(name="model.onnx", num_bytes=1, clips_per_s=1.0, difference=0.0, top1=None, same=None)
    card = model_card(info, [row, row], "", evaluation, license=None)
    code = card[card.index("def upright") : card.index("(probabilities,)")]
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([y, x, y], axis=2).astype(np.uint8)
    names: dict[str, Any] = {"np": np, "height": 64, "width": 64, "about": {"crop_size": 56}, "shown": [0]}
    names |= {"decoded": [VideoFrame.from_ndarray(ramp, format="rgb24")], "turns": 0}
    exec(code, names)
    ours = frame_pictures(torch.from_numpy(ramp)[None], framing)[0].numpy().astype(int)
    differing = np.abs(names["pictures"][0] - ours) > 4  # at the edges, where FFmpeg's scaler differs
    assert differing.mean() < 0.03


def test_the_content_of_a_torch_file_loads_from_memory(exported: tuple[Path, list[Measured]]) -> None:
    program = torch.export.load(io.BytesIO((exported[0] / "model.pt2").read_bytes()))
    assert program.module()(torch.zeros(1, 4, 20, 30, 3, dtype=torch.uint8)).sum() == pytest.approx(1)
