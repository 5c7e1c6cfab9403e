"""Ganeti disks as raw images, each on a ZFS dataset of its own."""

__version__ = "0.1.0"
