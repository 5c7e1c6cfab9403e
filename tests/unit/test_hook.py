"""Ganeti's hooks: by its variables they know what is about to happen, and on which node they have something to do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from conftest import DB, WEB, Node

from zfsext import cluster, config, forgetting, guard, hook, nodes, pool, returning, seeding
from zfsext import node as node_module
from zfsext.config import Config
from zfsext.errors import BadInput, NoSpace, PoolUnavailable, Refused, Speechless, ZfsextError

CONFIG = Config(["zfs/vm", "tank/vm"], "16K", "", "thin")
NODE1, NODE2, NODE3 = (f"node{number}.example.com" for number in (1, 2, 3))
SECOND = WEB.replace("disk0", "disk2")
#: What Ganeti says of a VM with two zfsfile disks and one of another kind (doc/hooks.rst).
VM = {
    "GANETI_DATA_DIR": "/var/lib/ganeti",
    "GANETI_INSTANCE_NAME": "web1.example.com",
    "GANETI_INSTANCE_STATUS": "up",
    "GANETI_INSTANCE_BE_always_failover": "False",
    "GANETI_INSTANCE_DISK_COUNT": "3",
    "GANETI_INSTANCE_DISK0_ID": WEB,
    "GANETI_INSTANCE_DISK0_PROVIDER": "zfsfile",
    "GANETI_INSTANCE_DISK1_ID": "another/provider's",
    "GANETI_INSTANCE_DISK1_PROVIDER": "rbd",
    "GANETI_INSTANCE_DISK2_ID": SECOND,
    "GANETI_INSTANCE_DISK2_PROVIDER": "zfsfile",
    "GANETI_INSTANCE_DISK3_ID": DB,
    "GANETI_INSTANCE_DISK3_PROVIDER": "zfsfile",
}
MOVE = VM | {"GANETI_OLD_PRIMARY": NODE2, "GANETI_NEW_PRIMARY": NODE1}
FAILOVER = MOVE | {"GANETI_OP_CODE": "OP_INSTANCE_FAILOVER", "GANETI_FAILOVER_CLEANUP": "False"}
MIGRATE = MOVE | {
    "GANETI_OP_CODE": "OP_INSTANCE_MIGRATE",
    "GANETI_MIGRATE_CLEANUP": "False",
    "GANETI_MIGRATE_LIVE": "True",
}


class Done:
    """What the hooks had done, each as it was called; and the errors that somebody has."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def __call__(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error


@pytest.fixture
def done(node: Node, others: dict[str, nodes.Node], monkeypatch: pytest.MonkeyPatch) -> Done:
    """Return what is done on node1, the master of three nodes, of which one pool works."""
    found = Done()

    def run(verb: Callable[[], str], working: Sequence[str], doing: str, seconds: float = 0) -> str:
        found.calls.append(("guard", list(working), doing, seconds))
        return verb()

    def seed(volumes: Sequence[str], instance: str, primary: str, settings: Config) -> str:
        found("seed", list(volumes), instance, primary, settings)
        return ""

    monkeypatch.setattr(nodes, "is_this_node", lambda name, data: (name, data) == (NODE1, "/var/lib/ganeti"))
    monkeypatch.setattr(config, "load", lambda: CONFIG)
    monkeypatch.setattr(guard, "run", run)
    monkeypatch.setattr(seeding, "seed", seed)
    assert pool.works("zfs")
    assert node.datasets
    assert others
    return found


SEEDED = [
    ("guard", ["zfs"], "the move of web1.example.com", hook.SECONDS),
    ("seed", [WEB, SECOND], "web1.example.com", NODE2, CONFIG),
]


def test_before_a_failover_the_vms_disks_come_to_the_target(done: Done) -> None:
    hook.before_move(FAILOVER)
    assert done.calls == SEEDED


@pytest.mark.parametrize(
    "change",
    [
        {"GANETI_NEW_PRIMARY": NODE3},
        {"GANETI_DATA_DIR": "/srv/other"},
        {"GANETI_INSTANCE_DISK_COUNT": "0"},
        {"GANETI_INSTANCE_DISK0_PROVIDER": "rbd", "GANETI_INSTANCE_DISK2_PROVIDER": ""},
        {"GANETI_FAILOVER_CLEANUP": "True"},
        {"GANETI_MIGRATE_CLEANUP": "True"},
    ],
)
def test_there_is_nothing_to_do_elsewhere_or_without_disks_or_to_clean_up(done: Done, change: dict[str, str]) -> None:
    hook.before_move(FAILOVER | change)
    assert done.calls == []


def test_an_instance_without_disks_says_nothing_of_them(done: Done) -> None:
    hook.before_move({name: value for name, value in FAILOVER.items() if "DISK" not in name})
    assert done.calls == []


def test_ganetis_files_are_where_it_has_them_unless_it_says_so(done: Done) -> None:
    hook.before_move({name: value for name, value in FAILOVER.items() if name != "GANETI_DATA_DIR"})
    assert done.calls == SEEDED


def test_a_live_migration_is_refused_and_says_what_works(done: Done) -> None:
    with pytest.raises(Refused) as raised:
        hook.before_move(MIGRATE)
    assert str(raised.value).startswith("web1.example.com was not stopped: a zfsfile disk cannot be migrated live")
    assert "'gnt-instance failover web1.example.com'" in str(raised.value)
    assert "-B always_failover=true" in str(raised.value)
    assert done.calls == []


def test_a_status_that_ganeti_does_not_say_is_taken_for_running(done: Done) -> None:
    with pytest.raises(Refused, match="cannot be migrated live"):
        hook.before_move({name: value for name, value in MIGRATE.items() if name != "GANETI_INSTANCE_STATUS"})
    assert done.calls == []


@pytest.mark.parametrize(
    "change",
    [
        {"GANETI_INSTANCE_BE_always_failover": "True"},
        {"GANETI_INSTANCE_STATUS": "down"},
        {"GANETI_OP_CODE": "OP_INSTANCE_FAILOVER"},
    ],
)
def test_a_migration_that_is_none_is_a_failover(done: Done, change: dict[str, str]) -> None:
    hook.before_move(MIGRATE | change)
    assert done.calls == SEEDED


def test_the_parameter_may_be_in_capitals(done: Done) -> None:
    changed = {name: value for name, value in MIGRATE.items() if "always" not in name}
    hook.before_move(changed | {"GANETI_INSTANCE_BE_ALWAYS_FAILOVER": "True"})
    assert done.calls == SEEDED


def test_a_migration_is_cleaned_up_after_though_it_is_live(done: Done) -> None:
    hook.before_move(MIGRATE | {"GANETI_MIGRATE_CLEANUP": "True"})
    assert done.calls == []


def test_a_target_that_cannot_have_disks_says_why(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = ["zfs/vm does not exist", "losetup is missing"]
    monkeypatch.setattr(node_module, "findings", lambda settings: findings if settings is CONFIG else [])
    with pytest.raises(Refused, match=f"(?s)was not stopped: {NODE1} cannot have zfsfile disks:.zfs/vm.*.losetup is"):
        hook.before_move(FAILOVER)
    assert done.calls == []


@pytest.mark.parametrize("error", [NoSpace("no room on it"), PoolUnavailable("gone"), OSError(5, "I/O error")])
def test_what_speaks_against_the_move_says_that_the_vm_runs_on(done: Done, error: Exception) -> None:
    done.error = error
    with pytest.raises(Refused) as raised:
        hook.before_move(FAILOVER)
    assert str(raised.value) == f"web1.example.com was not stopped: {error}"


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "web.new"])
def test_a_disk_without_a_name_is_an_error(done: Done, name: str) -> None:
    with pytest.raises(BadInput, match="GANETI_INSTANCE_DISK2_ID is"):
        hook.before_move(FAILOVER | {"GANETI_INSTANCE_DISK2_ID": name})
    with pytest.raises(BadInput, match="GANETI_INSTANCE_DISK0_ID is"):
        hook.before_move({each: value for each, value in FAILOVER.items() if each != "GANETI_INSTANCE_DISK0_ID"})
    assert done.calls == []


@pytest.fixture
def ended(done: Done, monkeypatch: pytest.MonkeyPatch) -> Done:
    """Return what is done on the master, which has just removed a VM, but for its second disk."""

    def end_everywhere(volume: str, settings: Config, _: object) -> None:
        done("end", volume, settings)

    monkeypatch.setattr(forgetting, "end_everywhere", end_everywhere)
    monkeypatch.setattr(cluster, "knows", {WEB: False, SECOND: True}.get)
    return done


def test_after_a_remove_the_copies_of_what_ganeti_has_no_more_are_ended(ended: Done) -> None:
    hook.after_remove(VM)
    assert ended.calls == [("guard", ["zfs"], "the end of the disks", 0), ("end", WEB, CONFIG)]


def test_after_a_remove_the_master_alone_has_something_to_do(ended: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.after_remove(VM | {"GANETI_INSTANCE_DISK_COUNT": "0"})
    monkeypatch.setattr(nodes, "master", lambda: NODE2)
    hook.after_remove(VM)
    assert ended.calls == []


RETURN = {"GANETI_OP_TARGET": NODE2, "GANETI_OFFLINE": "False", "GANETI_OP_CODE": "OP_NODE_SET_PARAMS"}


@pytest.fixture
def judged(done: Done, monkeypatch: pytest.MonkeyPatch) -> Done:
    """Return what is done on the master, where the disks of node2 are looked at; node4 is marked offline, too."""
    nodes.peers()["node4.example.com"] = nodes.Node("node4.example.com", "192.0.2.4", offline=True)

    def judge(name: str, others: Sequence[str], settings: Config, _: object) -> list[str]:
        done("judge", name, others, settings)
        return ["disk web was promoted", "disk db was promoted"]

    monkeypatch.setattr(returning, "judge", judge)
    return done


JUDGED = [
    ("guard", ["zfs"], f"the look at {NODE2}'s disks", 0),
    ("judge", NODE2, [NODE3], CONFIG),
]


@pytest.mark.parametrize("call", [hook.before_node_changes, hook.judge_return])
def test_a_node_that_returns_sets_aside_what_is_old(
    judged: Done, capsys: pytest.CaptureFixture[str], call: Callable[[Mapping[str, str]], None]
) -> None:
    call(RETURN)
    assert judged.calls == JUDGED
    assert capsys.readouterr().err == "zfsext: disk web was promoted\ndisk db was promoted\n"


@pytest.mark.parametrize("offline", ["True", "", "None", None])
def test_only_a_node_that_returns_is_looked_at(judged: Done, offline: str | None) -> None:
    environ = {name: value for name, value in RETURN.items() if name != "GANETI_OFFLINE"}
    hook.before_node_changes(environ if offline is None else environ | {"GANETI_OFFLINE": offline})
    assert judged.calls == []


@pytest.mark.parametrize("target", ["node9.example.com", NODE1, "", None])
def test_the_master_is_never_away_and_who_is_no_node_cannot_return(judged: Done, target: str | None) -> None:
    environ = {name: value for name, value in RETURN.items() if name != "GANETI_OP_TARGET"}
    hook.before_node_changes(environ if target is None else environ | {"GANETI_OP_TARGET": target})
    assert judged.calls == []


def test_only_the_master_looks(judged: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "master", lambda: NODE3)
    hook.before_node_changes(RETURN)
    assert judged.calls == []


def test_nothing_is_said_of_a_node_without_old_disks(
    judged: Done, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(returning, "judge", lambda *_: [])
    hook.before_node_changes(RETURN)
    assert len(judged.calls) == 1
    assert capsys.readouterr().err == ""


def test_a_node_that_does_not_answer_does_not_return(judged: Done) -> None:
    judged.error = Speechless(f"{NODE2} does not answer")
    with pytest.raises(Speechless):
        hook.before_node_changes(RETURN)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (Refused("web1 was not stopped: no room"), 1, "zfsext: web1 was not stopped: no room\n"),
        (Speechless("node2 does not answer"), 1, "zfsext: node2 does not answer\n"),
        (OSError(5, "I/O error"), 1, "zfsext: [Errno 5] I/O error\n"),
    ],
)
def test_ganeti_goes_on_if_a_hook_says_nothing_against_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: ZfsextError | OSError | None,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("GANETI_OP_TARGET", NODE2)

    def asked(environ: Mapping[str, str]) -> None:
        assert environ["GANETI_OP_TARGET"] == NODE2
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as ended:
        hook.main(asked)
    assert (ended.value.code, capsys.readouterr().err) == (code, said)


def test_a_hook_ends_before_ganeti_ends_it() -> None:
    assert seeding.HOOK_SECONDS < hook.SECONDS < 900
