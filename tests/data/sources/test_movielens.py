"""MovieLens-100k from small files in the publisher's and in RecBole's format, good and damaged."""

import hashlib
import zipfile

import numpy as np
import pytest

from recsim_hrl.data.sources.movielens import MovielensConfig, read_movielens
from recsim_hrl.data.sources.movielens_files import read_movies
from recsim_hrl.data.sources.movielens_forms import GENRES_100K as GENRES
from recsim_hrl.data.sources.movielens_forms import find_movielens
from recsim_hrl.data.splits import split_by_time

# Item id, title as the publisher writes it, release date, genres.
MOVIES = [
    (10, "Toy Story (1995)", "01-Jan-1995", ("Animation", "Children's", "Comedy")),
    (20, "Mis\u00e9rables, Les (1958)", "01-Jan-1995", ("Drama",)),
    (267, "unknown", "", ("unknown",)),
    (30, "Land Before Time III (1995) (V)", "01-Jan-1996", ("Animation",)),
    (40, "Et tu\x85 Brute", "14-Feb-1997", ("Drama", "Comedy")),
]
# User, movie, stars, seconds; not in time order, as in u.data.
RATINGS = [
    (1, 40, 1, 90_004_601),
    (1, 20, 3, 90_001_000),
    (2, 20, 2, 90_000_500),
    (1, 10, 5, 90_001_000),
    (1, 30, 4, 90_002_800),
]


def publisher_files(ratings=RATINGS, movies=MOVIES):
    items = []
    for item, title, date, genres in movies:
        flags = "|".join(str(int(name in genres)) for name in GENRES)
        url = "" if title == "unknown" else "http://us.imdb.com/M/title-exact?" + title.replace(" ", "%20")
        items.append(f"{item}|{title}|{date}||{url}|{flags}\n")
    return {
        "u.data": "".join("\t".join(map(str, row)) + "\n" for row in ratings).encode("latin-1"),
        "u.item": "".join(items).encode("latin-1"),
        "u.genre": ("".join(f"{name}|{place}\n" for place, name in enumerate(GENRES)) + "\n").encode("latin-1"),
    }


def recbole_files(ratings=RATINGS):
    years = {10: ("Toy Story", "1995"), 20: ("Mis\u00e9rables, Les", "1958"), 267: ("unkonwn", "unkonwn")}
    years |= {30: ("Land Before Time III (1995)", "V"), 40: ("Et tu\x85 Brute", "1997")}
    items = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    for item, _, _, genres in MOVIES:
        # RecBole writes the genres of a movie in the publisher's order.
        items += "\t".join([str(item), *years[item], " ".join(name for name in GENRES if name in genres)]) + "\n"
    rows = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    rows += "".join("\t".join(map(str, row)) + "\n" for row in ratings)
    return {"ml-100k.inter": rows.encode(), "ml-100k.item": items.encode(), "ml-100k.user": b"user_id:token\n"}


def folder(path, files):
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def archive(path, files, prefix):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(prefix + name, content)
    return path


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response", "timestamp")
    return [tuple(int(batch[name][row]) for name in names) for row in range(len(batch["step"]))]


def test_responses_order_and_sessions_by_hand(tmp_path):
    log = read_movielens(folder(tmp_path / "ml-100k", publisher_files()), tmp_path / "log")
    assert rows_of(log) == [
        (0, 0, 2, 20, 0, 90_000_500),  # 2 stars: skip; the earliest session comes first
        (1, 0, 1, 10, 2, 90_001_000),  # 5 stars: order; same second as the next, the smaller movie id first
        (1, 1, 1, 20, 0, 90_001_000),  # 3 stars: skip
        (1, 2, 1, 30, 1, 90_002_800),  # 4 stars: click; 1,800 s after the last one is still the same visit
        (2, 0, 1, 40, 0, 90_004_601),  # 1 star: skip; 1,801 s is a new visit
    ]
    report = log.report()
    assert (report.impressions, report.clicks, report.orders, report.users, report.items) == (5, 2, 1, 2, 5)


def test_long_visits_become_equal_sessions(tmp_path):
    movies = [(item, f"Film {item} (1990)", "", ("War",)) for item in range(1, 8)]
    ratings = [(3, item, 4, 80_000_000 + item) for item in range(1, 8)] + [(4, 1, 4, 80_000_000), (4, 2, 4, 80_000_003)]
    source = folder(tmp_path / "ml-100k", publisher_files(ratings, movies))
    # 7 / 3 rounds to 2 sessions, of 3 and 4; 2 / 3 rounds to 1.
    log = read_movielens(source, tmp_path / "three", MovielensConfig(session_length=3))
    assert [row[:4] for row in rows_of(log)] == [
        *((0, 0, 4, 1), (0, 1, 4, 2)),
        *((1, 0, 3, 1), (1, 1, 3, 2), (1, 2, 3, 3)),
        *((2, 0, 3, 4), (2, 1, 3, 5), (2, 2, 3, 6), (2, 3, 3, 7)),
    ]
    log = read_movielens(source, tmp_path / "two", MovielensConfig(session_length=2))  # 3.5 rounds to 4
    assert log.load().lengths.tolist() == [2, 1, 2, 2, 2]


def test_every_source_gives_the_same_log(tmp_path):
    ours, theirs = publisher_files(), recbole_files()
    by_line = {name: content.replace(b"\n", b"\r\n") for name, content in ours.items()}
    sources = [
        folder(tmp_path / "a" / "ml-100k", ours),
        tmp_path / "a",
        tmp_path / "a" / "ml-100k" / "u.data",
        folder(tmp_path / "crlf", by_line),
        archive(tmp_path / "ml-100k.zip", ours, "ml-100k/"),
        archive(tmp_path / "flat.zip", ours, ""),
        folder(tmp_path / "b", theirs),
        archive(tmp_path / "recbole-1.2.1-py3-none-any.whl", theirs, "recbole/dataset_example/ml-100k/"),
    ]
    logs = [read_movielens(source, tmp_path / "logs" / str(place)) for place, source in enumerate(sources)]
    for log in logs[1:]:
        assert rows_of(log) == rows_of(logs[0])
        np.testing.assert_array_equal(log.items.embeddings.numpy(), logs[0].items.embeddings.numpy())
        np.testing.assert_array_equal(log.items.categories.numpy(), logs[0].items.categories.numpy())
    assert logs[0].metadata["source"] == "MovieLens-100k (GroupLens), read from ml-100k"


def test_the_log_is_that_of_earlier_versions(tmp_path):
    """Rows bit for bit; item vectors to the last digits, which processors differ in."""
    log = market(tmp_path, "whole")
    (batch,) = log.batches()
    rows = b"".join(np.ascontiguousarray(batch[name]).tobytes() for name in log.columns)
    assert hashlib.sha256(rows).hexdigest()[:16] == "04e6917b2b7a7f35"
    vectors = log.items.embeddings.numpy()
    np.testing.assert_allclose(
        vectors[0, 19:], [-1.126601, 0.057613, 1.247432, 0.229336, -0.239496, -0.097506], atol=1e-5
    )


def test_movies(tmp_path):
    source = folder(tmp_path / "ml-100k", publisher_files())
    # Title, title, nothing, title with a suffix, release date where the title has none.
    np.testing.assert_array_equal(read_movies(find_movielens(source)).years, [1995, 1958, np.nan, 1995, 1997])
    log = read_movielens(source, tmp_path / "log")
    assert log.items.item_ids.tolist() == [10, 20, 267, 30, 40]
    # Children's has 1 movie, Animation, Comedy and Drama 2 each; of equals the first in the publisher's order.
    names = [log.metadata["categories"][category] for category in log.items.categories]
    assert names == ["Children's", "Drama", "unknown", "Animation", "Comedy"]
    assert log.items.prices.tolist() == [0.0] * 5


def market(tmp_path, name, change=lambda ratings: ratings):
    """30 sessions of 10 users, one a day each, of 4 movies out of 12."""
    rng = np.random.default_rng(5)
    movies = [(item, f"Film {item} ({1980 + item})", "", (GENRES[1 + item % 5],)) for item in range(1, 13)]
    ratings = []
    for user in range(1, 11):
        for visit, items in enumerate(rng.permutation(np.arange(1, 13)).reshape(3, 4)):
            start = 880_000_000 + visit * 86_400 + user * 100
            ratings += [(user, int(item), int(rng.integers(1, 6)), start + place) for place, item in enumerate(items)]
    source = folder(tmp_path / name, publisher_files(change(ratings), movies))
    return read_movielens(source, tmp_path / f"{name}-log", MovielensConfig(embedding_dim=19 + 2 + 4))


def test_boundary_is_that_of_the_split_by_time(tmp_path):
    log = market(tmp_path, "whole")
    assert log.metadata["boundary"] == 880_000_000 + 86_400 + 6 * 100  # session 15 of 0 ... 29
    assert log.metadata["training_sessions"] == 15
    by_fraction, _ = split_by_time(log, tmp_path / "fraction", fraction=0.5)
    by_boundary, _ = split_by_time(log, tmp_path / "boundary")
    assert by_fraction.metadata["split"]["boundary"] == log.metadata["boundary"]
    assert rows_of(by_fraction) == rows_of(by_boundary)


def test_embeddings_know_nothing_of_later_sessions(tmp_path):
    boundary = market(tmp_path, "whole").metadata["boundary"]

    def flip(later):
        def change(ratings):
            return [(u, i, 6 - s if (t >= boundary) == later else s, t) for u, i, s, t in ratings]

        return change

    whole = market(tmp_path, "again").items.embeddings.numpy()  # (I, D)
    later = market(tmp_path, "later", flip(True)).items.embeddings.numpy()
    np.testing.assert_array_equal(later, whole)
    earlier = market(tmp_path, "earlier", flip(False)).items.embeddings.numpy()
    assert np.flatnonzero((earlier != whole).any(axis=0)).tolist() == [20]  # the mean rating, and no factor


def test_embeddings_by_a_slow_reference(tmp_path):
    log = market(tmp_path, "whole")
    embeddings = log.items.embeddings.numpy().astype(np.float64)
    for block in (embeddings[:, :19], embeddings[:, 19:21], embeddings[:, 21:]):
        assert (block**2).sum(1).mean() == pytest.approx(1.0, abs=1e-6)
    for item in range(12):  # one genre each: a block of ones
        assert embeddings[item, :19].tolist() == [float(place == 1 + (item + 1) % 5) for place in range(19)]
    years = np.arange(1981, 1993)
    np.testing.assert_allclose(embeddings[:, 19], (years - years.mean()) / years.std() / np.sqrt(2), atol=1e-6)

    boundary, index = log.metadata["boundary"], {item: place for place, item in enumerate(range(1, 13))}
    lines = (tmp_path / "whole" / "u.data").read_text().splitlines()
    training = [
        (user, index[item], stars)
        for user, item, stars, seconds in (map(int, line.split("\t")) for line in lines)
        if seconds < boundary  # sessions of this market never cross the boundary
    ]
    mean = np.mean([stars for _, _, stars in training])
    user_bias = {}
    for user in {user for user, _, _ in training}:
        own = [stars - mean for other, _, stars in training if other == user]
        user_bias[user] = sum(own) / (len(own) + 5)
    item_bias = np.zeros(12)
    rated = np.zeros((10, 12))
    for item in range(12):
        own = [stars - mean - user_bias[user] for user, other, stars in training if other == item]
        item_bias[item] = sum(own) / (len(own) + 5)
    expected = (item_bias - item_bias.mean()) / item_bias.std() / np.sqrt(2)
    np.testing.assert_allclose(embeddings[:, 20], expected, atol=1e-6)

    for user, item, _ in training:
        rated[user - 1, item] = 1.0
    scaled = rated / np.sqrt(rated.sum(1) + 5)[:, None] / np.sqrt(rated.sum(0) + 5)
    sizes, directions = np.linalg.eigh(scaled.T @ scaled)  # ascending: the last one is left out
    gram = directions[:, -5:-1] * sizes[-5:-1] @ directions[:, -5:-1].T
    factors = embeddings[:, 21:]
    np.testing.assert_allclose(factors @ factors.T, gram / np.trace(gram) * 12, atol=1e-5)


def test_a_single_session_has_no_training_sessions(tmp_path):
    files = publisher_files([(1, 10, 5, 900), (1, 20, 4, 901)])
    log = read_movielens(folder(tmp_path / "ml-100k", files), tmp_path / "log")
    assert log.metadata["training_sessions"] == 0
    assert not log.items.embeddings[:, 20:].any()


def test_config_errors(tmp_path):
    with pytest.raises(ValueError, match="session_length: got 0, allowed 1 or more"):
        MovielensConfig(session_length=0)
    with pytest.raises(ValueError, match="training_fraction: got 1.0, allowed above 0 and below 1"):
        MovielensConfig(training_fraction=1.0)
    for stars in ({"click_stars": 0.0}, {"click_stars": 5.0, "order_stars": 4.5}, {"order_stars": 5.5}):
        with pytest.raises(ValueError, match="click_stars and order_stars: got .*, allowed 0.5 to 5"):
            MovielensConfig(**stars)
    source = folder(tmp_path / "ml-100k", publisher_files())
    with pytest.raises(ValueError, match="embedding_dim: got 20, allowed 21 or more: 19 genres"):
        read_movielens(source, tmp_path / "log", MovielensConfig(embedding_dim=20))
