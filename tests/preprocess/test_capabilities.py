"""What a machine's GPU can do, and the backend that a run chooses for it."""

import dataclasses
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from rich.console import Console

from asl.errors import UserError
from asl.preprocess.gpu import capabilities, choice
from asl.preprocess.gpu import checks as gpu_checks
from asl.preprocess.gpu.capabilities import Capabilities, find_capabilities, show
from asl.preprocess.gpu.checks import CODECS, Capability, check, tiny_clip, without_encoder
from asl.preprocess.gpu.choice import choose, decide

ROOT = Path(__file__).resolve().parents[2]

without_gpu = pytest.mark.skipif(capabilities._without_device() is None, reason="there is a GPU")


def made(*works, gpu="NVIDIA L4, driver 570.1, CUDA 12.8"):
    """Capabilities of a machine on which these work."""

    def one(name, cause):
        return Capability(name, name in works, "did it" if name in works else cause, f"mend {name}")

    return Capabilities(
        Capability("gpu", bool(gpu), gpu or "there is no NVIDIA GPU", "" if gpu else "get one"),
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


@pytest.mark.parametrize("name", ["nvenc", "dali"])
def test_a_named_backend_is_used_or_refused_in_one_line_with_cause_and_remedy(name):
    chosen = choose(name, made(name))
    assert chosen.name == name
    assert "NVIDIA L4" in chosen.why
    with pytest.raises(UserError) as raised:
        choose(name, made())
    cause = {"nvenc": "this card has no video encoder", "dali": "nvidia-dali is not installed"}[name]
    assert str(raised.value) == f"trim={name} cannot work here, {cause}: mend {name}"


def test_cpu_probes_nothing(monkeypatch):
    monkeypatch.setattr(choice, "find_capabilities", None)
    chosen, found = decide("cpu")
    assert (chosen.name, chosen.why, found) == ("cpu", "as asked", None)


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
    names = [found.gpu, found.nvenc, found.dali, *found.decoders.values()]
    assert [one.name for one in names] == ["gpu", "nvenc", "dali", *CODECS]
    assert not any(one.works for one in names)
    assert decide("auto")[0].name == "cpu"


@without_gpu
@pytest.mark.parametrize("name", ["nvenc", "dali"])
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
    for word in ("NVIDIA L4", "encode H.264 (NVENC)", "decode with DALI", "mend dali", *CODECS):
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
    assert found.decoders["h264"].works, found.decoders["h264"]
    assert choose("auto", found).name == ("nvenc" if found.nvenc.works else "cpu")


@pytest.mark.gpu
def test_a_card_without_an_encoder_says_so_in_one_line(tmp_path):
    found = find_capabilities().nvenc
    if found.works:
        pytest.skip("this card has an encoder")
    command = [sys.executable, str(ROOT / "preprocess.py"), "trim=nvenc"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert line.startswith(
        "error: trim=nvenc cannot work here, this card has no video encoder: use trim=auto"
    )
