"""Hostile values for the tests of the checks: what goes into them, and how many cases there are.

A hostile string is a good value with one edit, nasty fragments joined, or any text at all. As in os.environ, bytes
that are no UTF-8 are surrogates in it. There are NULs too, which no environment can have: no check relies on that.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: How many cases run in this process, in all. A package build, which tests the package and not the checks, wants fewer.
CASES = int(os.environ.get("ZFSEXT_CASES", "100000"))
#: Each run explores anew, and none is judged by a clock. A failure prints the case, and the line that replays it.
HOSTILE = settings(
    database=None, deadline=None, derandomize=False, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)

NAME = "81e8f43a-bb8f-4d09-8477-d35990fc50c3.ext.disk0"
#: What Ganeti says, each value of it. Of EXTP_* these two are Ganeti's own, and zfsfile does not read them.
GOOD = {
    "VOL_NAME": NAME,
    "VOL_SIZE": "2048",
    "VOL_NEW_SIZE": "4096",
    "VOL_METADATA": "originstname+web1.example.com",
    "VOL_OPEN_EXCLUSIVE": "True",
    "VOL_SNAPSHOT_NAME": NAME + ".snap",
    "VOL_SNAPSHOT_SIZE": "2048",
    "EXTP_PROVIDER": "zfsfile",
    "EXTP_ACCESS": "kernelspace",
}
#: Which of these each script reads.
READ = {
    "create": ("VOL_NAME", "VOL_SIZE"),
    "remove": ("VOL_NAME",),
    "attach": ("VOL_NAME",),
    "detach": ("VOL_NAME",),
    "grow": ("VOL_NAME", "VOL_SIZE", "VOL_NEW_SIZE"),
    "setinfo": ("VOL_NAME", "VOL_METADATA"),
    "verify": ("VOL_NAME",),
    "snapshot": ("VOL_NAME", "VOL_SNAPSHOT_NAME", "VOL_SNAPSHOT_SIZE"),
    "open": ("VOL_NAME", "VOL_OPEN_EXCLUSIVE"),
    "close": ("VOL_NAME",),
}
GOOD_PARAMETERS = {
    "dataset": ("zfs/vm", "tank/vm"),
    "recordsize": ("4k", "16K", "65536", "128KiB", "1M"),
    "compression": ("", "off", "lz4", "gzip-9", "zstd", "zstd-1", "zstd-19"),
    "reservation": ("thin", "thick"),
    "replicas": ("", "node2", "node2.example.com:node-3"),
}

FRAGMENTS = (
    *("", "/", ".", "..", "../", "/..", "//", "/etc/passwd", "~", "*", "@", "@a", "#", "#a", "%", ":", ",", "=", "+"),
    *(" ", "\n", "\r", "\t", "\v", "\0", "\x1b[2J", "\x7f", "\x85", "\xa0", "\u2028", "\u202e", "\ufeff"),
    *("-", "-r", "--help", "$(id)", "`id`", ";", "|", "&", "'", '"', "\\", "%s", "{}", "VOL_NAME", "EXTP_"),
    *(".new", ".snap", "-standby", ".lock", "zfs/vm", "True", "False", "None", "originstname+", "K", "KiB", "M", "b"),
    *("0", "1", "9", "-1", "+1", "1.5", "1e3", "0x10", "1_0", "inf", "nan", "8796093022207", "8796093022208"),
    *("ä", "\u0131", "\u212a", "\u017f", "²", "٣", "\uff11", "e\u0301", "\udcff", "\udc80\udcfe", "\ud800", "\udfff"),
    *("a" * 64, "a" * 10_000, "9" * 10_000, "/" * 10_000, "\udcff" * 10_000, "\n" * 10_000),
)

#: What is done to a good value: None, it is missing; a text is there instead; (place, text) is put into it.
Edit = str | tuple[int, str] | None
EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.tuples(st.integers(0, 100), st.sampled_from(FRAGMENTS)),
    st.sampled_from([one + other for one in FRAGMENTS for other in FRAGMENTS if len(one + other) < 100]),
    st.text(st.characters(), max_size=12),
    st.integers(-(1 << 70), 1 << 70).map(str),
    st.none(),
)


def edited(good: str, edit: Edit) -> str | None:
    """Return what the edit makes of a good value. An even place is between two characters, an odd one is on one."""
    if isinstance(edit, tuple):
        place, text = edit
        place %= 2 * len(good) + 1
        return good[: place // 2] + text + good[(place + 1) // 2 :]
    return edit


#: A script, and which of its variables are edited: each alone, all, or the name of a disk parameter.
TARGETS = [
    *((action, (variable,)) for action, variables in READ.items() for variable in variables),
    *((action, variables) for action, variables in READ.items() if len(variables) > 1),
    *((action, ("EXTP_",)) for action in ("create", "verify")),
]


def environment(edited_ones: tuple[str, ...], edit: Edit) -> dict[str, str]:
    """Return what Ganeti says, with these variables edited. As with Ganeti, the snapshot is named after the disk."""
    changed: dict[str, str | None] = {
        **GOOD,
        **{name: edited(GOOD[name], edit) for name in edited_ones if name in GOOD},
    }
    if "VOL_SNAPSHOT_NAME" not in edited_ones:
        changed["VOL_SNAPSHOT_NAME"] = f"{changed['VOL_NAME']}.snap"
    if "EXTP_" in edited_ones:
        changed[f"EXTP_{edited('RECORDSIZE', edit)}"] = "16K"
    return {name: value for name, value in changed.items() if value is not None}


#: A disk parameter and a good value of it, to be edited; none, and the edit makes a name of its own.
PARAMETERS = [("", ""), *((name, good) for name, values in GOOD_PARAMETERS.items() for good in values)]

#: Contents of /etc/zfsext.conf, and the part of them to be edited.
CONFIG_FILES = (
    ("[zfsext]\ndataset = ", "zfs/vm"),
    ("[zfsext]\ndataset = ssd/vm ", "zfs/vm"),
    ("[zfsext]\nreplicas = ", "node2 node-3.example.com"),
    ("[zfsext]\nbandwidth = ", "50M"),
    ("", "[zfsext]\ndataset: zfs/vm\n  tank/vm\nrecordsize = 16K\n"),
)
