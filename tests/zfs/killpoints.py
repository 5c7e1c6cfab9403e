"""Kill points, found by the kernel: every call of a script that may change something, and the script killed at it.

A clean run is traced by strace; in another run strace kills the process that makes one of those calls, just before
the call. It counts the calls of one name (and, with -P, on one path) in each process by itself, so the first process
that comes to its n-th such call is the one that dies. Where that is not the one meant, an earlier call of the same
stretch is taken, between which and the one meant nothing changes. Commands that a script runs are not followed: the
fork before each is a boundary, unless the command only reads, and what one of them changes happens between that and the
next call of the script.
"""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from conftest import Disk, Done, command

#: Calls that change nothing which outlives the calling process. All others are boundaries, also unforeseen ones.
_HARMLESS = """
access arch_prctl brk clock_nanosleep close close_range dup dup2 dup3 epoll_create1 epoll_ctl epoll_wait execve
exit exit_group faccessat2 fadvise64 fcntl flock fstat futex getcwd getdents64 getegid geteuid getgid getpid
getppid getrandom gettid getuid lseek lstat madvise mmap mprotect mremap munmap newfstatat pipe2 poll prctl
pread64 prlimit64 pselect6 read readlink rseq rt_sigaction rt_sigprocmask rt_sigreturn select set_robust_list
set_tid_address setpgid sigaltstack socket stat statfs sysinfo umask uname vfork wait4 wait6 TCGETS FIOCLEX FIONCLEX
LOOP_GET_STATUS64 ZFS_IOC_OBJSET_STATS ZFS_IOC_POOL_STATS ZFS_IOC_POOL_GET_PROPS ZFS_IOC_OBJSET_ZPLPROPS
ZFS_IOC_SNAPSHOT_LIST_NEXT ZFS_IOC_DATASET_LIST_NEXT ZFS_IOC_GET_HOLDS
"""
HARMLESS = frozenset(_HARMLESS.split())
LINE = re.compile(r"(\d+) +(\w+)\((.*)")
#: A call during which another process made one: the end of the first line, and the line with the rest.
UNFINISHED, RESUMED = " <unfinished ...>", re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
#: How a command begins that changes nothing, and how the line of a fork ends.
READS, CHILD = re.compile(r'"[^"]*/zfs", \["zfs", "(?:get|list|holds)"'), re.compile(r" = (\d+)$")
#: What strace says of a call on a descriptor, or on a path.
DESCRIPTOR, PATH = re.compile(r"\d+<([^>]+)>"), re.compile(r'[^"]*"(/[^"]+)"')
KILLED = "+++ killed by SIGKILL +++"


class Call(NamedTuple):
    """One call of a traced run: by which process, its name, on which path, and what strace said of it.

    number says the how manieth call of that name it is in its process, and on_path the how manieth on that path.
    """

    process: str
    name: str
    path: str
    number: int
    on_path: int
    text: str

    @property
    def changes(self) -> bool:
        """Whether it may change something that outlives the process."""
        if " = -1 E" in self.text or self.name in HARMLESS:
            return False
        if self.name in ("open", "openat"):
            return "O_CREAT" in self.text or "O_TRUNC" in self.text
        if self.name in ("write", "writev"):
            return not self.path.startswith("pipe:")
        if self.name == "bind":  # any other address than a path is free again when the process is gone
            return "AF_UNIX" in self.text
        return self.name != "ioctl" or not HARMLESS.intersection(re.findall(r"[A-Z0-9_]+", self.text))


class Point(NamedTuple):
    """Where to kill: at the number-th call of a name (on that path, if there is one); before is what comes then."""

    name: str
    path: str
    number: int
    before: str


def trace(log: Path, action: str, disk: Disk, variables: Mapping[str, str]) -> list[Call]:
    """Run the script to its end and return all that it called, in the order of time."""
    script = _strace(log, [], action, disk, variables)
    out, err = script.communicate()
    assert script.returncode == 0, Done(script.returncode, out, err)
    return list(calls_of(log))


def calls_of(log: Path) -> Iterator[Call]:
    """Yield what strace noted."""
    counts: Counter[tuple[str, ...]] = Counter()
    for line in _whole(log.read_text(encoding="utf-8", errors="replace").splitlines()):
        found = LINE.match(line)
        if found:
            process, name, text = found.groups()
            where = DESCRIPTOR.match(text) or PATH.match(text)
            path = where[1] if where else ""
            counts[process, name] += 1
            counts[process, name, path] += 1
            yield Call(process, name, path, counts[process, name], counts[process, name, path], text)


def _whole(lines: list[str]) -> list[str]:
    """Return the lines with what was in two parts put together, at the place of the first."""
    begun: dict[str, int] = {}
    for index, line in enumerate(lines):
        process = line.partition(" ")[0]
        if line.endswith(UNFINISHED):
            begun[process] = index
        elif (rest := RESUMED.match(line)) and process in begun:
            first = begun.pop(process)
            lines[first] = lines[first].removesuffix(UNFINISHED) + rest[2]
    return lines


def _readers(calls: list[Call]) -> set[str]:
    """Return the processes that become a command which changes nothing."""
    return {call.process for call in calls if call.name == "execve" and READS.match(call.text)}


def points(calls: list[Call], processes: bool = False) -> list[Point]:
    """Return one point before each call that changes something, and one when all is done and nothing said yet.

    That is at the end of the process that ends first. With processes it is that of the last one, of several that work
    side by side, so that a call which is never the first of its number has no point.
    """
    ends = [index for index, call in enumerate(calls) if call.name == "exit_group"]
    assert ends, "the traced script did not end"
    end = ends[-1] if processes else ends[0]
    first: dict[tuple[str, str, int], int] = {}
    for index, call in enumerate(calls):
        first.setdefault((call.name, "", call.number), index)
        first.setdefault((call.name, call.path, call.on_path), index)

    def at(index: int) -> Point | None:
        call = calls[index]
        if call.path.startswith("/") and first[call.name, call.path, call.on_path] == index:
            return Point(call.name, call.path, call.on_path, "")
        if first[call.name, "", call.number] == index:
            return Point(call.name, "", call.number, "")
        return None

    readers = _readers(calls)
    found = []
    begin = 0  # of the stretch in which nothing has changed since the last boundary
    for index, call in enumerate(calls[:end + 1]):
        child = CHILD.search(call.text) if call.name == "clone" else None
        reads = child is not None and child[1] in readers
        if (call.changes and not reads) or call.name == "exit_group":
            reachable = [point for earlier in range(begin, index + 1) if (point := at(earlier))]
            assert reachable or processes, f"no kill reaches {call}"
            found += [last._replace(before=f"{call.name}({call.text}") for last in reachable[-1:]]
            begin = index + 1
    return found


def kill(point: Point, group: bool, log: Path, action: str, disk: Disk, variables: Mapping[str, str]) -> None:
    """Run the script until it comes to the point; the process there dies, or with it the whole group."""
    script = _strace(log, _inject(point, "signal=KILL"), action, disk, variables)
    while group and script.poll() is None and KILLED not in log.read_text(encoding="utf-8", errors="replace"):
        time.sleep(0.005)
    if group:
        _kill_group(script.pid)
    script.communicate()
    assert KILLED in log.read_text(encoding="utf-8", errors="replace"), f"{action} did not come to {point}"


def hold(
    point: Point, log: Path, action: str, disk: Disk, variables: Mapping[str, str]
) -> "subprocess.Popen[str]":
    """Run the script until it comes to the point, where it stays for a minute."""
    script = _strace(log, _inject(point, "delay_enter=60s"), action, disk, variables)
    held, looks = _stopped(script.pid), 0
    while looks < 10:  # any other call stops a process for an instant only
        assert script.poll() is None, f"{action} did not come to {point}"
        time.sleep(0.2)
        now = _stopped(script.pid)
        held, looks = (held & now, looks + 1) if held & now else (now, 0)
    return script


def _stopped(session: int) -> set[str]:
    """Return the processes of the session that strace has stopped (proc(5): stat, the fields after the name)."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of, *_ = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if state == "t" and of == str(session):
            found.add(stat.parent.name)
    return found


def _inject(point: Point, what: str) -> list[str]:
    # Without --seccomp-bpf, with which strace 6.1 counts no further than to the first call.
    options = ["-e", f"trace={point.name}", "-e", f"inject={point.name}:{what}:when={point.number}"]
    return [*options, "-P", point.path] if point.path else options


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:  # all of it has ended meanwhile
        return


def _strace(
    log: Path, options: list[str], action: str, disk: Disk, variables: Mapping[str, str]
) -> "subprocess.Popen[str]":
    log.write_text("", encoding="utf-8")
    script, environ = command(action, disk.name, variables)
    return subprocess.Popen(
        ["strace", "-f", "-y", "-b", "execve", "-o", str(log), *options, script],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        umask=0o077,
        start_new_session=True,
    )
