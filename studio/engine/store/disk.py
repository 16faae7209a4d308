"""Whether a folder is on a disk of this machine: SQLite's locks and its shared memory do not work over a network."""

from __future__ import annotations

from pathlib import Path

import psutil

# As the system calls them (mount, psutil). FUSE is not the network as such: fuseblk is an NTFS disk.
_SHARES = "afpfs afs beegfs ceph cifs coda davfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs3 nfs4 ocfs2 orangefs pvfs2"
_SHARES += " smb2 smb3 smbfs webdav"
_HOSTS = "9p prl_fs vboxsf vmhgfs"  # folders of the machine around a virtual one
_FUSE = "ceph curlftpfs davfs gcsfuse glusterfs goofys juicefs mount-s3 rclone s3fs sshfs vmhgfs-fuse"
NETWORK = frozenset([*_SHARES.split(), *_HOSTS.split(), *(f"fuse.{name}" for name in _FUSE.split())])


def network_type(folder: Path) -> str:
    """What kind of network drive the folder is on, such as "nfs4"; "" where it is on a disk of this machine, or nobody
    knows."""
    folder = folder.resolve()
    if str(folder).startswith("\\\\"):
        return "smb"
    best: tuple[int, str] = (0, "")
    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return ""
    for mount in mounts:
        point = Path(mount.mountpoint)
        if len(point.parts) >= best[0] and (point == folder or point in folder.parents):  # the last one lies on top
            is_remote = mount.fstype.lower() in NETWORK or "remote" in mount.opts.split(",")
            best = len(point.parts), (mount.fstype or "network") if is_remote else ""
    return best[1]
