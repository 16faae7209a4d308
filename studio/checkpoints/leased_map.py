"""A weights file mapped into memory, under a Linux file lease: who wants to change the file waits until it is copied.

Mapping is what makes a load fast: no fresh memory is asked for and nothing is copied. But a mapped file that somebody
shortens ends the process that touches it (SIGBUS), and one that is overwritten changes weights in use. So the file is
mapped under a read lease (fcntl(2), F_SETLEASE), which the kernel grants only while nobody has it open for writing.
Whoever then wants to write or truncate it is made to wait, by the kernel, until we let go, at most
/proc/sys/fs/lease-break-time seconds (45). In that time the mapping is copied, piece by piece, to memory of its own
under the same addresses; then the lease is given back and the writer goes on. Tensors over the mapping keep their place
and their values, and notice nothing. Replacing a file by renaming another one over it needs none of this: the old file
lives as long as it is mapped.

Only on Linux, on local file systems that are known to keep this promise, and for files of some size. Everywhere else,
or where the lease is refused (another user's file, one that is being written), `map_under_lease` says None: the file is
read.

Weights lie where the file has them, at multiples of 8 bytes and not of 64, as with diffusers: matrix products are
rounded in another order than those of weights that were read. Nothing here writes to the weights and nothing else in
the studio does; a write between the copy of a piece and its move would be lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import logging
import mmap
import os
import signal
import sys
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

if sys.platform == "linux":
    import fcntl

logger = logging.getLogger(__name__)

MIN_BYTES = 32 * 2**20  # smaller files are read in milliseconds
POLL_SECONDS = 0.1  # how long a writer waits at most until we see it
PIECE_BYTES = 64 * 2**20  # copied at a time, so that nothing is in memory twice
MIN_BREAK_SECONDS = 20  # where an administrator gives us less time to copy gigabytes, we do not begin
BREAK_TIME = Path("/proc/sys/fs/lease-break-time")
# By statfs(2): ext2 to 4, XFS, Btrfs, F2FS, tmpfs. A network's or FUSE's file can change behind the kernel's back.
FILE_SYSTEMS = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994})
_MADV_POPULATE_READ = 22  # Linux 5.14; says EFAULT or EIO where a touch would be a SIGBUS
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_MAP_FAILED = ctypes.c_void_p(-1).value


@dataclass
class _Lease:
    """What the watching thread knows: no reference to the mapping, which dies with its last tensor."""

    name: str
    fd: int
    address: int
    spans: list[tuple[int, int]] = field(default_factory=list)  # offsets of what tensors lie over
    is_broken: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)  # of the two above


class LeasedMap:
    """A file in memory, private: writing to it never reaches the file. Lives until its last tensor is gone."""

    def __init__(self, mapping: mmap.mmap, lease: _Lease) -> None:
        self._mapping = mapping
        self._lease = lease

    def tensor(self, offset: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
        """The tensor that lies `offset` bytes from the file's beginning, over the mapping itself. None where its place
        is not aligned or past the end, or the file is being written to by now: then it has to be read.

        Raises OSError where the disk cannot be read.
        """
        count = torch.Size(shape).numel()
        size = count * dtype.itemsize
        if count == 0 or offset % dtype.itemsize or offset + size > len(self._mapping):
            return None
        with self._lease.lock:
            if self._lease.is_broken:
                return None
            self._lease.spans.append((offset, offset + size))
        self._populate(offset, size)
        return torch.frombuffer(self._mapping, dtype=dtype, count=count, offset=offset).view(shape)

    def _populate(self, offset: int, size: int) -> None:
        """Have it in memory now: an error of the disk is then an error, not the end of the process."""
        begin = offset - offset % mmap.PAGESIZE
        result = _libc().madvise(self._lease.address + begin, offset + size - begin, _MADV_POPULATE_READ)
        if result and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):  # of a kernel before 5.14
            raise OSError(errno.EIO, os.strerror(errno.EIO), self._lease.name)


def map_under_lease(path: Path) -> LeasedMap | None:
    """The file, mapped under a lease; None where that is not possible here, with nothing held."""
    if sys.platform != "linux" or sys.maxsize < 2**32 or not _time_enough():
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(fd).st_size < MIN_BYTES or _file_system(fd) not in FILE_SYSTEMS:
            raise OSError("too small, or not local")
        fcntl.fcntl(
            fd, fcntl.F_SETSIG, signal.SIGURG
        )  # ignored by default; without this a break would kill us by SIGIO
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        mapping = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        os.close(fd)
        logger.debug("%s is read, not mapped: %s", path.name, error)
        return None
    lease = _Lease(path.name, fd, ctypes.addressof(ctypes.c_char.from_buffer(mapping)))
    weakref.finalize(mapping, _let_go, fd).atexit = False  # at the end of the process the kernel does it
    threading.Thread(target=_watch, args=(weakref.ref(mapping), lease), name=f"lease {path.name}", daemon=True).start()
    return LeasedMap(mapping, lease)


def _watch(mapping: weakref.ref[mmap.mmap], lease: _Lease) -> None:
    """Until the mapping is gone: look whether somebody waits to write to its file."""
    while True:
        # While the mapping is referred to here it cannot go, nor its descriptor be closed and given to another file.
        mapping_now = mapping()
        if mapping_now is None:
            return
        if _has_writer_waiting(lease.fd):
            _detach(lease)
            fcntl.fcntl(lease.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            return
        del mapping_now
        time.sleep(POLL_SECONDS)


def _has_writer_waiting(fd: int) -> bool:
    """While a writer waits, the kernel tells the kind of lease that we shall go down to: none."""
    return fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK


def _detach(lease: _Lease) -> None:
    """Copy what tensors lie over to memory of its own, under the same addresses."""
    start = time.monotonic()
    with lease.lock:
        lease.is_broken = True
        spans = _pages(lease.spans)
    total = 0
    try:
        for begin, end in spans:
            for at in range(begin, end, PIECE_BYTES):
                size = min(PIECE_BYTES, end - at)
                _replace(lease.address + at, size)
                total += size
    except OSError:
        logger.exception("%s is being written to, and its weights could not be copied in time", lease.name)
        return
    seconds = time.monotonic() - start
    logger.info("%s is being written to; %d MiB of weights copied in %.1f s", lease.name, total // 2**20, seconds)


def _pages(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans as whole pages, in order, joined where they touch."""
    ranges: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        first, last = begin // mmap.PAGESIZE * mmap.PAGESIZE, -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        if ranges and first <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(last, ranges[-1][1])
        else:
            ranges.append((first, last))
    return ranges


def _replace(address: int, size: int) -> None:
    """New memory with the same bytes in the place of these pages. The move is one step for every other thread: who
    touches a page meanwhile waits, and finds the same values."""
    libc = _libc()
    copy = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if copy == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "no memory to copy weights to")
    ctypes.memmove(copy, address, size)  # lets other threads run
    if libc.mremap(copy, size, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, address) == _MAP_FAILED:
        number = ctypes.get_errno()
        libc.munmap(copy, size)
        raise OSError(number, os.strerror(number))


def _let_go(fd: int) -> None:
    """The last tensor is gone. The mapping has a copy of the descriptor, and with it the lease, a moment longer."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(fd)


def _time_enough() -> bool:
    try:
        return int(BREAK_TIME.read_text()) >= MIN_BREAK_SECONDS
    except (OSError, ValueError):
        return False


def _file_system(fd: int) -> int:
    """What kind of file system a file lies on, by its magic number."""
    answer = ctypes.create_string_buffer(512)  # struct statfs, whose first field it is
    if _libc().fstatfs(fd, answer):
        raise OSError(ctypes.get_errno(), "fstatfs")
    return ctypes.c_long.from_buffer(answer).value & 0xFFFFFFFF


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    libc.mmap.restype, libc.mremap.restype = pointer, pointer
    libc.mmap.argtypes = [pointer, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
    libc.mremap.argtypes = [pointer, size, size, ctypes.c_int, pointer]
    libc.munmap.argtypes = [pointer, size]
    libc.madvise.argtypes = [pointer, size, ctypes.c_int]
    return libc
