"""Every shipped YAML file composes, and values out of range are errors."""

import dataclasses
import re

import pytest
import yaml
from composing import CONF, SCHEMAS, composed
from hydra.errors import HydraException

from asl.config.explain import explain
from asl.config.setting import ConfigError, setting


def choices():
    """Every choice of every program; slow are those of groups that a program before has, too."""
    known = set()
    for program in SCHEMAS:
        defaults = yaml.safe_load((CONF / f"{program}.yaml").read_text())["defaults"]
        groups = [name for entry in defaults if isinstance(entry, dict) for name in entry]
        groups = [name for name in groups if not name.startswith("override ")]  # Hydra's own
        for group in groups:
            marks = pytest.mark.slow if group in known else ()
            for path in sorted((CONF / group).glob("*.yaml")):
                if (program, path.stem) != ("download", "demo"):  # it is made, not downloaded
                    yield pytest.param(program, group, path.stem, marks=marks)
        known.update(groups)


@pytest.mark.parametrize(("program", "group", "choice"), list(choices()))
def test_every_shipped_choice_composes(program, group, choice):
    # The demo's stored frames are too small for the default sizes; experiment=demo sets these.
    needed = ["data.resize=[48,56]", "data.crop_size=48"] if (program, choice) == ("train", "demo") else []
    if (program, group) == ("preprocess", "launcher") and choice != "none":
        needed = ["shard.count=4"]
    composed(program, f"{group}={choice}", *needed)


def test_the_defaults_are_for_wlasl100():
    config = composed("preprocess")
    assert config.paths.raw_dir == "data/raw"
    assert config.paths.videos_dir == "data/videos"
    assert config.paths.metadata_dir == "data/metadata"
    assert config.dataset.metadata == "data/metadata/WLASL100_flat.json"
    assert (config.dataset.name, config.dataset.num_glosses, config.dataset.fps) == ("wlasl100", 100, 25)
    assert composed("train").data.manifest == "data/metadata/wlasl100_manifest.csv"


def test_the_demo_has_its_own_folders():
    for program, choice in (("preprocess", "dataset=demo"), ("train", "experiment=demo")):
        config = composed(program, choice)
        assert config.paths.raw_dir == "data/demo/raw"
        assert config.paths.checkpoint_dir == "checkpoints/demo"


def test_every_key_has_a_help_text_and_a_default_in_range():
    def walk(node):
        for field in dataclasses.fields(node):
            value = getattr(node, field.name)
            if dataclasses.is_dataclass(value):
                walk(value)
            else:
                assert field.metadata["help"], field.name

    for program, schema in SCHEMAS.items():
        walk(schema())
        composed(program)


def test_all_problems_are_in_one_error():
    with pytest.raises(ConfigError) as raised:
        composed("preprocess", "trim.crf=99", "trim.cq=0", "trim.workers=0", "trim.timeout_s=-1")
    lines = str(raised.value).splitlines()
    assert [line.split("=")[0] for line in lines] == ["trim.workers", "trim.timeout_s", "trim.crf", "trim.cq"]


def test_gpus_are_a_list_of_numbers_of_any_length_or_null_for_all():
    assert composed("preprocess", "trim=nvdec").trim.gpus is None
    for text, gpus in (("[0]", [0]), ("[0,3,1]", [0, 3, 1]), ("null", None)):
        trim = composed("preprocess", "trim=nvdec", f"trim.gpus={text}").trim
        assert (trim.name, trim.gpus) == ("nvdec", gpus)
    with pytest.raises(ConfigError, match=r"trim\.gpus=\[0, -1\]: must be at least 0"):
        composed("preprocess", "trim.gpus=[0,-1]")
    with pytest.raises(HydraException) as raised:
        composed("preprocess", "trim.gpus=0")
    assert "as [0,1]" in explain(raised.value)


def test_lists_are_checked_item_by_item_and_by_length():
    with pytest.raises(ConfigError, match=r"augment\.scale=\[0\.0, 1\.0\]: must be greater than 0"):
        composed("train", "augment.scale=[0.0,1.0]")
    with pytest.raises(ConfigError, match=r"augment\.scale=\[0\.5\]: needs 2 values"):
        composed("train", "augment.scale=[0.5]")


def test_an_unknown_bound_is_a_type_error():
    with pytest.raises(TypeError, match="unknown bounds"):
        setting(1, "x", atleast=3)


R3D = "asl.model.networks.r3d.R3D"


def write_choice(folder, content):
    path = folder / "model" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(content)
    return f"hydra.searchpath=['file://{folder}']"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "_target_: asl.model.networks.r3d.R3D\nwidht: 16\n",
            r"mine.*widht: there is no such key\. Did you mean width",
        ),
        (
            "_target_: asl.model.networks.r3d.R3D\nwidth: wide\n",
            r"mine.*width: Value 'wide'.*planes of the first",
        ),
        (
            "_target_: asl.model.networks.r4d.R4D\n",
            r"mine.*_target_=asl\.model\.networks\.r4d\.R4D cannot be imported",
        ),
        (
            "# @package _global_\nfrmaes: {short_side: 64}\n",
            r"^model=mine sets frmaes, a key that this program does not have\. It has: paths, dataset, data,",
        ),
        ("_target_: asl.model.networks.video_resnet.VideoResNet\n", r"mine.*is not a dataclass of settings"),
    ],
)
def test_a_mistake_in_a_choices_yaml_names_the_file_and_the_key(tmp_path, content, message):
    searchpath = write_choice(tmp_path, content)
    with pytest.raises((ConfigError, HydraException)) as raised:
        composed("train", searchpath, "model=mine")
    assert re.search(message, explain(raised.value), re.DOTALL)


def test_a_choice_may_inherit_from_another_one(tmp_path):
    searchpath = write_choice(tmp_path, "defaults: [r3d]\nwidth: 16\nweights: null\n")
    made = composed("train", searchpath, "model=mine")
    assert (made.model.name, made.model.width) == ("r3d", 16)


def test_hydras_own_targets_stay(tmp_path):
    callback = "hydra.experimental.callbacks.LogJobReturnCallback"
    path = tmp_path / "experiment" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(
        f"# @package _global_\nhydra:\n  callbacks:\n    log: {{_target_: {callback}}}\nseed: 7\n"
    )
    assert composed("train", f"hydra.searchpath=['file://{tmp_path}']", "experiment=mine").seed == 7


def test_a_value_out_of_range_is_told_before_groups_are_compared():
    with pytest.raises(ConfigError, match=r"data\.resize=\[128\]: needs 2 values"):
        composed("train", "reader=decord", "data.resize=[128]")


def test_a_choice_without_a_class_says_what_its_yaml_must_hold(tmp_path):
    searchpath = write_choice(tmp_path, "weights: null\n")
    with pytest.raises(ConfigError, match=r"model: the YAML file of this choice must name a class: _target_"):
        composed("train", searchpath, "model=mine")


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    searchpath = write_choice(tmp_path, "width: [1\n")
    with pytest.raises((ConfigError, HydraException)) as raised:
        composed("train", searchpath, "model=mine")
    assert re.search("mine.* is not YAML", explain(raised.value), re.DOTALL)


def test_the_demos_experiment_goes_with_another_network():
    made = composed("train", "experiment=demo", "model=r3d", "model.weights=null")
    assert (made.model.name, made.model.width, made.dataset.name) == ("r3d", 64, "demo")


def test_a_choice_that_does_not_exist_is_an_error_that_lists_those_that_do():
    with pytest.raises(HydraException) as raised:
        composed("train", "protocol=wlasl")
    assert explain(raised.value).endswith("Available options in 'protocol':\n\tstandard\n\twlasl_authors")


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("max_epochs=3", "trainer.max_epochs?"),
        ("optim.rotation=3", "augment.rotation?"),
        ("fps=3", "dataset.fps or data.fps or frames.fps?"),
        ("trainer.epochs=3", "trainer.max_epochs?"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_keys_with_the_same_last_part(override, suggestion):
    with pytest.raises(HydraException) as raised:
        composed("train", override)
    key = override.partition("=")[0]
    first = explain(raised.value).splitlines()[0]
    assert first == f"{key}: there is no such key. Did you mean {suggestion}"


def test_an_unknown_key_without_a_dot_may_be_meant_as_a_choice():
    with pytest.raises(HydraException) as raised:
        composed("train", "experimet=demo")
    assert explain(raised.value).splitlines()[-1] == "--help lists the choices, too"


def test_a_choice_of_another_program_is_an_error_that_names_help():
    with pytest.raises(HydraException) as raised:
        composed("evaluate", "experiment=demo")
    assert explain(raised.value) == (
        "experiment: this program has no such choice. --help lists its choices and keys"
    )


def test_an_argument_without_a_key_is_an_error_that_shows_the_form():
    with pytest.raises(HydraException) as raised:
        composed("predict", "clip.mp4")
    assert explain(raised.value).startswith("clip.mp4: not key=value; --help lists the keys\n")


def test_one_value_for_a_list_is_an_error_that_shows_a_list():
    with pytest.raises((ConfigError, HydraException)) as raised:
        composed("evaluate", "compare=a.csv")
    assert "compare: must be a list, as compare=[first,second] (instead: " in explain(raised.value)


def test_a_value_that_needs_quotes_is_an_error_that_shows_them():
    with pytest.raises(HydraException) as raised:
        composed("evaluate", "checkpoint=checkpoints/seed=1/best.pt")
    assert re.search("checkpoint=checkpoints/seed=1/best.pt: .*\n.*needs quotes", explain(raised.value))
    with pytest.raises(HydraException) as raised:
        composed("predict", "input=it's.mp4")
    assert re.fullmatch("input=it's.mp4: cannot be read\n.*quotes or blanks needs.*", explain(raised.value))
    quoted = composed("evaluate", 'checkpoint="checkpoints/seed=1/best.pt"')
    assert quoted.checkpoint == "checkpoints/seed=1/best.pt"
