"""A finished picture as an answer: the file as it was saved, or a copy in another format or without its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from studio.picture.file_formats import media_type
from studio.picture.saved_copies import CopyOrder, saved_copy


async def picture_file(
    path: Path, query: Mapping[str, str], headers: Mapping[str, str], *, download: bool = False
) -> Response:
    """The answer. `query`: `format`, `quality`, `lossless`, `metadata` of `CopyOrder`. Raises InvalidRequest and
    OSError."""
    order = CopyOrder.parse(query)
    kind = "attachment" if download else "inline"
    if not order.changes:
        return FileResponse(
            path, media_type=media_type(path), filename=path.name, content_disposition_type=kind, headers=headers
        )
    copy = await run_in_threadpool(saved_copy, path, order)
    named = FileResponse(path, filename=copy.name, content_disposition_type=kind).headers["content-disposition"]
    return Response(copy.content, media_type=copy.media_type, headers={**headers, "content-disposition": named})
