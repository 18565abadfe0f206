"""Names of folders and clips that are made of the metadata's own."""

from __future__ import annotations

import pytest

from asl.datasets.names import folder_names, make_video_id, name_problem, path_problem, text_problem


def test_a_gloss_that_can_be_a_folder_keeps_its_name() -> None:
    glosses = ["book", "thank you", "a.b", "THANK YOU1"]
    assert folder_names(glosses) == {gloss: gloss for gloss in glosses}


@pytest.mark.parametrize(
    "other",
    [("Book", "BOOK"), ("a/b", "a b"), ("é", "e\u0301"), ("كتاب", "книга"), ("می\u200cخواهم", "a\u200db")],
)
def test_two_glosses_have_two_folders_on_every_file_system(other: tuple[str, str]) -> None:
    names = folder_names(["book", *other])
    assert len({name.casefold() for name in names.values()}) == 3
    assert names["book"] == "book"
    for name in names.values():
        assert name.isascii()
        assert name_problem(name) is None
    assert folder_names(["book", *other, "go"]).items() > names.items()  # further glosses change none


def test_words_may_have_characters_of_format_that_file_names_do_without() -> None:
    assert text_problem("می\u200cخواهم") is None
    assert name_problem("می\u200cخواهم") == "holds characters that cannot be seen"
    for text in ("a\x1b", "a\u2028b", "\udcff", "a\u00a0"):
        assert text_problem(text) is not None


@pytest.mark.parametrize("text", ["a/b.mp4", "thank you", "../x", ".x", "-x", "é", "x" * 300])
def test_a_made_video_id_is_a_file_name_without_blanks(text: str) -> None:
    made = make_video_id(text)
    assert name_problem(made) is None
    assert " " not in made
    assert made == make_video_id(text) != make_video_id(f"{text}2")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a b/é.mp4", None),
        ("a..b.mp4", None),
        ("clip 10.30\u202fAM.mov", None),  # as macOS names recordings
        ("../a.mp4", "does not lie below dataset.root"),
        ("a/../../b.mp4", "does not lie below dataset.root"),
        ("/etc/a.mp4", "does not lie below dataset.root"),
        ("", "is not a text"),
        ("a\x00.mp4", "holds control characters"),
    ],
)
def test_a_path_lies_below_the_root(path: str, problem: str | None) -> None:
    assert path_problem(path) == problem
