"""Archives of public data sets: what is in them, or an error that says what to do."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from recsim_hrl.data.schema import LogError

DOWNLOAD = "copy or download it again"
# RuntimeError and its kind NotImplementedError: an encrypted member, or an unknown compression.
READ_ERRORS = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error)
"""What a damaged archive raises, on opening or on the way."""

_TAR = (".tar", ".tar.gz", ".tgz")
_READ_BYTES = 1 << 20


def is_tar(path: Path) -> bool:
    """Whether the name of a file is that of a tar archive, compressed by gzip or not."""
    return path.name.endswith(_TAR)


def members_of(archive: Path) -> list[str]:
    """Names of the files in an archive; a tar archive is read to its end for them.

    Raises:
        LogError: it cannot be read as one.
    """
    try:
        if is_tar(archive):
            return _tar_members(archive)
        with zipfile.ZipFile(archive) as file:
            return file.namelist()
    except READ_ERRORS as error:
        kind = "tar" if is_tar(archive) else "zip"
        raise LogError(
            f"not readable as a {kind} archive ({error}); the file is truncated, damaged or of another kind: "
            f"{DOWNLOAD}, or pass the extracted folder",
            archive,
        ) from None


@contextmanager
def open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """The content of one of the files that ``members_of`` names, as a stream of bytes; it may raise READ_ERRORS."""
    if not is_tar(archive):
        with zipfile.ZipFile(archive) as packed, packed.open(member) as file:
            yield file
        return
    with tarfile.open(archive) as tar:
        # Not by name, for which the whole archive would be unpacked to see whether the name comes again.
        with tar.extractfile(next(info for info in tar if info.isfile() and info.name == member)) as file:
            yield file


def _tar_members(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        names = [info.name for info in tar if info.isfile()]
        while tar.fileobj.read(_READ_BYTES):  # at its end stands gzip's checksum of all that comes before
            pass
    return names
