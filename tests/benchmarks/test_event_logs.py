"""The benchmark of event logs: its events are those of a reader, and a size that was measured is kept."""

import pytest

from benchmarks import event_logs
from benchmarks.aggregate import read_csv
from benchmarks.event_logs import EventLogsConfig, main, write_events, write_ratings
from recsim_hrl.data.sources.movielens import read_movielens
from recsim_hrl.data.sources.taobao import TaobaoConfig, read_taobao


def test_the_events_are_in_the_publishers_format(tmp_path, monkeypatch):
    monkeypatch.setattr(event_logs, "_BLOCK", 700)
    write_events(tmp_path / "UserBehavior.csv", 2_000, seed=1)
    log = read_taobao(tmp_path, tmp_path / "log", TaobaoConfig())
    assert log.metadata["reading"]["events"] == 2_000
    assert 1_000 < log.rows <= 2_000 and log.report().orders > 10


def test_the_ratings_are_in_the_publishers_format(tmp_path, monkeypatch):
    monkeypatch.setattr(event_logs, "_BLOCK", 700)
    write_ratings(tmp_path / "ratings.csv", 2_000, seed=1)
    log = read_movielens(tmp_path, tmp_path / "log")
    assert log.rows == log.metadata["reading"]["ratings"] == 2_000
    assert log.report().users == 13  # 154 ratings each
    assert 100 < log.report().orders < 300  # a tenth


def test_a_measured_size_is_kept(tmp_path, capsys):
    config = EventLogsConfig(tmp_path / "out", tmp_path / "scratch", sizes=(), ratings=(3_000,))
    main(config)
    (row,) = read_csv(tmp_path / "out" / "event_logs.csv")
    assert row[:2] == ["movielens", "3000"] and float(row[-1]) > 50
    main(config)
    assert read_csv(tmp_path / "out" / "event_logs.csv") == [row]
    assert "rss_mib" in capsys.readouterr().out


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match=r"event_logs sizes: got \(0,\), allowed none or more, each 1 or more"):
        EventLogsConfig(sizes=(0,))
