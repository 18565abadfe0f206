"""What a machine's GPU can do, and the backend that a run chooses for it."""

import dataclasses
import io
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from rich.console import Console

from asl.errors import UserError
from asl.preprocess.clips.accelerator import HostOnly
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.gpu import backend, capabilities, choice, cuda_calls
from asl.preprocess.gpu import checks as gpu_checks
from asl.preprocess.gpu.backend import open_backend
from asl.preprocess.gpu.capabilities import (
    NVDEC_LIBRARIES,
    Capabilities,
    count_gpus,
    find_capabilities,
    show,
)
from asl.preprocess.gpu.checks import CODECS, GET_NVDEC, Capability, check, tiny_clip, without_encoder
from asl.preprocess.gpu.choice import TrimChoiceError, choose, with_trial
from asl.preprocess.gpu.nvdec import trial
from asl.preprocess.gpu.nvdec.trial import Trial

ROOT = Path(__file__).resolve().parents[2]

without_gpu = pytest.mark.skipif(capabilities._without_device() is None, reason="there is a GPU")


def made(*works, gpu="NVIDIA L4, driver 570.1, CUDA 12.8"):
    """Capabilities of a machine on which these work."""

    def one(name, cause):
        return Capability(name, name in works, "did it" if name in works else cause, f"mend {name}")

    return Capabilities(
        Capability("gpu", bool(gpu), gpu or "there is no NVIDIA GPU", "" if gpu else "get one"),
        one("nvdec", "cuda-bindings is not installed"),
        one("nvenc", "this card has no video encoder"),
        one("dali", "nvidia-dali is not installed"),
        {codec: one(codec, "not this one") for codec in CODECS},
    )


# ---------------------------------------------------------------- choosing


def test_auto_chooses_the_fastest_that_works_and_says_why_not_another():
    assert choose("auto", made("nvenc", "dali")).name == "nvenc"
    both = "nvenc: this card has no video encoder; dali: "
    assert str(choose("auto", made("dali"))) == f"cpu ({both}{choice._DALI_IS_NO_FASTER})"
    assert str(choose("auto", made())) == f"cpu ({both}nvidia-dali is not installed)"


def test_without_a_gpu_auto_says_only_that():
    assert str(choose("auto", made(gpu=""))) == "cpu (there is no NVIDIA GPU)"


def test_auto_takes_nvdec_only_if_a_trial_showed_that_it_is_faster():
    found = made("nvdec", "nvenc")
    without = choose("auto", found)
    faster, slower = Trial(gpu=90, cpu=40), Trial(gpu=30, cpu=40)
    assert with_trial(without, found, faster).name == "nvdec"
    assert "90 clips/s, and 40 on" in with_trial(without, found, faster).why
    chosen = with_trial(without, found, slower)
    assert chosen.name == "nvenc"
    assert chosen.why.startswith("nvdec: in a trial 30 clips/s, and 40 on")
    failed = with_trial(without, found, "the GPU left clips of a trial to the host")
    assert (failed.name, failed.why.split(";")[0]) == (
        "nvenc", "nvdec: the GPU left clips of a trial to the host"
    )  # fmt: skip
    missing = with_trial(choose("auto", made()), made(), None)
    assert missing.why.startswith("nvdec: cuda-bindings is not installed; nvenc: this card")


@pytest.mark.parametrize("name", ["nvdec", "nvenc", "dali"])
def test_a_named_backend_is_used_or_refused_in_one_line_with_cause_and_remedy(name):
    chosen = choose(name, made(name))
    assert chosen.name == name
    assert "NVIDIA L4" in chosen.why
    with pytest.raises(UserError) as raised:
        choose(name, made())
    cause = {
        "nvdec": "cuda-bindings is not installed",
        "nvenc": "this card has no video encoder",
        "dali": "nvidia-dali is not installed",
    }[name]
    assert str(raised.value) == f"trim={name} cannot work here, {cause}: mend {name}"


def test_cpu_probes_and_starts_nothing(monkeypatch):
    for name in ("find_capabilities", "has_device", "nvdec_accelerator", "dali_offload"):
        monkeypatch.setattr(backend, name, None)
    with open_backend(TrimSettings(name="cpu"), makes_frames=True) as opened:
        chosen, found = opened.decide()
        assert (chosen.name, chosen.why, found) == ("cpu", "as asked", None)
        assert (opened.name, opened.niceness) == ("cpu", 0)
        assert isinstance(opened.accelerator, HostOnly)


class Machine:
    """Stands for what drives the GPUs of a machine.

    Attributes:
        gpus: numbers of the GPUs whose processes were started, and are not ended.
    """

    def __init__(self, monkeypatch, found, trial=None):
        self.gpus = None
        monkeypatch.setattr(backend, "has_device", lambda: True)
        monkeypatch.setattr(backend, "count_gpus", lambda: 2)
        monkeypatch.setattr(backend, "find_capabilities", lambda **_: found)
        monkeypatch.setattr(backend, "nvdec_accelerator", self.started)
        monkeypatch.setattr(backend, "run_trial", lambda accelerator, **_: trial)

    @contextmanager
    def started(self, gpus, *, timeout_s):
        self.gpus = list(gpus)
        yield self
        self.gpus = None


@pytest.mark.parametrize(("gpus", "used"), [(None, [0, 1]), ([1], [1])])
def test_nvdec_uses_all_gpus_or_those_that_are_named(monkeypatch, gpus, used):
    machine = Machine(monkeypatch, made("nvdec"))
    with open_backend(TrimSettings(name="nvdec", gpus=gpus), makes_frames=True) as opened:
        assert (opened.decide()[0].name, opened.name) == ("nvdec", "nvdec")
        assert machine.gpus == used
        assert opened.accelerator is machine
        assert opened.niceness > 0
    assert machine.gpus is None


@pytest.mark.parametrize("name", ["auto", "nvdec"])
@pytest.mark.parametrize("gpus", [[2], [0, 2], [], [1, 1]])
def test_a_gpu_that_is_not_there_or_named_twice_is_an_error_that_names_the_others(monkeypatch, name, gpus):
    Machine(monkeypatch, made("nvdec"))
    with (
        pytest.raises(UserError) as raised,
        open_backend(TrimSettings(name=name, gpus=gpus), makes_frames=True),
    ):
        pytest.fail("opened")
    ways_out = "name each GPU once; this machine's have the numbers 0 to 1"
    assert str(raised.value) == f"trim.gpus={gpus}: {ways_out}"


def test_nvdec_that_does_not_work_is_an_error_and_its_processes_end(monkeypatch):
    machine = Machine(monkeypatch, made())
    with open_backend(TrimSettings(name="nvdec"), makes_frames=True) as opened:
        assert machine.gpus == [0, 1]  # they start while the machine is probed
        with pytest.raises(UserError, match="trim=nvdec cannot work here, cuda-bindings is not installed"):
            opened.decide()
    assert machine.gpus is None


@pytest.mark.parametrize(
    ("works", "trial", "chosen"),
    [
        (("nvdec",), Trial(90, 40), "nvdec"),
        (("nvdec",), Trial(30, 40), "cpu"),
        (("nvdec",), "GPU 0: out of memory", "cpu"),
        (("nvdec", "nvenc"), Trial(30, 40), "nvenc"),
        (("nvenc",), Trial(90, 40), "nvenc"),  # no trial of what does not work
        ((), None, "cpu"),
    ],
)
def test_auto_ends_the_processes_of_nvdec_if_it_chooses_another(monkeypatch, works, trial, chosen):
    machine = Machine(monkeypatch, made(*works), trial)
    with open_backend(TrimSettings(), makes_frames=True) as opened:
        assert (opened.decide()[0].name, opened.name) == (chosen, chosen)
        assert (machine.gpus is None) == (chosen != "nvdec")
        assert (opened.accelerator is machine) == (chosen == "nvdec")
        assert (opened.niceness > 0) == (chosen == "nvdec")
    assert machine.gpus is None


def test_cutting_on_the_host_imports_no_gpu_module():
    code = (
        "import sys, asl.preprocess.clips.cutting; print([m for m in sys.modules if 'preprocess.gpu' in m])"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "[]\n"), ended.stderr


# ---------------------------------------------------------------- finding out


@without_gpu
def test_without_a_gpu_nothing_is_started(monkeypatch):
    monkeypatch.setattr(capabilities, "run_each", None)
    found = find_capabilities()
    names = [found.gpu, found.nvdec, found.nvenc, found.dali, *found.decoders.values()]
    assert [one.name for one in names] == ["gpu", "nvdec", "nvenc", "dali", *CODECS]
    assert not any(one.works for one in names)
    monkeypatch.setattr(backend, "nvdec_accelerator", None)
    with open_backend(TrimSettings(), makes_frames=True) as opened:
        assert str(opened.decide()[0]) == "cpu (there is no NVIDIA GPU)"
        assert isinstance(opened.accelerator, HostOnly)


@without_gpu
@pytest.mark.parametrize("name", ["nvdec", "nvenc", "dali"])
def test_without_a_gpu_the_program_refuses_in_one_line_before_any_work(tmp_path, name):
    command = [sys.executable, str(ROOT / "preprocess.py"), f"trim={name}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: trim={name} cannot work here, there is no NVIDIA GPU: use trim=auto")
    assert not (tmp_path / "data" / "videos").exists()


@without_gpu
@pytest.mark.parametrize("name", ["gpu", "nvenc", *CODECS])
def test_each_check_says_what_is_missing(name):
    found = check(name)
    assert not found.works
    assert "libcuda" in found.detail or (name == "av1" and "uses no GPU" in found.detail)


@without_gpu
@pytest.mark.parametrize("name", ["nvdec", NVDEC_LIBRARIES])
def test_the_checks_of_nvdec_say_what_is_missing_and_what_to_do(name):
    found = check(name)
    assert (found.name, found.works) == ("nvdec", False)
    assert any(missing in found.detail for missing in ("cuda-bindings", "libcuda", "driver", "libnvcuvid"))
    assert found.remedy


def test_nvdec_without_its_packages_says_how_to_install_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)  # as if it were not installed
    cuda_calls.driver.cache_clear()
    try:
        for name in ("nvdec", NVDEC_LIBRARIES):
            found = check(name)
            assert not found.works
            assert "cuda-bindings" in found.detail
            assert found.remedy == GET_NVDEC
    finally:
        cuda_calls.driver.cache_clear()


def working(name):
    return Capability("nvdec" if name == NVDEC_LIBRARIES else name, True, f"{name} works")


def test_only_what_is_asked_for_is_tried(monkeypatch):
    monkeypatch.setattr(capabilities, "check", working)
    monkeypatch.setattr(capabilities, "_without_device", lambda: None)
    found = find_capabilities((), backends=("nvenc",))
    assert (found.nvenc.works, found.decoders) == (True, {})
    for one in (found.nvdec, found.dali):
        assert (one.works, one.detail) == (False, "not tried")
    found = find_capabilities((), backends=(NVDEC_LIBRARIES,))
    assert found.nvdec == Capability("nvdec", True, "nvdec libraries works")


@pytest.mark.parametrize(
    ("files", "visible", "count"),
    [
        (["nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"], None, 3),
        (["nvidia0", "nvidia1"], "1", 1),
        (["nvidia0", "nvidia1"], "0,1,", 2),
        (["nvidia0"], "0,1,2", 1),
        (["nvidia0", "nvidia1"], "", 1),
        ([], None, 1),  # Windows' Linux
    ],
)
def test_gpus_are_counted_without_starting_cuda(tmp_path, monkeypatch, files, visible, count):
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(capabilities, "Path", lambda _: tmp_path)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count


def broken_driver(name):
    """A driver that hangs in one check, crashes in the next, and fails in words in a third."""
    if name == "nvenc":
        time.sleep(60)
    if name == "dali":
        os.kill(os.getpid(), 11)
    if name == "vp9":
        raise OSError("no such device")
    return Capability(name, True, "did it")


def test_a_driver_that_hangs_or_crashes_costs_one_check(monkeypatch):
    monkeypatch.setattr(capabilities, "check", broken_driver)
    monkeypatch.setattr(capabilities, "_TIME_LIMIT_S", 3)
    monkeypatch.setattr(capabilities, "_without_device", lambda: None)
    found = find_capabilities()
    assert found.nvenc.detail == "trying it out took longer than 3 s"
    assert found.dali.detail == "trying it out crashed the decoder (exit code -11)"
    assert found.decoders["vp9"].detail == "trying it out OSError: no such device"
    assert [codec for codec, one in found.decoders.items() if not one.works] == ["vp9"]


def test_the_cause_of_a_missing_encoder_is_read_from_ffmpegs_log():
    def found(*log):
        capability = without_encoder([f"{line}\n" for line in log])
        return capability.works, capability.detail

    no_device = "OpenEncodeSessionEx failed: unsupported device (2): (no details)"
    assert found(no_device, "No capable devices found") == (False, "this card has no video encoder")
    works, detail = found("OpenEncodeSessionEx failed: out of memory (10): (no details)")
    assert (works, "taken" in detail) == (True, True)
    assert found("Cannot load libnvidia-encode.so.1")[1] == "the driver's libnvidia-encode.so.1 is not there"
    assert "libcuda" in found("Cannot load libcuda.so.1")[1]
    assert "too old" in found("Driver does not support the required nvenc API version. Required: 13.0")[1]
    assert found("InitializeEncoder failed: invalid param (8)")[1].endswith("invalid param (8)")


@pytest.mark.parametrize("codec", CODECS)
def test_the_tiny_clips_are_of_their_codec(codec):
    with av.open(io.BytesIO(tiny_clip(codec))) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
        assert len(list(container.decode(video=0))) == gpu_checks._FRAMES


def test_the_table_shows_everything_and_each_remedy_once():
    console = Console(record=True, width=160)
    show(made("nvenc", "h264"), console)
    text = console.export_text()
    words = ("NVIDIA L4", "decode and prove H.264 (NVDEC)", "encode H.264 (NVENC)", "decode with DALI")
    for word in (*words, "mend nvdec", "mend dali", *CODECS):
        assert word in text
    show(dataclasses.replace(made(gpu=""), nvenc=Capability("nvenc", False, "none", "get one")), console)
    assert console.export_text().count("get one") == 1


def test_the_program_prints_the_table():
    command = [sys.executable, "-m", "asl.preprocess.gpu"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0
    assert "NVIDIA GPU" in ended.stdout
    assert "trim=auto is " in ended.stdout


# ---------------------------------------------------------------- on a GPU


@pytest.mark.gpu
def test_a_gpu_is_found_and_decodes_h264():
    found = find_capabilities()
    assert found.gpu.works, found.gpu
    assert found.nvdec.works, found.nvdec
    assert found.decoders["h264"].works, found.decoders["h264"]
    assert choose("auto", found).name == ("nvenc" if found.nvenc.works else "cpu")


@pytest.mark.gpu
def test_a_card_without_an_encoder_says_so():
    if find_capabilities().nvenc.works:
        pytest.skip("this card has an encoder")
    said = "trim=nvenc cannot work here, this card has no video encoder: use trim=auto"
    with (
        open_backend(TrimSettings(name="nvenc"), makes_frames=True) as opened,
        pytest.raises(TrimChoiceError, match=said),
    ):
        opened.decide()


def test_a_trial_without_space_on_the_disk_is_no_error(monkeypatch):
    def full(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trial, "_write_video", full)
    ready = type("Ready", (), {"count": 1, "wait_until_ready": lambda self: None})()
    assert trial.run_trial(ready, timeout_s=60) == "a trial failed: [Errno 28] No space left on device"
