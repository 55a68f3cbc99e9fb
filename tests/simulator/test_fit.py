"""Fitting: it learns what can be learned, resumes to the same weights, calibrates, and writes a simulator."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator import fit
from recsim_hrl.simulator.fit import (
    FitConfig,
    calibrate,
    fit_key,
    fit_response_model,
    fit_simulator,
    load_sequences,
    log_loss,
    settled,
    split_sessions,
)
from recsim_hrl.simulator.gradients import Gradients, session_loss
from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import load_simulator
from recsim_hrl.simulator.weights import ResponseConfig
from recsim_hrl.types import Catalogue

ITEMS, LENGTH = 20, 20
LIKED, DISLIKED = np.array([0.3, 0.5, 0.2]), np.array([0.95, 0.05, 0.0])  # response probabilities
SMALL = FitConfig(passes=3, batch=400, held_out=0.2, kinds=4, hidden=16, learning_rate=2e-2, pool=10)


def toy(sessions: int = 300, seed: int = 0) -> tuple[Sequences, torch.Tensor]:
    """A market of two kinds of items; each user likes one of them, and the embedding tells the kind."""
    generator = np.random.default_rng(seed)
    kind = np.arange(ITEMS) % 2
    embeddings = torch.tensor(np.where(kind == 1, 1.0, -1.0)[:, None] * [1.0, 0.5], dtype=torch.float32)
    liked = generator.integers(0, 2, sessions)
    items = generator.integers(0, ITEMS, (sessions, LENGTH))
    probs = np.where((kind[items] == liked[:, None])[..., None], LIKED, DISLIKED)  # (sessions, LENGTH, R)
    responses = (generator.random((sessions, LENGTH, 1)) >= probs.cumsum(-1)[..., :-1]).sum(-1)
    offsets = np.arange(sessions + 1) * LENGTH
    built = Sequences.build(items.ravel(), responses.ravel(), offsets, np.arange(sessions), np.arange(sessions))
    return built, embeddings


def catalogue_of(embeddings: torch.Tensor, categories: torch.Tensor | None = None) -> Catalogue:
    """Items with ``embeddings``; of one category, unless told."""
    index = torch.arange(len(embeddings))
    categories = torch.zeros_like(index) if categories is None else categories
    return Catalogue(index, embeddings, categories, torch.ones(len(index)))


def entropy(probs: np.ndarray) -> float:
    return float(-(probs[probs > 0] * np.log(probs[probs > 0])).sum())


def quiet(_: str) -> None:
    """Takes the lines of a fit."""


def test_a_fit_finds_out_what_each_user_likes():
    sequences, embeddings = toy(600)
    model, history = fit_response_model(sequences, catalogue_of(embeddings), SMALL, log=quiet)
    fresh, _ = toy(200, seed=1)
    base = entropy((LIKED + DISLIKED) / 2)
    known = (entropy(LIKED) + entropy(DISLIKED)) / 2  # the loss of who knows what each user likes
    loss = log_loss(model, embeddings, fresh, np.arange(200))
    assert known < loss < base - 0.7 * (base - known)
    assert len(history["passes"]) <= 3 and history["held_out_log_loss"] == pytest.approx(loss, abs=0.05)


def test_kinds_begin_with_the_categories_and_learn_from_there():
    sequences, embeddings = toy(600)
    categories = torch.where(embeddings[:, 0] > 0, 70, -3)
    model, _ = fit_response_model(sequences, catalogue_of(embeddings, categories), SMALL, log=quiet)
    assert model.encode(embeddings).kinds.argmax(-1).tolist() == (categories == 70).long().tolist()
    fresh, _ = toy(200, seed=1)
    known = (entropy(LIKED) + entropy(DISLIKED)) / 2
    assert log_loss(model, embeddings, fresh, np.arange(200)) < 1.1 * known


def test_an_interrupted_fit_goes_on_to_the_same_weights(tmp_path):
    sequences, embeddings = toy()
    whole, whole_history = fit_response_model(sequences, catalogue_of(embeddings), SMALL, log=quiet)
    checkpoint = tmp_path / "fit"

    def interrupt(line: str) -> None:
        if line.startswith("pass 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_response_model(sequences, catalogue_of(embeddings), SMALL, checkpoint, interrupt)
    lines = []
    resumed, history = fit_response_model(sequences, catalogue_of(embeddings), SMALL, checkpoint, lines.append)
    assert lines[0] == "resuming after pass 1"
    assert history == whole_history
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_fit_that_was_interrupted_after_stopping_early_does_not_train_on(tmp_path, monkeypatch):
    sequences, embeddings = toy(40)
    config = FitConfig(passes=5, patience=1, batch=400, kinds=2, hidden=4)
    losses = iter([1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(fit, "log_loss", lambda *_: next(losses))
    with monkeypatch.context() as patch:
        patch.setattr(fit, "calibrate", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit_response_model(sequences, catalogue_of(embeddings), config, tmp_path / "fit", quiet)
    _, history = fit_response_model(sequences, catalogue_of(embeddings), config, tmp_path / "fit", quiet)
    assert [entry["held_out_log_loss"] for entry in history["passes"]] == [1.0, 2.0]
    assert history["held_out_log_loss"] == 3.0  # the next number, so no pass came between


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_checkpoint_of_another_fit_is_not_taken(tmp_path):
    sequences, embeddings = toy(60)
    checkpoint = tmp_path / "fit"
    with pytest.raises(KeyboardInterrupt):
        fit_response_model(
            sequences, catalogue_of(embeddings), SMALL, checkpoint, lambda line: line[5] == "2" and _interrupt()
        )
    assert checkpoint.is_file()
    lines: list[str] = []
    other = FitConfig(**{**vars(SMALL), "seed": 1})
    fit_response_model(sequences, catalogue_of(embeddings), other, checkpoint, lines.append)
    assert lines[0].startswith("pass 1/3")


def test_a_damaged_checkpoint_is_named(tmp_path):
    sequences, embeddings = toy(20)
    (tmp_path / "fit").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="fit: damaged checkpoint; delete it"):
        fit_response_model(sequences, catalogue_of(embeddings), SMALL, tmp_path / "fit", quiet)


def test_the_best_pass_is_kept(monkeypatch):
    sequences, embeddings = toy(60)
    config = FitConfig(**{**vars(SMALL), "patience": 3})
    first, _ = fit_response_model(sequences, catalogue_of(embeddings), config, log=quiet)
    # Held-out losses that get worse: the weights of the first pass must come back.
    seen: list[torch.Tensor] = []

    def worse(model, *_: object) -> float:
        seen.append(model.head.weight.detach().clone())
        return float(len(seen))

    monkeypatch.setattr(fit, "log_loss", worse)
    kept, _ = fit_response_model(sequences, catalogue_of(embeddings), config, log=quiet)
    assert torch.equal(kept.head.weight, seen[0]) and not torch.equal(seen[0], seen[2])


def test_calibration_takes_back_a_wrong_scale_and_shift():
    sequences, embeddings = toy()
    model, _ = fit_response_model(sequences, catalogue_of(embeddings), SMALL, log=quiet)
    everyone = np.arange(len(sequences))
    calibrate(model, embeddings, sequences, everyone)
    good = log_loss(model, embeddings, sequences, everyone)
    with torch.no_grad():
        model.head.weight.mul_(2.0)
        model.head.bias.copy_(model.head.bias * 2.0 + torch.tensor([0.0, 0.7, 0.3]))
    assert log_loss(model, embeddings, sequences, everyone) > good + 0.02
    scale = float(model.logit_scale)
    calibrate(model, embeddings, sequences, everyone)
    assert log_loss(model, embeddings, sequences, everyone) == pytest.approx(good, abs=1e-4)
    assert float(model.logit_scale) == pytest.approx(scale / 2.0, rel=0.02)


def test_log_loss_by_hand():
    """An untrained model whose head is zero gives each of the three responses a third."""
    sequences, embeddings = toy(10)
    model, _ = fit_response_model(
        sequences, catalogue_of(embeddings), FitConfig(passes=1, kinds=2, hidden=4), log=quiet
    )
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.logit_shift.zero_()
    assert log_loss(model, embeddings, sequences, np.arange(10)) == pytest.approx(math.log(3.0), abs=1e-6)


def test_sessions_are_split_without_overlap_by_the_seed():
    training, held = split_sessions(100, FitConfig(held_out=0.1))
    assert len(held) == 10 and sorted([*training, *held]) == list(range(100))
    assert split_sessions(100, FitConfig(held_out=0.1, seed=1))[1].tolist() != held.tolist()
    assert [len(part) for part in split_sessions(2, FitConfig(held_out=0.9))] == [1, 1]
    with pytest.raises(ValueError, match="got 1 sessions, allowed 2 or more"):
        split_sessions(1, FitConfig())


def visits_of(count: int, length: int = 46) -> Sequences:
    """So many visits, each of a user of its own."""
    nothing = np.zeros(count * length, np.int8)
    return Sequences.build(nothing, nothing, np.arange(count + 1) * length, np.arange(count), np.arange(count))


@pytest.mark.parametrize(
    "count, passes, batch",
    [
        # A pass over 95% of the visits has 66 places for each of them, of which 20 are for the visit before.
        (200_000, 4, 5000),  # 12,540,000 places: 10,032 steps in four passes
        (20_000, 4, 2950),  # 1,254,000 places: 5,016,000 in four passes, 1,700 steps of 2,950
        (2000, 17, 1250),  # 125,400 places, 100.32 batches of the smallest size: 1,700 steps in 16.9 passes
        (50, 40, 1250),  # no more than 40
    ],
)
def test_what_is_left_open_goes_by_the_length_of_the_log(count, passes, batch):
    sequences = visits_of(count)
    catalogue = catalogue_of(torch.ones(ITEMS, 2))
    expected = FitConfig(passes=passes, patience=passes // 2, batch=batch, kinds=24)
    assert settled(FitConfig(), sequences, catalogue) == expected
    given = FitConfig(passes=1, batch=400, kinds=3)
    assert settled(given, sequences, catalogue) == dataclasses.replace(given, patience=1)
    assert settled(FitConfig(patience=3), sequences, catalogue).patience == 3


@pytest.mark.parametrize("categories, kinds", [(1, 24), (24, 24), (25, 25), (128, 128), (129, 24)])
def test_as_many_kinds_as_categories(categories, kinds):
    ids = torch.arange(200)
    catalogue = Catalogue(ids, torch.ones(200, 2), 3 * (ids % categories), torch.ones(200))
    assert settled(FitConfig(), visits_of(50), catalogue).kinds == kinds


def test_a_simulator_tells_the_settings_that_it_was_fitted_with(tmp_path):
    log = toy_log(tmp_path / "log", 30, 0)
    config = FitConfig(passes=1, kinds=2, hidden=4, pool=5)
    simulator = fit_simulator(log, tmp_path / "simulator", config, report=quiet)
    assert simulator.provenance["fit"] == vars(FitConfig(**{**vars(config), "patience": 1, "batch": 1250}))
    key = fit_key(load_sequences(log), log.items.embeddings, FitConfig(**simulator.provenance["fit"]))
    assert simulator.provenance["data_sha256"] == key


def toy_log(path, sessions: int, seed: int, timed: bool = True) -> InteractionLog:
    sequences, embeddings = toy(sessions, seed)
    rows = sessions * LENGTH
    columns = {
        "session_id": np.repeat(np.arange(sessions), LENGTH),
        "step": np.tile(np.arange(LENGTH), sessions),
        "user_id": np.repeat(np.arange(sessions) % 7, LENGTH),
        "item_index": sequences.items,
        "response": sequences.responses,
    }
    if timed:  # later sessions of the log came earlier
        columns["timestamp"] = np.repeat(np.arange(sessions)[::-1] * 1000.0, LENGTH) + np.arange(rows) % LENGTH
    ids = torch.arange(ITEMS) + 500
    catalogue = Catalogue(ids, embeddings, torch.arange(ITEMS) % 2, torch.ones(ITEMS))
    return InteractionLog.from_arrays(columns, catalogue, path)


def test_visits_follow_the_timestamps_and_without_them_the_log(tmp_path):
    timed = load_sequences(toy_log(tmp_path / "timed", 14, 0))
    assert timed.previous.tolist() == [*range(7, 14), *[-1] * 7]
    untimed = load_sequences(toy_log(tmp_path / "untimed", 14, 0, timed=False))
    assert untimed.previous.tolist() == [*[-1] * 7, *range(7)]


def test_fit_simulator_writes_what_it_returns(tmp_path):
    log = toy_log(tmp_path / "log", 60, 0)
    fitted = fit_simulator(log, tmp_path / "simulator", SMALL, name="toy", report=quiet)
    loaded = load_simulator(tmp_path / "simulator")
    assert loaded.name == "toy" and loaded.provenance == fitted.provenance
    np.testing.assert_array_equal(loaded.data.memories.kinds, fitted.data.memories.kinds)
    assert loaded.provenance["log"]["impressions"] == 60 * LENGTH
    assert loaded.provenance["fit"]["hidden"] == 16
    assert len(loaded.visits) == SMALL.pool and loaded.catalogue.item_ids[0] == 500
    assert int(loaded.item_counts.sum()) == 60 * LENGTH
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "simulator"]  # no checkpoint is left


def test_a_fit_that_is_interrupted_behind_the_response_model_does_not_begin_anew(tmp_path, monkeypatch):
    log, lines = toy_log(tmp_path / "log", 60, 0), []
    with monkeypatch.context() as patch:
        patch.setattr(fit, "fit_leaving", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit_simulator(log, tmp_path / "simulator", SMALL, report=quiet)
    fit_simulator(log, tmp_path / "simulator", SMALL, report=lines.append)
    assert lines[0] == "resuming after pass 3" and not any(line.startswith("pass") for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "simulator"]


def test_simulators_of_one_seed_offer_the_same_candidates(tmp_path):
    first = fit_simulator(toy_log(tmp_path / "a", 30, 0), tmp_path / "train", SMALL, report=quiet)
    second = fit_simulator(toy_log(tmp_path / "b", 45, 1), tmp_path / "test", SMALL, report=quiet)
    assert torch.equal(first.recall_order, second.recall_order)
    assert first.recall_order.tolist() != list(range(ITEMS))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"passes": 0}, "fit passes: got 0"),
        ({"pool": -3}, "fit pool: got -3"),
        ({"held_out": 1.0}, "fit held_out: got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
    ],
)
def test_impossible_settings(fields, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**fields)


def test_two_processes_fit_the_same_model_as_one():
    sequences, embeddings = toy(60)
    one, history = fit_response_model(sequences, catalogue_of(embeddings), SMALL, log=quiet)
    two, same_history = fit_response_model(sequences, catalogue_of(embeddings), SMALL, log=quiet, processes=2)
    assert history == same_history
    for name, value in one.state_dict().items():
        assert torch.equal(two.state_dict()[name], value), name


def test_the_gradient_of_two_halves_is_that_of_the_batch():
    sequences, embeddings = toy(60)
    model = ResponseModel(ResponseConfig(embedding_dim=embeddings.shape[1], kinds=3, hidden=8)).train()
    sessions = np.arange(7)
    loss = session_loss(model, embeddings, sequences.batch(sessions))
    (loss / int(sequences.lengths[sessions].sum())).backward()
    whole = [parameter.grad.clone() for parameter in model.parameters()]
    with Gradients(model, embeddings, sequences) as gradients:
        assert gradients.descend(sessions) == pytest.approx(float(loss.detach()), rel=1e-5)
        assert gradients.descend(sessions[:1]) > 0  # one session: the second half is empty
        gradients.descend(sessions)
    for parameter, gradient in zip(model.parameters(), whole, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_a_second_process_that_ends_is_named():
    sequences, embeddings = toy(60)
    model = ResponseModel(ResponseConfig(embedding_dim=embeddings.shape[1], kinds=3, hidden=8)).train()
    with Gradients(model, embeddings, sequences, processes=2) as gradients:
        gradients.descend(np.arange(4))
        gradients._process.kill()
        gradients._process.join()
        with pytest.raises(ChildProcessError, match="the second process has ended"):
            gradients.descend(np.arange(4))
