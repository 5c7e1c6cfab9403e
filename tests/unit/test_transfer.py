"""What a disk's streams begin with, which snapshots travel, and that an interrupted stream is resumed or given up."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import WEB, Node

from zfsext import local, records, streams, transfer, zfs
from zfsext.config import Config
from zfsext.errors import Busy, NotHere, Refused, Speechless
from zfsext.local import Local
from zfsext.ownership import OWNER, REPLICA, SEALED, TICKET, Generation, Record, Round
from zfsext.transfer import Progress, Sender, There

CONFIG = Config(["zfs/vm"], "16K", "", "thin")
NAME = f"zfs/vm/{WEB}"
NOW, BEFORE, PROMOTED = Generation(0, 2), Generation(0, 1), Generation(7 << 20, 0)
#: The rounds of the tests: one before the last hand-over, and three after it.
ROUNDS = {"old": Round(BEFORE, 7), **{f"r{number}": Round(NOW, number) for number in (1, 2, 3)}}
SHORT = {name: f"zfsext-{which}" for name, which in ROUNDS.items()}
COPY = Record(REPLICA, NOW)

Disk = Callable[[str], Local]


@pytest.fixture
def disk(node: Node, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Return what makes the owner's disk. Its snapshots are words, oldest first, each its own guid.

    `r1+` is held, `#r1` has left its bookmark alone, and of `r1#` there are both.
    """

    def made(words: str) -> Local:
        snapshots, bookmarks = [], []
        for txg, word in enumerate(words.split(), 100):
            name = word.strip("#+")
            short = SHORT.get(name, name)
            if not word.startswith("#"):
                snapshots.append(zfs.Snapshot(f"{NAME}@{short}", word.count("+"), [], name, txg))
            if "#" in word:
                bookmarks.append(zfs.Bookmark(f"{NAME}#{short}", name, txg))
        monkeypatch.setattr(zfs, "snapshots", lambda _: snapshots)
        monkeypatch.setattr(zfs, "bookmarks", lambda _: bookmarks)
        node.disk(WEB, zfsext_id="11", zfsext_generation=str(NOW), zfsext_stamp="4711", zfsext_size="64")
        return local.require(WEB, CONFIG)

    return made


def has(words: str, record: Record | None = COPY, token: str = "") -> There:
    """Return another node's copy with these snapshots, oldest first. After `r1!` a byte was written, for each !."""
    snapshots, written, since = {}, {}, 0
    for word in reversed(words.split()):
        name = word.strip("!")
        snapshots[name] = SHORT.get(name, name)
        since += word.count("!")
        written[name] = since
    snapshots = dict(reversed(snapshots.items()))
    return There("node2", record, "11" if record else None, snapshots, written, token)


def planned(here: Local, last: str, there: There) -> str:
    """Return the streams in words, such as `*>r1 r1>r2`: * is the whole."""
    names = {short: name for name, short in SHORT.items()}

    def word(full: str | None) -> str:
        if full is None:
            return "*"
        dataset, mark, short = full.rpartition("#" if "#" in full else "@")
        assert dataset == NAME
        return mark.strip("@") + names.get(short, short)

    steps = transfer.plan(here, f"{NAME}@{SHORT[last]}", there)
    return " ".join(f"{word(base)}>{word(snapshot)}" for base, snapshot in steps)


def test_a_snapshot_whose_name_has_no_room_there_is_said_before_it_is_sent(disk: Disk) -> None:
    longest = "x" * (255 - len(f"zfs/vm-standby/{WEB}@"))
    assert planned(disk(f"{longest} r1"), "r1", has("", None)) == f"*>{longest} {longest}>r1"
    with pytest.raises(Refused, match=f"^{NAME}@{longest}x would have too long a name in the standby place"):
        planned(disk(f"{longest}x r1"), "r1", has("", None))
    assert planned(disk(f"{longest}x r1 r2"), "r2", has("r1")) == "r1>r2"


@pytest.mark.parametrize(
    ("ours", "last", "theirs", "steps"),
    [
        ("r1", "r1", "", "*>r1"),
        ("monday tuesday r1", "r1", "", "*>monday monday>tuesday tuesday>r1"),
        ("r1 r2", "r2", "r1", "r1>r2"),
        ("r1 monday r2", "r2", "r1", "r1>monday monday>r2"),
        ("monday r1 tuesday r2", "r2", "monday", "monday>tuesday tuesday>r2"),
        ("monday r1 r2", "r2", "monday r1", "r1>r2"),
        ("monday r1", "r1", "r1 monday", ""),
        # Of rounds only what a third node's next increment begins with goes along.
        ("old r1 monday r2 r3", "r3", "", "*>monday monday>r3"),
        ("old r1+ monday r2+ r3", "r3", "", "*>r1 r1>monday monday>r2 r2>r3"),
        ("old r1+ r2 r3", "r3", "old", "old>r1 r1>r3"),
        # What was taken after the round does not belong to it.
        ("r1 r2 monday r3", "r2", "r1", "r1>r2"),
        ("r1 r2 monday+ r3+", "r2", "", "*>r2"),
    ],
)
def test_a_stream_begins_with_the_newest_that_both_have(
    disk: Disk, ours: str, last: str, theirs: str, steps: str
) -> None:
    assert planned(disk(ours), last, has(theirs)) == steps


@pytest.mark.parametrize("private", ["syncoid_x", "__simplesnap_x", "zrepl_last_x", "zfsext-export"])
def test_what_other_tools_keep_for_themselves_stays(disk: Disk, private: str) -> None:
    assert planned(disk(f"r1 {private} monday r2"), "r2", has("r1")) == "r1>monday monday>r2"
    assert planned(disk(f"{private}+ r1"), "r1", has("")) == "*>r1"
    with pytest.raises(Refused):  # not even what an increment begins with
        planned(disk(f"{private} r1"), "r1", has(private))


@pytest.mark.parametrize(
    ("ours", "theirs", "steps"),
    [
        ("#r1 r2", "r1", "#r1>r2"),
        ("#r1 monday r2", "r1", "#r1>monday monday>r2"),
        ("monday #r1 tuesday r2", "r1", "#r1>tuesday tuesday>r2"),
        ("#old #r1 r2", "old r1", "#r1>r2"),
        ("#r1 #old r2", "old r1", "#old>r2"),
        ("#other r1+ r2", "other", "#other>r1 r1>r2"),
        # A snapshot is at least as good as its own bookmark; a newer bookmark is better than any snapshot before it,
        # since an increment continues only what the copy ends in.
        ("r1# r2", "r1", "r1>r2"),
        ("#old r1 r2", "old r1", "r1>r2"),
        ("monday #r1 r2", "monday r1", "#r1>r2"),
        ("monday #r1 tuesday r2", "monday r1", "#r1>tuesday tuesday>r2"),
        ("r1 r2#", "r1 r2", ""),
    ],
)
def test_where_somebody_destroyed_a_snapshot_its_bookmark_does(disk: Disk, ours: str, theirs: str, steps: str) -> None:
    assert planned(disk(ours), "r2", has(theirs)) == steps


def test_a_copy_of_our_time_with_nothing_in_common_is_left_as_it_is(disk: Disk) -> None:
    with pytest.raises(Refused, match="'zfsext forget INSTANCE --on node2'"):
        planned(disk("#r1 r2"), "r2", has("monday"))
    assert planned(disk("r2"), "r2", has("")) == "*>r2"  # a first copy that broke off
    with pytest.raises(Refused, match="no snapshot in common"):  # a tool has pruned all that a complete one had
        planned(disk("r1 r2"), "r2", has("", COPY._replace(round=Round(NOW, 1))))


def test_a_copy_of_another_time_with_nothing_in_common_is_set_aside_for_a_whole_one(disk: Disk) -> None:
    assert planned(disk("r1 r2"), "r2", has("monday", Record(REPLICA, PROMOTED))) == "*>r2"
    assert planned(disk("r1 r2"), "r2", has("r1", Record(REPLICA, PROMOTED))) == "r1>r2"


def test_a_copy_of_another_time_that_is_ahead_of_what_both_have_is_set_aside_too(disk: Disk) -> None:
    other = Record(REPLICA, PROMOTED)
    assert planned(disk("r1 r2"), "r2", has("r1!", other)) == "*>r2"
    assert planned(disk("r1 r2"), "r2", has("r1! old", other)) == "*>r2"
    assert planned(disk("r1 r2"), "r2", has("r1 old daily", other)) == "r1>r2"  # they hold nothing that r1 has not
    assert planned(disk("#r1 r2"), "r2", has("r1!", other)) == "*>r2"
    assert planned(disk("r1 r2"), "r2", has("old! r1", other)) == "r1>r2"


COPY_NAME = f"zfs/vm-standby/{WEB}"


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ("r1!!", rf"\(2 bytes\).* on node2 'zfs rollback {COPY_NAME}@{SHORT['r1']}' undoes it$"),
        ("r1 daily!!", rf"'zfs rollback {COPY_NAME}@daily' undoes it$"),
        ("r1 daily! hourly!", rf"'zfs rollback -r {COPY_NAME}@daily' undoes it, and destroys the snapshots after"),
        ("r1! daily", rf"'zfs rollback -r {COPY_NAME}@{SHORT['r1']}' undoes it, and destroys the snapshots after"),
    ],
)
def test_a_copy_of_our_time_that_was_written_to_is_refused_with_what_undoes_it(
    disk: Disk, theirs: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        planned(disk("r1 r2"), "r2", has(theirs))


@pytest.mark.parametrize(
    ("record", "theirs", "anew"),
    [
        (None, "", True),
        (COPY, "", True),
        (COPY, "r1", False),
        (Record(REPLICA, BEFORE), "old", False),
        (Record(REPLICA, PROMOTED), "r1", False),
        (Record(REPLICA, PROMOTED), "r1!", True),
        (Record(REPLICA, PROMOTED), "monday", True),
        (Record(OWNER, PROMOTED), "r1", True),
    ],
)
def test_a_whole_copy_needs_room_whatever_is_there(disk: Disk, record: Record | None, theirs: str, anew: bool) -> None:
    assert transfer.anew(disk("old r1 syncoid_x"), has(theirs, record)) == anew


@pytest.mark.parametrize("theirs", ["r1 daily", "old! r1"])
def test_others_snapshots_of_a_copy_do_no_harm(disk: Disk, theirs: str) -> None:
    assert planned(disk("r1 r2"), "r2", has(theirs)) == "r1>r2"


@pytest.mark.parametrize(("state", "steps"), [(OWNER, "*>r2"), (TICKET, "*>r2"), (SEALED, "r1>r2"), (REPLICA, "r1>r2")])
def test_what_was_a_disk_itself_is_set_aside_and_not_continued(disk: Disk, state: str, steps: str) -> None:
    assert planned(disk("r1# r2"), "r2", has("r1", Record(state, NOW))) == steps
    assert planned(disk("#r1 r2"), "r2", has("r1", Record(state, NOW))).removeprefix("#") == steps


class Line:
    """The other node: it has what it was sent, up to a stream that breaks off."""

    def __init__(self, patch: pytest.MonkeyPatch, token: str = "", rest: str = "") -> None:
        self.name = "node2"
        self.token = token
        self.rest = rest
        self.has: dict[str, str] = {}
        self.record: Record | None = None
        self.identity: str | None = None
        self.asked: list[str] = []
        self.fields: dict[str, Any] = {}
        for name in ("send", "resume"):
            patch.setattr(streams, name, self.written(name))
        patch.setattr(streams, "size", lambda *_: 1000)
        patch.setattr(streams, "rest", self.what_is_left)

    def written(self, name: str) -> Callable[..., None]:
        def write(*of: object) -> None:
            self.asked.append(" ".join([name, *(str(each).removeprefix(NAME) for each in of[:-1])]))
            assert of[-1] == 77

        return write

    def what_is_left(self, token: str) -> tuple[str, int]:
        assert token == self.token
        if not self.rest:
            raise NotHere("it was destroyed")
        return self.rest, 2000

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        assert fields == ({"volume": WEB, "token": self.token} if op == "abort" else {"volume": WEB})
        self.asked.append(op)
        if op == "abort":
            self.token = ""
        told = records.told(self.record) if self.record else None
        written = dict.fromkeys(self.has, 0)
        found = {"snapshots": self.has, "written": written, "token": self.token}
        return {"record": told, "id": self.identity, **found}

    def stream(self, op: str, write: Callable[[int], None], passed: Callable[[int], None], **fields: Any) -> None:
        assert op == "receive"
        self.asked.append(f"{fields['snapshot']} {'whole' if fields['full'] else 'more'}")
        self.fields = fields
        write(77)
        passed(600)
        passed(500)
        name = next((name for name, short in SHORT.items() if short == fields["snapshot"]), fields["snapshot"])
        self.has[name] = fields["snapshot"]
        self.record, self.identity, self.token = COPY, "11", ""


def send(line: Line, here: Local, there: There, last: str = "r2", **options: Any) -> Sender:
    sender = Sender(line, "node1", **options)  # type: ignore[arg-type]
    sender.send(here, ROUNDS[last], BEFORE, there)
    return sender


def test_each_step_is_a_stream_of_its_own(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    sender = send(line, disk("monday r1 r2"), has("", None))
    assert line.asked == [
        "monday whole",
        "send @monday None",
        f"{SHORT['r2']} more",
        f"send @{SHORT['r2']} @monday",
    ]
    assert sender.sent == 2200


def test_the_other_node_is_told_what_it_must_know(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    here = disk("r1")
    here.copy.dataset._properties |= {"compression": ("zstd", "local"), "recordsize": ("65536", "local")}
    send(line, here, has("", None), "r1")
    assert line.fields == {
        "volume": WEB,
        "parent": "zfs/vm",
        "snapshot": SHORT["r1"],
        "full": True,
        "generation": "0.2",
        "claim": "0.1",
        "facts": {"zfsext:id": "11", "zfsext:size": "64"},
        "recordsize": 65536,
        "compression": "zstd",
    }
    here.copy.dataset._properties["compression"] = ("zstd", "inherited from zfs/vm")
    send(line, here, has("", None), "r1")
    assert line.fields["compression"] == ""


def test_progress_never_tells_of_more_than_all(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    send(Line(monkeypatch), disk("r1"), has("", None), "r1", said=told.append)
    assert told == [Progress(WEB, 600, 1000), Progress(WEB, 1100, 1100)]


def test_a_transfer_waits_until_what_it_sent_may_be_gone(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 50 + sum(slept))
    monkeypatch.setattr(time, "sleep", slept.append)
    send(Line(monkeypatch), disk("r1"), has("", None), "r1")
    assert slept == []
    send(Line(monkeypatch), disk("r1"), has("", None), "r1", bandwidth=100)
    assert slept == [6.0, 5.0]


def test_what_broke_off_is_resumed_and_the_rest_follows(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch, "1-abc", "r1")
    told: list[Progress] = []
    send(line, disk("r1+ r2"), has("", COPY, "1-abc"), said=told.append)
    r1, r2 = SHORT["r1"], SHORT["r2"]
    assert line.asked == [f"{r1} more", "resume 1-abc", "look", f"{r2} more", f"send @{r2} @{r1}"]
    assert told[0].total == 2000


@pytest.mark.parametrize("rest", ["", "destroyed"])
def test_what_cannot_be_resumed_is_thrown_away(disk: Disk, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
    line = Line(monkeypatch, "1-abc", rest)
    line.has = {"r1": SHORT["r1"]}
    line.record, line.identity = COPY, "11"
    send(line, disk("r1 r2"), has("r1", COPY, "1-abc"))
    r1, r2 = SHORT["r1"], SHORT["r2"]
    assert line.asked == ["abort", "look", f"{r2} more", f"send @{r2} @{r1}"]


def test_a_transfer_that_never_arrives_is_given_up(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)

    def stream(*_: object, **__: object) -> None:
        raise NotHere("no such snapshot")

    monkeypatch.setattr(line, "stream", stream)
    with pytest.raises(Speechless, match="in 5 attempts"):
        send(line, disk("r1"), has("", None), "r1")
    assert line.asked == ["look"] * (transfer.ATTEMPTS - 1)  # there is nothing to throw away


def test_any_other_error_is_the_callers(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)

    def stream(*_: object, **__: object) -> None:
        raise Busy("another transfer is under way")

    monkeypatch.setattr(line, "stream", stream)
    with pytest.raises(Busy):
        send(line, disk("r1"), has("", None), "r1")
    assert line.asked == []


def test_a_look_tells_what_is_there(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(monkeypatch)
    here = disk("r1")
    assert transfer.look(line, here) == There("node2", None, None, {}, {}, "")  # type: ignore[arg-type]
    line.record, line.identity, line.has, line.token = COPY, "11", {"r1": SHORT["r1"]}, "1-abc"
    assert transfer.look(line, here) == There("node2", COPY, "11", {"r1": SHORT["r1"]}, {"r1": 0}, "1-abc")  # type: ignore[arg-type]


@pytest.mark.parametrize("identity", ["12", None])
def test_another_disk_of_the_same_name_is_not_sent_over(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, identity: str | None
) -> None:
    line = Line(monkeypatch)
    line.record, line.identity = COPY, identity
    with pytest.raises(Refused, match=f"node2 has another disk of the name {WEB}"):
        transfer.look(line, disk("r1"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("root", "refused"), [("-", False), ("", False), ("zfs/vm", True)])
def test_an_encrypted_disk_is_not_sent(disk: Disk, root: str, refused: bool) -> None:
    plain, here = disk("r1"), disk("r1")
    plain.copy.dataset._properties["encryptionroot"] = ("-", "-")
    here.copy.dataset._properties["encryptionroot"] = (root, "-")
    if refused:
        with pytest.raises(Refused, match=f"{NAME} is encrypted"):
            transfer.require_plain([plain, here])
    else:
        transfer.require_plain([plain, here])
