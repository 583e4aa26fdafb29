"""No page takes a file: a form with one is refused before the file is read."""

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParserError


class NoFiles(FileUploadHandler):
    """Refuses every file; Django answers 400."""

    def new_file(self, *_: Any, **__: Any) -> None:
        """Refuse a file. Raises MultiPartParserError."""
        raise MultiPartParserError("A file was sent; no page takes one.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # pragma: no cover
        """Take nothing: no file gets here."""

    def file_complete(self, file_size: int) -> None:
        """Make no file."""
