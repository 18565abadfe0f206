"""What is remembered of each URL."""

from asl.download.failure import Failure
from asl.download.log import Begun, Done, DownloadLog

LOST = Failure(reason="gone", detail="HTTP status 404", advice="do without", permanent=True)
LATE = Failure(reason="no answer", detail="no byte within 30 s", advice="run again")


def test_a_later_log_knows_what_an_earlier_one_was_told(tmp_path):
    path = tmp_path / "data" / "metadata" / "downloads.jsonl"
    log = DownloadLog(path)
    log.add("http://a", Begun('"1"', 100))
    log.add("http://b", LOST)
    log.add("http://c", Begun("", None))
    log.add("http://c", LATE)
    for known in (log, DownloadLog(path)):
        assert known.begun("http://a") == Begun('"1"', 100)
        assert known.failure("http://a") is None
        assert known.failure("http://b")[1] == LOST
        assert known.begun("http://c") == Begun("", None)  # a file that may come is continued
        assert known.failure("http://c")[1] == LATE
    DownloadLog(path).add("http://d", LOST)
    assert "\n\n" not in path.read_text()


def test_a_fetched_file_is_neither_begun_nor_failed(tmp_path):
    log = DownloadLog(tmp_path / "downloads.jsonl")
    log.add("http://a", LOST)
    log.add("http://a", Begun('"1"', 100))
    log.add("http://a", Done("1.mp4", 100))
    assert (log.begun("http://a"), log.failure("http://a")) == (None, None)


def test_what_failed_for_good_is_not_continued(tmp_path):
    log = DownloadLog(tmp_path / "downloads.jsonl")
    log.add("http://a", Begun('"1"', 100))
    log.add("http://a", LOST)
    assert log.begun("http://a") is None


def test_lines_that_a_kill_or_another_version_left_are_ignored(tmp_path):
    path = tmp_path / "downloads.jsonl"
    DownloadLog(path).add("http://a", LOST)
    with path.open("a") as file:
        file.write('{"url": "http://x", "state": "new", "when": ""}\n[]\n{"url": "http://b", "sta')
    log = DownloadLog(path)
    log.add("http://c", LATE)
    log.add("http://d", LATE)
    assert "\n\n" not in path.read_text()
    known = DownloadLog(path)
    assert known.failure("http://a")[1] == LOST
    assert known.failure("http://b") is None
    assert known.failure("http://c")[1] == LATE
