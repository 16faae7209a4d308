"""One safetensors file of an address that somebody pasted => the models folder: https and public servers alone, looked
at before it is fetched, compared with the sha256 that is known, and put where its header says that it belongs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from studio.answered.engine import Refused
from studio.answered.models import Download, HubFile
from studio.asked.messages import Message
from studio.asked.orders import ModelKind
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.checkpoints import civitai
from studio.checkpoints.download_place import KIND_FOLDERS, DownloadPlace
from studio.checkpoints.download_queue import DownloadQueue
from studio.checkpoints.file_names import clean_stem
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint, PickleFile, refuse_other_formats
from studio.checkpoints.public_addresses import NotPublic, client
from studio.checkpoints.transfer import DownloadError, Job, Transfer, cause

TIMEOUT = httpx.Timeout(30.0, connect=15.0)
STALL = httpx.Timeout(30.0, connect=15.0)
MOST_ANSWER_BYTES = 4 * 2**20  # of Civitai's description of a model
MOST_LINK = 2000  # characters
START_BYTES = 300  # which show a file's form
_HASH = re.compile(r"[0-9a-f]{64}")
_AN_ADDRESS = Message("an address that begins with https://, of a safetensors file or of a model on civitai.com")


class _Look(NamedTuple):
    """What a server says of a file before it is fetched."""

    name: str  # without its ending
    size: int


class Links:
    """Adds files by link to one models folder. Safe for several threads."""

    def __init__(
        self,
        place: DownloadPlace,
        queue: DownloadQueue,
        *,
        transport: Callable[[], httpx.BaseTransport | None] = lambda: None,
        environment: Mapping[str, str] = os.environ,
        wait: Callable[[threading.Event, float], object] = lambda event, seconds: event.wait(seconds),
    ) -> None:
        """`transport` makes the connections, `environment` has Civitai's key, `wait` is the clock: for tests."""
        self._place = place
        self._queue = queue
        self._transport = transport
        self._environment = environment
        self._wait = wait

    def download(self, link: str, *, sha256: str = "") -> str:
        """Look at the file, and begin to fetch it; the download's id. Raises InvalidRequest, or Refused with why it is
        not fetched."""
        address, digest = _parsed(link), _digest(sha256)
        kind: ModelKind | None = None
        name, page, version = "", f"{address.hostname}{address.path}"[:200], None
        key = self._environment.get(civitai.KEY) or None if address.hostname in civitai.HOSTS else None
        if address.hostname in civitai.HOSTS:
            file = self._on_civitai(address, key)
            kind, name, page, version = file.kind, file.name, file.page, file.version
            digest = digest or file.sha256
            address = _parsed(file.address)
            key = key if address.hostname in civitai.HOSTS else None
        look = self._look(address, key, name)
        file_name = f"{look.name}.safetensors"
        for one in [kind] if kind is not None else KIND_FOLDERS:
            self._refuse_twice(self._place.folder(one) / file_name)
        job = Job(
            Download(
                id=secrets.token_hex(8),
                repository=page,
                files=(file_name,),
                kind=kind or "checkpoint",
                state="waiting",
                total_bytes=look.size,
            ),
            "",
            key,
            (HubFile(path=file_name, size=look.size, sha256=digest),),
        )
        return self._queue.add(job, lambda job: self._fetch(job, address, kind, version))

    def _on_civitai(self, link: SplitResult, key: str | None) -> civitai.CivitaiFile:
        path = civitai.question(link)
        if path is None:
            raise InvalidRequest(Problem("link", quoted_value(link.geturl()), _AN_ADDRESS))
        with self._asked(f"https://{link.hostname}{path}", key) as answer:
            body = bytearray()
            for block in answer.iter_bytes():
                body += block
                if len(body) > MOST_ANSWER_BYTES:
                    break
        try:
            values = json.loads(bytes(body))
        except (ValueError, RecursionError):
            values = None
        return civitai.file_of(values, link)

    def _look(self, address: SplitResult, key: str | None, name: str) -> _Look:
        """What the server says of the file, and whether it begins like one that may be fetched. Raises Refused."""
        host = address.hostname or ""
        with self._asked(address.geturl(), key, {"range": f"bytes=0-{START_BYTES - 1}"}) as answer:
            start = b""
            for block in answer.iter_bytes(START_BYTES):
                start += block
                if len(start) >= START_BYTES:
                    break
            last = answer.url.path.rpartition("/")[2]
            headers = answer.headers
        size = _size(headers)
        if size is None:
            raise Refused(
                Message(
                    "{server} does not say how large the file is, so it cannot be told whether it came whole.",
                    server=host,
                )
            )
        stem = clean_stem(name or _name_of(headers) or last or address.path.rpartition("/")[2])
        stem = stem if any(c.isalnum() for c in stem) else "model"
        try:
            refuse_other_formats(stem, start[:START_BYTES], size)
        except PickleFile as error:
            raise Refused(
                Message(
                    "{name} is a pickle, which could run code when it is read, so it is not fetched. Is there a "
                    'safetensors file of it? If not: put it into the models folder yourself, and "Convert safely" '
                    "makes one.",
                    name=stem,
                )
            ) from error
        except BadCheckpoint as error:
            raise Refused(str(error)) from error
        return _Look(stem, size)

    @contextmanager
    def _asked(
        self, address: str, key: str | None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """An answer whose body is still to be read. Raises Refused in one sentence."""
        host = urlsplit(address).hostname or ""
        try:
            with (
                client(self._transport(), timeout=TIMEOUT, key=key) as http,
                http.stream("GET", address, headers=dict(headers or {})) as answer,
            ):
                wants_login = answer.url.host in civitai.HOSTS and answer.url.path.startswith("/login")
                status = 401 if wants_login else answer.status_code
                if status not in (200, 206):
                    raise Refused(_refusal(status, host, has_key=key is not None))
                yield answer
        except NotPublic as error:
            raise Refused(error.args[0]) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refused(Message("{server} cannot be reached ({cause}).", server=host, cause=cause(error))) from error

    def _fetch(self, job: Job, address: SplitResult, kind: ModelKind | None, version: Mapping[str, Any] | None) -> str:
        [file] = job.files
        host, has_key = address.hostname or "", job.token is not None
        staging, have = self._place.begin(job, f"link|{address.geturl()}|{file.size}|{file.sha256}")
        try:
            with client(self._transport(), timeout=TIMEOUT, key=job.token) as http:
                Transfer(
                    http,
                    job,
                    staging,
                    address_of=lambda file: address.geturl(),
                    refusal_of=lambda status, file: _refusal(status, host, has_key=has_key),
                    server=host,
                    arrived_bytes=have,
                    stall=STALL,
                    wait=self._wait,
                ).fetch(file)
        except NotPublic as error:
            raise DownloadError(error.args[0]) from error
        whole = staging / file.path
        facts = identify(whole)
        kind = facts.kind or kind
        if facts.refused or kind is None:
            whole.unlink()
            raise DownloadError(
                Message(
                    "{name} cannot be told by its header, so it was thrown away. {reason}",
                    name=file.path,
                    reason=facts.reason,
                )
            )
        target = self._place.folder(kind) / file.path
        said: str = Message("In the models folder.")
        if file.sha256 is None:
            said = Message(
                "In the models folder. Nobody has said which sha256 it should have: it is {sha256}.",
                sha256=_sha256_of(whole),
            )
        self._place.move(staging, target, job.files, job.download.repository)
        if version is not None:
            _write_sidecar(target, version)
        return said

    def _refuse_twice(self, target: Path) -> None:
        if target.exists():
            raise Refused(
                Message(
                    "{target} lies in the models folder already. Move it away to fetch it again.", target=target.name
                )
            )


def _parsed(link: object) -> SplitResult:
    """A link as it may be fetched. Raises InvalidRequest."""
    text = link.strip() if isinstance(link, str) else ""
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" and parts.hostname and (parts.port or 443) > 0
        good = good and parts.username is None and parts.password is None
    except ValueError:
        good = False
    if not good or len(text) > MOST_LINK or any(c.isspace() or not c.isprintable() for c in text):
        raise InvalidRequest(Problem("link", quoted_value(link), _AN_ADDRESS))
    return parts._replace(fragment="")


def _digest(sha256: object) -> str | None:
    text = sha256.strip().lower().removeprefix("sha256:") if isinstance(sha256, str) else None
    if text == "":
        return None
    if text is None or not _HASH.fullmatch(text):
        raise InvalidRequest(Problem("sha256", quoted_value(sha256), Message("64 hexadecimal digits, or nothing")))
    return text


def _refusal(status: int, host: str, *, has_key: bool) -> str:
    said = civitai.refusal(status, has_key=has_key) if host in civitai.HOSTS else None
    if said is not None:
        return said
    if status in (401, 403):
        return Message("{server} wants a login for this file, or does not allow it.", server=host)
    if status in (404, 410):
        return Message("There is nothing at this address on {server}.", server=host)
    return Message("{server} answered with the status {status}.", server=host, status=status)


def _size(headers: httpx.Headers) -> int | None:
    """The bytes of the whole file."""
    total = re.fullmatch(r"bytes \d+-\d+/(\d{1,15})", headers.get("content-range", ""))
    text = total[1] if total is not None else headers.get("content-length", "")
    if total is None and "content-range" in headers:
        return None
    return int(text) if re.fullmatch(r"\d{1,15}", text) else None


def _name_of(headers: httpx.Headers) -> str:
    """The file's name as the server gives it (RFC 6266)."""
    text = headers.get("content-disposition", "")
    extended = re.search(r"filename\*\s*=\s*UTF-8''([^;\s]+)", text, re.IGNORECASE)
    if extended is not None:
        return unquote(extended[1])
    plain = re.search(r'filename\s*=\s*(?:"([^"]*)"|([^;\s]+))', text, re.IGNORECASE)
    return (plain[1] or plain[2] or "") if plain is not None else ""


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_sidecar(target: Path, version: Mapping[str, Any]) -> None:
    """Civitai's description beside the file, as other programs put it there: trigger words are read from it."""
    path = target.with_name(f"{target.stem}.civitai.info")
    text = json.dumps(version, ensure_ascii=False, indent=1)
    if not path.exists() and len(text) <= MOST_ANSWER_BYTES:
        path.write_text(text, encoding="utf-8")
