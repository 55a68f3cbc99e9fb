import functools

import pytest

from tests.docs import pages
from tests.docs.preparations import PREPARATIONS


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Runs a page, named from the root of the repository, once for all tests that ask for it."""

    @functools.cache
    def run(name):
        return pages.run_page(pages.ROOT / name, tmp_path_factory.mktemp("page"), PREPARATIONS.get(name))

    return run
