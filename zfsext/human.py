"""Numbers as people read them: bytes, ages, moments."""

from datetime import datetime

UNITS = "BKMGTPE"
MINUTE, HOUR, DAY = 60, 3600, 86400


def size(count: int) -> str:
    """Return a number of bytes as zfs prints it: 96K, 1.50G (lib/libzutil/zutil_nicenum.c: zfs_nicenum_format)."""
    power = max(0, (count.bit_length() - 1) // 10)
    unit = UNITS[power]
    if count % (1 << 10 * power) == 0:
        return f"{count >> 10 * power}{unit}"
    texts = [f"{count / (1 << 10 * power):.{digits}f}{unit}" for digits in (2, 1, 0)]
    return next((text for text in texts if len(text) <= 5), texts[-1])


def age(seconds: int) -> str:
    """Return how long ago that was, in the largest unit of which there are two: 90s, 15m, 47h, 3d. None is negative."""
    for length, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(0, seconds)}s"


def moment(seconds: int) -> str:
    """Return the local time of so many seconds since 1970, to the minute."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "minutes")
