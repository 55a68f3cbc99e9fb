"""The code of docs/hierarchy.md runs as it is printed, top to bottom."""

import re
from pathlib import Path

from recsim_hrl.simulator import store

PAGE = Path(__file__).parents[2] / "docs" / "hierarchy.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    small = store.random_simulator(items=80, embedding_dim=4, users=8)
    store.save_simulator(small, tmp_path / "default" / "train")
    monkeypatch.setattr(store, "PRETRAINED", tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 5
    names = {}
    exec("\n".join(blocks), names)
    total, shape = capsys.readouterr().out.splitlines()[-2:]
    assert float(total) == names["info"]["session"]["total_reward"]
    assert shape == "(8, 2)" and names["infos"]["steps"].tolist() == [10] * 8
