"""The protocol as it is does no harm, whatever happens within a budget and in whatever order."""

import pytest
from rules import PROTOCOL
from search import search
from world import Budget, World, cluster

QUICK = {
    "killed, given up": cluster(2, 1, Budget(operation=2, write=2, kill=1, timeout=1)),
    "late message, power cut": cluster(2, 1, Budget(operation=3, write=1, late=1, crash=1)),
    "dead node that returns": cluster(2, 1, Budget(operation=3, write=1, crash=2, offline=1)),
    "dead node, rounds": cluster(2, 1, Budget(operation=2, write=1, round=1, crash=1, offline=1, kill=1)),
    "two disks, late message": cluster(2, 2, Budget(operation=2, write=1, late=1, timeout=1)),
    "two disks, lost answer": cluster(2, 2, Budget(operation=2, write=1, lost=1, kill=1)),
    "two disks, dead node": cluster(2, 2, Budget(operation=2, write=1, crash=1, offline=1, kill=1)),
    "three nodes, dead node": cluster(3, 1, Budget(operation=2, write=1, crash=1, offline=1), (1, 2)),
    "third node without a copy": cluster(3, 1, Budget(operation=2, write=1, crash=1, offline=1)),
    "rollback, round": cluster(2, 1, Budget(operation=2, write=2, round=1, rollback=1, kill=1)),
    "living node marked offline": cluster(2, 1, Budget(operation=3, write=1, mistaken=1)),
}

TWO_NODES = {
    "kills": cluster(2, 1, Budget(operation=3, write=2, kill=2, timeout=1)),
    "messages": cluster(2, 1, Budget(operation=3, write=1, lost=1, late=1, kill=1, timeout=1)),
    "power cut": cluster(2, 1, Budget(operation=3, write=2, crash=1, late=1, kill=1)),
    "dead node, late message": cluster(2, 1, Budget(operation=3, write=1, crash=1, offline=1, timeout=1, late=1)),
    "dead nodes": cluster(2, 1, Budget(operation=3, write=2, crash=2, offline=2)),
    "power and network cuts": cluster(2, 1, Budget(operation=3, write=1, crash=2, offline=1, cut=1)),
    "rounds": cluster(2, 1, Budget(operation=3, write=2, crash=1, offline=1, round=2, kill=1)),
    "rollbacks": cluster(2, 1, Budget(operation=3, write=1, round=1, rollback=2, crash=1, offline=1, kill=1)),
    "two disks, rollback": cluster(2, 2, Budget(operation=2, write=2, round=1, rollback=1, crash=1, offline=1)),
    "two disks, rounds": cluster(2, 2, Budget(operation=2, write=2, crash=1, offline=1, round=1, kill=1)),
    "two disks, cuts": cluster(2, 2, Budget(operation=2, write=1, crash=1, offline=1, cut=1, kill=1)),
    "two disks, kills": cluster(2, 2, Budget(operation=3, write=1, kill=1, timeout=1)),
    "two disks, late message": cluster(2, 2, Budget(operation=2, write=1, late=1, timeout=1)),
    "two disks, lost answer": cluster(2, 2, Budget(operation=2, write=1, lost=1, kill=1)),
}

THREE_NODES = {
    "kill": cluster(3, 1, Budget(operation=2, write=1, crash=1, offline=1, kill=1), (1, 2)),
    "round": cluster(3, 1, Budget(operation=3, write=1, crash=1, offline=1, round=1), (1, 2)),
    "dead nodes": cluster(3, 1, Budget(operation=3, write=1, crash=2, offline=2), (1, 2)),
    "late message": cluster(3, 1, Budget(operation=2, write=1, crash=1, offline=1, late=1), (1, 2)),
    "rollback": cluster(3, 1, Budget(operation=2, write=1, round=2, rollback=1, crash=1, offline=1), (1, 2)),
    "cuts": cluster(3, 1, Budget(operation=2, write=1, cut=1, crash=1, offline=1), (1, 2)),
}


@pytest.mark.parametrize("start", QUICK.values(), ids=QUICK)
def test_no_harm(start: World) -> None:
    outcome = search(PROTOCOL, start, 300_000)
    assert not outcome.counterexample, str(outcome)


@pytest.mark.proof
@pytest.mark.parametrize("name", TWO_NODES)
def test_no_harm_between_two_nodes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    prove(f"two nodes, {name}", TWO_NODES[name], capsys)


@pytest.mark.proof
@pytest.mark.parametrize("name", THREE_NODES)
def test_no_harm_between_three_nodes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    prove(f"three nodes, {name}", THREE_NODES[name], capsys)


def prove(name: str, start: World, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = search(PROTOCOL, start, 6_000_000)
    assert not outcome.counterexample, str(outcome)
    with capsys.disabled():
        print(f"\nmodel: {name}: {outcome.worlds} worlds")
