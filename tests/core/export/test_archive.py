"""Zip archives of exported files."""

import io
import zipfile

from pruning_core.export import zip_archive


def test_an_archive_is_the_same_bytes_every_time_and_holds_the_files() -> None:
    files = {"plan.json": b"{}", "a.bin": b"\x00\x01"}
    assert zip_archive(files) == zip_archive(files)
    with zipfile.ZipFile(io.BytesIO(zip_archive(files))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
