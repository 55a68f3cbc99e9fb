"""The code of README.md and docs/ runs as it is printed, and prints what the comments say."""

import pytest

from tests.docs import pages

NAMES = [path.relative_to(pages.ROOT).as_posix() for path in pages.page_paths()]
WITH_CODE = [
    name
    for name in NAMES
    if any(block.is_run for block in pages.find_blocks((pages.ROOT / name).read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_page_runs(name, ran):
    assert ran(name).names["__name__"] == "__page__"


def test_the_important_pages_have_code():
    assert {"README.md", "docs/quickstart.md", "docs/third_party.md", "docs/hierarchy.md"} <= set(WITH_CODE)


def test_both_levels_of_the_hierarchy_page_play_a_whole_session(ran):
    names = ran("docs/hierarchy.md").names
    assert names["info"]["session"]["length"] == 50
    assert names["infos"]["steps"].tolist() == [10] * 8


PAGE = """Text.

```python
x = 1
print(x + 1)  # 2
```

*Not run by the tests: it waits for a person.*

```python
input()
```

```console
python is not run here
```

```python
for y in range(3):
    print(x, y)  # 1 2
```
"""


def run(text, folder):
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return pages.run_page(path, folder)


def test_blocks_share_names_and_only_python_runs(tmp_path):
    assert [(block.line, block.is_run) for block in pages.find_blocks(PAGE)] == [(4, True), (11, False), (19, True)]
    session = run(PAGE, tmp_path)
    assert session.names["x"] == 1
    assert session.printed == {5: ["2"], 20: ["1 0", "1 1", "1 2"]}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# 2\n", "# 3\n", "line 5.*promises '3'.*printed '2'"),
        ("print(x + 1)  # 2", "if x > 1:\n    print(x)  # 2", "line 6.*printed 'nothing'"),
    ],
)
def test_a_comment_that_is_not_what_is_printed_is_an_error(tmp_path, old, new, message):
    with pytest.raises(AssertionError, match=message):
        run(PAGE.replace(old, new), tmp_path)


def test_an_error_points_into_the_page(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        run(PAGE.replace("x = 1", "x = 1 / 0"), tmp_path)
    last = caught.traceback[-1]
    assert (last.path.name, last.lineno + 1) == ("page.md", 4)


def test_a_block_that_is_left_out_needs_a_reason():
    text = PAGE.replace("it waits for a person.", "")
    assert [block.is_run for block in pages.find_blocks(text)] == [True, True, True]


def test_a_block_that_is_not_closed_is_an_error():
    with pytest.raises(ValueError, match="line 3: .* not closed"):
        pages.find_blocks("Text.\n\n```python\nx = 1\n")
