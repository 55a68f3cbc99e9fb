"""Semantic ids on disk: the same again, or refused with the reason."""

import numpy as np
import pytest

from recsim_hrl.arrays_file import arrays_bytes
from recsim_hrl.semantic_ids import SemanticIdError, SemanticIds, load_semantic_ids, save_semantic_ids

FIX = "make it again with `recsim-hrl semantic-ids`"


@pytest.fixture
def path(ternary, tmp_path):
    ids = SemanticIds(ternary.codebooks, ternary.without_items(np.array([4])).codes, {"fit": {"codes": 3}})
    return save_semantic_ids(ids, tmp_path / "ids" / "market.safetensors")


def test_round_trip(path, ternary):
    ids = load_semantic_ids(path, items=27, width=1)
    assert np.array_equal(ids.codebooks, ternary.codebooks) and ids.codebooks.dtype == np.float32
    assert ids.items(ternary.codes).tolist() == [*range(4), -1, *range(5, 27)] and ids.codes.dtype == np.int32
    assert ids.provenance == {"fit": {"codes": 3}}
    again = path.read_bytes()
    save_semantic_ids(ids, path)
    assert path.read_bytes() == again and [one.name for one in path.parent.iterdir()] == [path.name]


def test_damaged_files_are_refused(path):
    whole = path.read_bytes()
    for size in (0, 7, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(SemanticIdError, match=rf"market.safetensors: cannot be read .*; {FIX}"):
            load_semantic_ids(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SemanticIdError, match=f"does not match its checksum, so it was changed; {FIX}"):
        load_semantic_ids(path)
    path.write_bytes(whole.replace(b'format_version\\": 1', b'format_version\\": 9'))
    with pytest.raises(SemanticIdError, match=f"format_version: got 9, allowed 1; {FIX}"):
        load_semantic_ids(path)
    path.unlink()
    with pytest.raises(SemanticIdError, match=f"cannot be read .*; {FIX}"):
        load_semantic_ids(path)


def test_any_byte_that_is_changed_is_noticed_or_does_not_matter(path):
    """A changed byte is refused with a reason, or what is read is still ids: never another error."""
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            assert isinstance(load_semantic_ids(path), SemanticIds)
        except SemanticIdError:
            refused += 1
    assert refused > 0.9 * len(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": 26}, "got ids of 27 items of width 1, allowed 26 items of width 1, as the catalogue has"),
        ({"width": 50}, "got ids of 27 items of width 1, allowed 27 items of width 50"),
        ({"items": 0}, "got ids of 27 items of width 1, allowed 0 items"),
    ],
)
def test_another_catalogue(path, change, message):
    with pytest.raises(SemanticIdError, match=f"market.safetensors: {message}"):
        load_semantic_ids(path, **change)


def test_a_whole_file_of_what_cannot_be_ids(path, ternary):
    """The checksum is right: whoever wrote these meant them."""
    twice = ternary.codes.copy()
    twice[7] = twice[3]
    books, about = ternary.codebooks, {"provenance": {}}
    cases = [
        ({"codebooks": books, "codes": twice}, about, r"semantic ids: codes: got \[0, 1, 0\] for the items 3 and 7"),
        ({"codebooks": books[:2], "codes": ternary.codes}, about, r"allowed int32 of shape \(I, 2\)"),
        ({"codebooks": books, "codes": ternary.codes.astype(np.float32)}, about, "codes: got float32"),
        ({"codebooks": books, "codes": ternary.codes}, {}, "does not tell where the ids come from"),
        ({"codebooks": books, "codes": ternary.codes}, {"provenance": 3}, "does not tell where the ids come from"),
        ({"codebooks": books}, about, "cannot be read"),
    ]
    for arrays, told, message in cases:
        path.write_bytes(arrays_bytes(arrays, told, 1))
        with pytest.raises(SemanticIdError, match=f"market.safetensors: .*{message}"):
            load_semantic_ids(path)
