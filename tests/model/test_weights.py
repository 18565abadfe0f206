"""Loading initial weights, and the errors for weights that are missing or do not fit."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch

from asl.model import weights as weights_module
from asl.model.networks.base import NetworkSettings
from asl.model.networks.mc3 import MC3
from asl.model.networks.r2plus1d import R2Plus1D
from asl.model.networks.r3d import R3D
from asl.model.networks.video_resnet import VideoResNet
from asl.model.weights import Loaded, WeightsError, load_weights


def tiny(num_classes: int = 3, width: int = 2) -> VideoResNet:
    return VideoResNet("r2plus1d", num_classes=num_classes, width=width, layers=[1, 1])


def equal(a: VideoResNet, b: VideoResNet, but: str = "nothing") -> bool:
    """Whether all parameters are equal, except those whose names start with ``but``."""
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items() if not k.startswith(but))


def test_a_state_dict_is_loaded(tmp_path: Path) -> None:
    source, target = tiny(), tiny()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    assert load_weights(target, str(tmp_path / "w.pth"), R2Plus1D()) == Loaded()
    assert equal(source, target)


def test_the_network_of_an_asl_checkpoint_is_loaded(tmp_path: Path) -> None:
    source, target = tiny(), tiny()
    state = {f"model.{k}": v for k, v in source.state_dict().items()}
    torch.save({"state_dict": state, "asl": {}, "epoch": 3}, tmp_path / "best.pt")
    load_weights(target, str(tmp_path / "best.pt"), R2Plus1D())
    assert equal(source, target)


def test_a_classifier_of_another_size_is_not_loaded(tmp_path: Path) -> None:
    source, target = tiny(num_classes=7), tiny(num_classes=3)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    torch.save(source.state_dict(), tmp_path / "w.pth")
    assert load_weights(target, str(tmp_path / "w.pth"), R2Plus1D()) == Loaded(("fc.weight", "fc.bias"))
    assert equal(target, source, but="fc.")
    assert torch.equal(target.fc.weight, before["fc.weight"])


def checkpoint_of(network: torch.nn.Module, glosses: list[str], path: Path) -> str:
    state = {f"model.{k}": v for k, v in network.state_dict().items()}
    torch.save({"state_dict": state, "asl": {"glosses": glosses}}, path)
    return str(path)


def test_a_checkpoint_with_other_glosses_gets_a_new_classifier_also_of_the_same_size(tmp_path: Path) -> None:
    source, target = tiny(), tiny()
    file = checkpoint_of(source, ["book", "drink", "go"], tmp_path / "best.pt")
    before = target.fc.weight.clone()
    loaded = load_weights(target, file, R2Plus1D(), glosses=["book", "go", "drink"])
    assert loaded == Loaded(("fc.weight", "fc.bias"))
    assert equal(target, source, but="fc.")
    assert torch.equal(target.fc.weight, before)
    assert load_weights(target, file, R2Plus1D(), glosses=["book", "drink", "go"]) == Loaded()
    assert equal(target, source)


def test_glosses_in_common_keep_their_rows_if_asked_for(tmp_path: Path) -> None:
    source, target = tiny(num_classes=4), tiny(num_classes=3)
    torch.nn.init.normal_(source.fc.bias)
    file = checkpoint_of(source, ["book", "", "drink", "go"], tmp_path / "best.pt")
    before = {k: v.clone() for k, v in target.state_dict().items()}
    settings = R2Plus1D(keep_glosses=True)
    assert load_weights(target, file, settings, glosses=["go", "", "book"]).kept == 2
    assert equal(target, source, but="fc.")
    for name in ("fc.weight", "fc.bias"):
        ours, theirs = target.state_dict()[name], source.state_dict()[name]
        assert torch.equal(ours[[0, 2]], theirs[[3, 0]])
        assert torch.equal(ours[1], before[name][1])


def test_rows_cannot_be_kept_of_weights_that_do_not_name_their_glosses(tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"keep_glosses=true: .*w\.pth does not say"):
        load_weights(tiny(), str(tmp_path / "w.pth"), R2Plus1D(keep_glosses=True), glosses=["a", "b", "c"])


def test_without_a_gloss_in_common_there_are_no_rows_to_keep(tmp_path: Path) -> None:
    file = checkpoint_of(tiny(), ["book", "drink", "go"], tmp_path / "best.pt")
    with pytest.raises(WeightsError, match=r"best\.pt has none of the glosses of this run.*book, drink, go"):
        load_weights(tiny(), file, R2Plus1D(keep_glosses=True), glosses=["Book", "Drink", "Go"])


class WithoutClassifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output = torch.nn.Linear(2, 3)


def test_a_classifier_of_other_glosses_that_is_not_known_as_one_is_an_error(tmp_path: Path) -> None:
    file = checkpoint_of(WithoutClassifier(), ["book", "drink", "go"], tmp_path / "best.pt")
    target = WithoutClassifier()
    before = target.output.weight.clone()
    for settings in (R2Plus1D(), R2Plus1D(keep_glosses=True)):
        with pytest.raises(WeightsError, match=r"WithoutClassifier has no module fc or head or classifier"):
            load_weights(target, file, settings, glosses=["go", "book", "drink"])
    assert torch.equal(target.output.weight, before)
    load_weights(target, file, R2Plus1D(), glosses=["book", "drink", "go"])
    assert not torch.equal(target.output.weight, before)


def test_the_error_names_the_keys_of_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    network = {"name": "r3d", "width": 2, "layers": [1, 1]}
    torch.save({"state_dict": {"model.a": torch.ones(1)}, "asl": {"model": network}}, tmp_path / "best.pt")
    with pytest.raises(WeightsError, match=r"weights: model=r3d model\.width=2 model\.layers=\[1,1\], or"):
        load_weights(tiny(), str(tmp_path / "best.pt"), R2Plus1D())


def test_the_error_names_other_shapes(tmp_path: Path) -> None:
    torch.save(tiny(width=4).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"stem.0.weight is \(2, 3, 1, 7, 7\), the model's is \(1, 3"):
        load_weights(tiny(width=2), str(tmp_path / "w.pth"), R2Plus1D())


def test_the_error_names_missing_and_surplus_parameters(tmp_path: Path) -> None:
    state = tiny().state_dict()
    state["head.bias"] = state.pop("stem.0.weight")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        load_weights(tiny(), str(tmp_path / "w.pth"), R2Plus1D())
    assert "stem.0.weight is missing" in str(caught.value)
    assert "head.bias is not part of the model" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not weights", b"root:x:0:0:root", b"PK\x03\x04 damaged"])
def test_the_error_names_a_file_that_is_not_a_weights_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth cannot be read: \w+ \w+"):
        load_weights(tiny(), str(tmp_path / "w.pth"), R2Plus1D())


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_code_in_a_weights_file_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"stem.0.weight": Malicious()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tiny(), str(tmp_path / "w.pth"), R2Plus1D())
    assert not (tmp_path / "executed").exists()


def test_the_error_names_a_missing_file() -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pth: no such file"):
        load_weights(tiny(), "nowhere.pth", R2Plus1D())


def test_a_folder_is_an_error_that_asks_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"is a folder; name a file in it, such as best\.pt"):
        load_weights(tiny(), str(tmp_path), R2Plus1D())


@pytest.mark.parametrize("settings", [R2Plus1D(), R3D(), MC3()], ids=lambda settings: settings.name)
def test_the_error_of_a_failed_download_names_url_and_remedies(
    settings: NetworkSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(WeightsError) as caught:
        load_weights(settings.build(num_classes=2), "kinetics400", settings)
    message = str(caught.value)
    assert settings.kinetics_weights().url in message
    assert "https://download.pytorch.org/models/" in message
    assert "model.weights=path/to/" in message
    assert "model.weights=null" in message


def test_kinetics_weights_fit_any_number_of_glosses(monkeypatch: pytest.MonkeyPatch) -> None:
    kinetics = VideoResNet("r3d", num_classes=400)
    monkeypatch.setattr(weights_module, "kinetics_state", lambda name: kinetics.state_dict())
    ours = VideoResNet("r3d", num_classes=100)
    assert load_weights(ours, "kinetics400", R3D()) == Loaded(("fc.weight", "fc.bias"))
    assert equal(ours, kinetics, but="fc.")
