"""MovieLens 1M, 20M and 25M, in the publisher's and in RecBole's format, from small files."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources import event_files, event_store, movielens_items
from recsim_hrl.data.sources.movielens import MovielensConfig, ratings_report, read_movielens
from recsim_hrl.data.sources.movielens_files import rating_blocks, read_movies
from recsim_hrl.data.sources.movielens_forms import GENRES_1M, GENRES_20M, find_movielens
from tests.data.sources.test_movielens import archive, folder, rows_of

# Movie id, title, genres.
MOVIES = [
    (1, "Toy Story (1995)", ["Animation", "Comedy"]),
    (11, 'American President, The "AP" (1995)', ["Comedy", "Drama", "Romance"]),
    (7, "Mis\u00e9rables, Les: Part 2 (1958)", ["Drama"]),
    (30, "Nameless", ["Drama", "War"]),
]
# User, movie, half stars, seconds.
RATINGS = [(5, 1, 10, 978_300_760), (5, 11, 8, 978_300_700), (4, 30, 2, 978_300_000), (5, 7, 6, 978_300_760)]


def dat_files(ratings=RATINGS, movies=MOVIES):
    """As ml-1m.zip holds them."""
    rows = "".join(f"{user}::{item}::{halves // 2}::{seconds}\n" for user, item, halves, seconds in ratings)
    items = "".join(f"{item}::{title}::{'|'.join(genres)}\n" for item, title, genres in movies)
    return {"ratings.dat": rows.encode(), "movies.dat": items.encode("latin-1"), "users.dat": b"1::F::1::10::48067\n"}


def csv_files(ratings=RATINGS, movies=MOVIES):
    """As ml-20m.zip and ml-25m.zip hold them."""
    rows = "".join(f"{user},{item},{halves / 2},{seconds}\n" for user, item, halves, seconds in ratings)
    items = io.StringIO()
    writer = csv.writer(items, lineterminator="\n")
    writer.writerows([("movieId", "title", "genres"), *((item, title, "|".join(of)) for item, title, of in movies)])
    return {
        "ratings.csv": f"userId,movieId,rating,timestamp\n{rows}".encode(),
        "movies.csv": items.getvalue().encode(),
        "tags.csv": b"userId,movieId,tag,timestamp\n",
    }


def atomic_files(name, title="movie_title", genre="genre", ratings=RATINGS, movies=MOVIES):
    """RecBole's; the year is what stood in the first brackets."""
    rows = "".join(f"{user}\t{item}\t{halves / 2}\t{seconds}\n" for user, item, halves, seconds in ratings)
    items = f"item_id:token\t{title}:token_seq\trelease_year:token\t{genre}:token_seq\n"
    for item, text, genres in movies:
        bare, _, year = text.partition(" (")
        items += f"{item}\t{bare}\t{year.removesuffix(')')}\t{' '.join(genres)}\n"
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    return {f"{name}.inter": f"{header}{rows}".encode(), f"{name}.item": items.encode()}


def test_every_form_gives_the_same_rows(tmp_path):
    sources = [
        folder(tmp_path / "a" / "ml-1m", dat_files()),
        tmp_path / "a",
        tmp_path / "a" / "ml-1m" / "ratings.dat",
        archive(tmp_path / "ml-1m.zip", dat_files(), "ml-1m/"),
        folder(tmp_path / "crlf", {name: text.replace(b"\n", b"\r\n") for name, text in dat_files().items()}),
        folder(tmp_path / "ml-25m", csv_files()),
        archive(tmp_path / "ml-20m.zip", csv_files(), "ml-20m/"),
        folder(tmp_path / "b", atomic_files("ml-1m")),
        folder(tmp_path / "c", atomic_files("ml-20m", "movie_name", "type")),
        archive(tmp_path / "d.zip", atomic_files("ml-25m", "movie_title", "class"), "dataset/ml-25m/"),
    ]
    names = []
    for place, source in enumerate(sources):
        log = read_movielens(source, tmp_path / "logs" / str(place))
        assert rows_of(log) == [
            (0, 0, 4, 30, 0, 978_300_000),  # 1 star; the earliest session comes first
            (1, 0, 5, 11, 1, 978_300_700),  # 4 stars: click
            (1, 1, 5, 1, 2, 978_300_760),  # 5 stars: order; same second, the smaller movie id first
            (1, 2, 5, 7, 0, 978_300_760),  # 3 stars
        ]
        assert log.items.item_ids.tolist() == [1, 11, 7, 30]
        of_log = log.metadata["categories"]
        # Of equals (Animation, Romance and War have one movie each) the first; Drama has three, Comedy two.
        assert [of_log[category] for category in log.items.categories] == ["Animation", "Romance", "Drama", "War"]
        names.append(log.name)
    assert names == [*["movielens-1m"] * 5, *["movielens"] * 2, "movielens-1m", "movielens-20m", "movielens-25m"]


def test_titles_years_and_genres(tmp_path):
    for place, files in enumerate((dat_files(), csv_files(), atomic_files("ml-20m"))):
        movies = read_movies(find_movielens(folder(tmp_path / str(place), files)))
        np.testing.assert_array_equal(movies.years, [1995, 1995, 1958, np.nan])
    none = [(1, "A (1999)", ["(no genres listed)"]), (2, "B (1999)", [])]
    found = read_movies(find_movielens(folder(tmp_path / "none", csv_files(movies=none))))
    assert found.genres.sum(axis=0).tolist() == [0] * 19 + [2]
    assert len(GENRES_1M) == 18 and len(GENRES_20M) == 20 and len(set(GENRES_20M)) == 20


def test_half_stars(tmp_path):
    ratings = [(1, item, halves, 1_000_000_000 + item) for item, halves in enumerate(range(1, 11), start=1)]
    movies = [(item, f"Film {item} (1990)", ["War"]) for item in range(1, 11)]
    source = folder(tmp_path / "ml-25m", csv_files(ratings, movies))
    log = read_movielens(source, tmp_path / "log")
    assert [row[4] for row in rows_of(log)] == [0, 0, 0, 0, 0, 0, 0, 1, 1, 2]  # 3.5 is a skip, 4.5 a click
    log = read_movielens(source, tmp_path / "other", MovielensConfig(click_stars=3.5, order_stars=4.5))
    assert [row[4] for row in rows_of(log)] == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert log.metadata["reader"]["click_stars"] == 3.5


def test_the_number_of_ratings_tells_20m_from_25m(tmp_path):
    source = folder(tmp_path / "data", csv_files())
    log = read_movielens(source, tmp_path / "log")
    assert ratings_report(log) == (
        "read 4 ratings (the publisher states 20,000,263 for MovieLens-20M and 25,000,095 for MovieLens-25M)"
    )
    form = find_movielens(source).form
    assert [form.data_set(ratings).name for ratings in (20_000_263, 25_000_095, 24_999_999)] == [
        "movielens-20m",
        "movielens-25m",
        "movielens",
    ]


def test_blocks_of_the_file_and_of_the_sort_do_not_show(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    movies = [(item, f"Film {item} ({1950 + item})", ["War"]) for item in range(1, 41)]
    ratings = [
        (user, int(item), int(rng.integers(1, 11)), 1_000_000_000 + int(rng.integers(0, 10**6)))
        for user in range(1, 301)
        for item in rng.permutation(np.arange(1, 41))[:20]
    ]
    rng.shuffle(ratings)
    source = folder(tmp_path / "ml-25m", csv_files(ratings, movies))
    whole = read_movielens(source, tmp_path / "whole")
    monkeypatch.setattr(event_files, "_BLOCK_BYTES", 4_096)
    monkeypatch.setattr(event_store, "STREAM_ROWS", 2_048)
    cut = read_movielens(source, tmp_path / "cut")
    assert rows_of(whole) == rows_of(cut)
    np.testing.assert_allclose(cut.items.embeddings.numpy(), whole.items.embeddings.numpy(), atol=1e-5)


def test_large_matrices_are_decomposed_in_passes(tmp_path, monkeypatch):
    """Factors of users and movies, less what chance would put there, against a dense decomposition."""
    rng = np.random.default_rng(1)
    users, items = np.nonzero(rng.random((60, 12)) < 0.4 + 0.4 * (np.arange(60)[:, None] % 2 == np.arange(12) % 2))
    block = {"session": users, "item_index": items, "stars": np.ones(len(users))}
    monkeypatch.setattr(movielens_items, "_LARGEST_MATRIX", 60 * 12 - 1)
    found = movielens_items._item_factors(lambda: [block], 12, 3)
    rated = np.zeros((60, 12))
    rated[users, items] = 1.0
    lengths, counts = rated.sum(axis=1), rated.sum(axis=0)
    rated -= np.outer(lengths, counts / counts.sum())
    matrix = rated / np.sqrt(lengths + 5)[:, None] / np.sqrt(counts + 5)
    _, sizes, directions = np.linalg.svd(matrix)
    expected = (directions[:3] * sizes[:3, None]).T
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)
    monkeypatch.setattr(movielens_items, "_LARGEST_MATRIX", 60 * 12)
    dense = movielens_items._item_factors(lambda: [block], 12, 3)
    # Both leave out how often a movie was rated, and find what the two kinds of users like.
    assert abs(np.corrcoef(dense[:, 0], found[:, 0])[0, 1]) > 0.99


DAMAGE = {
    "one colon": ("dat", "ratings.dat", b"5::11", b"5:x:11", "Timestamp", 2, "a broken row: got 3 fields"),
    "cut row": (
        "dat",
        "ratings.dat",
        b"::978300000",
        b"",
        "Timestamp",
        3,
        "got 3 fields ('4::30::1'), allowed 4 (User",
    ),
    "half star": (
        "dat",
        "ratings.dat",
        b"30::1",
        b"30::1.5",
        "Rating",
        3,
        "got '1.5', allowed a whole number of stars",
    ),
    "movie": (
        "dat",
        "movies.dat",
        b"Animation|",
        b"Animation;",
        "Genres",
        1,
        "got genre 'Animation;Comedy', allowed ['Ac",
    ),
    "title": ("dat", "movies.dat", b"11::", b"11:", None, 2, "got 2 fields, allowed 3 (MovieID, Title, Genres)"),
    "header": ("csv", "ratings.csv", b"userId", b"user", None, None, "got the header 'user,movieId,rating,timestamp'"),
    "third of a star": (
        "csv",
        "ratings.csv",
        b"1.0",
        b"1.3",
        "rating",
        3,
        "got '1.3', allowed a number of stars from 0.5",
    ),
    "no star": ("csv", "ratings.csv", b"1.0", b"0.0", "rating", 3, "got '0.0', allowed a number of stars from 0.5"),
    "time": ("csv", "ratings.csv", b"978300000", b"9783000000", "timestamp", 3, "got 9783000000, more than 30"),
    "movie id": ("csv", "ratings.csv", b"4,30", b"4,31", "movieId", 3, "got movie 31, which"),
    "twice": ("csv", "ratings.csv", b"5,7", b"5,1", None, 4, "user 5 rated movie 1 in an earlier row too"),
    "quote": ("csv", "movies.csv", b'"American', b"American", None, 2, "a broken row: got 4 fields, allowed 3"),
    "movies": (
        "csv",
        "movies.csv",
        b"movieId",
        b"id",
        None,
        None,
        "got the header 'id,title,genres', allowed movieId,",
    ),
    "atomic": ("atomic", "ml-20m.inter", b"\t30\t", b" 30 ", "rating", 3, "separated by '\\t'"),
    "half of 1m": ("one", "ml-1m.inter", b"30\t1.0", b"30\t1.5", "rating", 3, "got '1.5', allowed a whole number"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    form, name, old, new, column, row, message = DAMAGE[case]
    files = {"dat": dat_files, "csv": csv_files, "atomic": lambda: atomic_files("ml-20m")}
    files = (files | {"one": lambda: atomic_files("ml-1m")})[form]()
    assert files[name].count(old) >= 1
    files[name] = files[name].replace(old, new, 1)
    with pytest.raises(LogError) as caught:
        read_movielens(folder(tmp_path / "data", files), tmp_path / "log")
    assert caught.value.file == str(tmp_path / "data" / name)
    assert (caught.value.column, caught.value.row) == (column, row)
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_earliest_row_that_rates_again_is_named(tmp_path):
    again = [*RATINGS, (5, 1, 4, 978_300_900), (4, 30, 2, 978_300_800), (4, 30, 2, 978_300_001)]
    with pytest.raises(LogError, match="row 5: user 5 rated movie 1 in an earlier row too"):
        read_movielens(folder(tmp_path / "data", dat_files(again)), tmp_path / "log")


def test_more_than_one_data_set(tmp_path):
    folder(tmp_path / "ml-1m", dat_files())
    folder(tmp_path / "ml-25m", csv_files())
    with pytest.raises(LogError, match=r"ml-1m/ratings.dat', '.*ml-25m/ratings.csv'\], allowed one of them"):
        find_movielens(tmp_path)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 10**18 - 1), st.sampled_from([1, 11, 7, 30]), st.integers(1, 10), st.integers(0, 10**15)
        ),
        min_size=1,
        max_size=20,
    ),
    form=st.sampled_from(["dat", "csv", "atomic"]),
)
def test_any_ratings_survive_every_form(tmp_path_factory, rows, form):
    rows = [(user, item, halves + halves % 2 if form == "dat" else halves, time) for user, item, halves, time in rows]
    files = {"dat": dat_files, "csv": csv_files, "atomic": lambda rows: atomic_files("ml-20m", ratings=rows)}[form](
        rows
    )
    found = find_movielens(folder(tmp_path_factory.mktemp("any") / "data", files))
    (block,) = rating_blocks(found, read_movies(found))
    names = ("user", "item", "half_stars", "milliseconds", "row")
    expected = [(*row[:3], row[3] * 1000, place) for place, row in enumerate(rows, start=1)]
    assert list(zip(*(block[name].tolist() for name in names), strict=True)) == expected
    assert block["item_index"].tolist() == [[1, 11, 7, 30].index(row[1]) for row in rows]


@settings(max_examples=100, deadline=None)
@given(
    text=st.binary(max_size=60),
    name=st.sampled_from(["ratings.dat", "movies.dat", "ratings.csv", "movies.csv", "ml-1m.inter", "ml-1m.item"]),
    is_appended=st.booleans(),
)
def test_any_bytes_are_read_or_refused_with_their_file(tmp_path_factory, text, name, is_appended):
    files = {"dat": dat_files, "csv": csv_files}.get(name[-3:], lambda: atomic_files("ml-1m"))()
    files[name] = files[name] + text if is_appended else text
    source = folder(tmp_path_factory.mktemp("bytes") / "data", files)
    try:
        found = find_movielens(source)
        for _ in rating_blocks(found, read_movies(found)):
            pass
    except LogError as error:
        assert error.file == str(source / name) or "got movie" in str(error)
