"""The mount table, as the kernel prints it."""

from pathlib import Path

from zfsext import mounts

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
40 22 0:41 / /zfs/vm/a rw,nosuid,noatime shared:2 master:3 - zfs zfs/vm/a rw,xattr,noacl
41 22 0:42 / /mnt/a\\040b ro,relatime - zfs zfs/vm-standby/a rw,xattr,noacl
42 22 0:43 / /mnt/c rw,relatime - zfs zfs/vm-standby/c ro,xattr,noacl
43 22 0:44 / /mnt/d rw - tmpfs  rw
44 22 0:45 / /mnt/e rw - tmpfs  ro
"""


def test_what_is_mounted_where_and_whether_to_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)
    table = mounts.table(f"..{tmp_path}")
    assert [(mount.directory, mount.kind, mount.source, mount.writable) for mount in table] == [
        ("/", "ext4", "/dev/sda1", True),
        ("/zfs/vm/a", "zfs", "zfs/vm/a", True),
        ("/mnt/a b", "zfs", "zfs/vm-standby/a", False),
        ("/mnt/c", "zfs", "zfs/vm-standby/c", False),
        ("/mnt/d", "tmpfs", "", True),
        ("/mnt/e", "tmpfs", "", False),
    ]
    assert table[0].device == 0x801
