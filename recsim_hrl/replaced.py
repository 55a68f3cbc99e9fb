"""Files that are replaced whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; the file takes its place when the block ends well and vanishes otherwise.

    Whoever reads ``path``, also after a kill at any moment, finds the old file whole or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        yield staging
        with staging.open("rb+") as written:
            os.fsync(written.fileno())  # a rename may reach the disk before what was written does
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
