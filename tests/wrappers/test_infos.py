import numpy as np
import pytest

from recsim_hrl.wrappers.infos import final_observations, merge_rows, put_step_values, seeds_of, step_values

ENDED = np.array([False, True, True])


def test_seeds_count_up_from_one():
    assert seeds_of(7, 3) == [7, 8, 9]
    assert seeds_of(None, 2) == [None, None]
    assert seeds_of([4, None], 2) == [4, None]
    with pytest.raises(ValueError, match="got 1 seeds, expected 3"):
        seeds_of([1], 3)


def test_values_of_a_step_come_from_the_end_of_sessions_that_ended():
    infos = {"item": np.array([5, 0, 0]), "final_info": {"item": np.array([0, 6, 7])}}
    assert step_values(infos, "item", ENDED).tolist() == [5, 6, 7]
    assert step_values({"item": np.array([1, 2, 3])}, "item", np.zeros(3, bool)).tolist() == [1, 2, 3]
    assert step_values({"final_info": {"item": np.array([4, 5, 6])}}, "item", np.ones(3, bool)).tolist() == [4, 5, 6]


def test_written_values_are_found_again_on_both_sides():
    infos = {"final_info": {}}
    put_step_values(infos, ENDED, gain=np.array([1.0, 2.0, 3.0]))
    assert infos["gain"].tolist() == infos["final_info"]["gain"].tolist() == [1, 2, 3]
    assert infos["_gain"].all() and infos["final_info"]["_gain"].tolist() == [False, True, True]


@pytest.mark.parametrize("form", ["rows", "batch"])
def test_final_observations_replace_the_restarted_ones(form):
    batch = {"clicked": np.array([[9.0], [8.0], [7.0]])}
    final = batch if form == "batch" else np.array([None, {"clicked": [8.0]}, {"clicked": [7.0]}])
    restarted = {"clicked": np.array([[1.0], [2.0], [3.0]])}
    merged = final_observations(restarted, {"final_obs": final}, ENDED)
    assert merged["clicked"].tolist() == [[1], [8], [7]]
    assert restarted["clicked"].tolist() == [[1], [2], [3]]


def test_merging_takes_rows_with_their_masks():
    into = {
        "item": np.array([1, 2, 3]),
        "_item": np.array([True, True, True]),
        "note": np.array(["a", "b", None], dtype=object),
        "_note": np.array([True, True, False]),
    }
    other = {
        "item": np.array([0, 20, 0]),
        "_item": np.array([True, True, False]),
        "session": {"length": np.array([4, 5, 6]), "_length": np.array([True, True, True])},
        "_session": np.array([True, True, True]),
    }
    merged = merge_rows(into, other, ENDED)
    assert merged["item"].tolist()[:2] == [1, 20]
    assert merged["_item"].tolist() == [True, True, False]
    assert merged["_note"].tolist() == [True, False, False]
    assert merged["session"]["length"].tolist() == [0, 5, 6]
    assert merged["session"]["_length"].tolist() == merged["_session"].tolist() == [False, True, True]
