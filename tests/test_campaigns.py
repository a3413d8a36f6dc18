"""One trial of the campaign that kills packings; the campaign itself has many."""

from tests.campaigns.kill_pack import campaign


def test_killed_packing_goes_on_to_the_same_store(tmp_path):
    counts = campaign(1, seed=1, folder=tmp_path, train=6, val=2, shard_bytes=50_000, workers=1)
    assert counts["identical"] == 1
    assert not any(counts[fault] for fault in ("different", "orphans", "lost", "refused"))
