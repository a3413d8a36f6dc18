"""One trial of each campaign that has many."""

from dctnet.data.planted import make_planted
from tests.campaigns.bad_files import spoil, trial
from tests.campaigns.kill_pack import campaign


def test_killed_packing_goes_on_to_the_same_store(tmp_path):
    counts = campaign(1, seed=1, folder=tmp_path, train=6, val=2, shard_bytes=50_000, workers=1)
    assert counts["identical"] == 1
    assert not any(counts[fault] for fault in ("different", "orphans", "lost", "refused"))


def test_bad_files_are_listed_and_counted_exactly(tmp_path):
    make_planted(tmp_path / "photos", train_per_class=10, val_per_class=5)
    spoilt = spoil(tmp_path / "photos", 12, seed=1)
    assert all(spoilt.bad.values())
    trial(spoilt, tmp_path / "run", workers=3, ranks=1)
