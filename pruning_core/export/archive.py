"""Several files in one zip archive."""

import io
import zipfile
from collections.abc import Mapping


def zip_archive(files: Mapping[str, bytes]) -> bytes:
    """A compressed zip archive of these files. The same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
