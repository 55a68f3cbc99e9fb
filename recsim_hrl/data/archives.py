"""Archives of public data sets: what is in them, or an error that says what to do."""

import zipfile
from pathlib import Path

from recsim_hrl.data.schema import LogError

DOWNLOAD = "copy or download it again"


def members_of(archive: Path, kind: str = "zip archive") -> list[str]:
    """Names of the files in a zip archive, which errors call a ``kind``.

    Raises:
        LogError: it cannot be read as one.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            return file.namelist()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise LogError(
            f"not readable as a {kind} ({error}); the file is truncated, damaged or of another kind: {DOWNLOAD}, "
            "or pass the extracted folder",
            archive,
        ) from None
