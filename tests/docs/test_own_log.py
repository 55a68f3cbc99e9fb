"""The guide to a log of one's own is what happens: its file, its commands, and what they print."""

import pytest

from tests.docs.preparations import texts


@pytest.fixture
def names(ran):
    return ran("docs/own_log.md").names


def test_the_dry_run_prints_what_the_page_shows(names):
    assert names["printed_by_commands"][0] == texts("docs/own_log.md")[1]


def test_the_import_prints_the_same_and_then_the_line_of_the_page(names):
    told, done = names["printed_by_commands"]
    assert done.startswith(told)
    assert done.rstrip().endswith('gymnasium.make("RecSession-v0", simulator="my-shop", session_length=3)')


def test_the_environment_of_the_page_has_the_shop_in_it(names):
    assert names["env"].unwrapped.core.config.session_length == 3
    assert names["info"]["item_id"] in (0, 1, 2, 3)
    assert names["log"].metadata["mapping"]["user"] == "visitor"
