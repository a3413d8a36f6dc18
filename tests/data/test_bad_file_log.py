"""Log of bad files."""

from dctnet.data.bad_files import BadFileLog


def test_each_file_is_logged_once_per_kind():
    log = BadFileLog()
    log.add("train", [("a", "first"), ("b", "empty")])
    log.add("train", [("a", "second")])
    log.add("by_pixels", [("a", "not a JPEG file")])
    assert log.of_kind("train") == {"a": "first", "b": "empty"}
    assert log.of_kind("val") == {}
    assert log.by_kind() == {"train": {"a": "first", "b": "empty"}, "by_pixels": {"a": "not a JPEG file"}}


def test_files_read_as_pixels_are_not_left_out():
    log = BadFileLog()
    for number, kind in enumerate(("packing", "train", "val", "test", "predict", "by_pixels")):
        log.add(kind, [(str(number), kind)])
    assert list(log.left_out) == ["0", "1", "2", "3", "4"]


def test_ranks_exchange_new_entries():
    first, second = BadFileLog(), BadFileLog()
    first.add("train", [("a", "empty")])
    second.add("train", [("b", "cut")])
    for log in (first, second):
        log.merge([("train", "a", "empty"), ("train", "b", "cut")])
    assert first.by_kind()["train"].keys() == second.by_kind()["train"].keys() == {"a", "b"}
    assert first.pop_new() == [("train", "a", "empty")]
    assert first.pop_new() == []
