"""The verbs that are about other nodes, too: what they pass on, and what is refused before anybody is asked."""

from collections.abc import Callable

import pytest
from conftest import WEB, Node

from zfsext import attachment, handover, lock, marks, opening, peer, verbs
from zfsext.config import Config
from zfsext.contract import ACTIONS, Request
from zfsext.errors import Busy, Refused

CONFIG = Config(["zfs/vm"], "16K", "", "thin")


def request(action: str, exclusive: bool = True) -> Request:
    found = Request(action, WEB)
    found.exclusive = exclusive
    return found


@pytest.fixture
def done(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Return what is done, with what."""
    calls: list[tuple[object, ...]] = []

    def doer(name: str) -> Callable[..., str]:
        def do(*arguments: object) -> str:
            calls.append((name, *(each for each in arguments if not isinstance(each, peer.Peers))))
            return "/dev/loop7"

        return do

    monkeypatch.setattr(opening, "attach", doer("attach"))
    monkeypatch.setattr(opening, "open_", doer("open"))
    monkeypatch.setattr(handover, "close", doer("close"))
    monkeypatch.setattr(attachment, "detach", doer("detach"))
    assert node.datasets
    return calls


def test_each_script_of_ganetis_has_its_verb() -> None:
    assert set(verbs.VERBS) == set(ACTIONS)
    assert set(verbs.LOCK_THEMSELVES) <= set(ACTIONS)


def test_only_attach_gives_a_device(done: list[tuple[object, ...]]) -> None:
    said = {name: verbs.VERBS[name](request(name), CONFIG) for name in ("attach", "open", "close", "detach")}
    assert said == {"attach": "/dev/loop7", "open": "", "close": "", "detach": ""}
    assert done == [(name, WEB, CONFIG) for name in said]


def test_a_live_migration_is_refused_before_anybody_is_asked(done: list[tuple[object, ...]]) -> None:
    words = "live migration is not possible, and the VM was left running.*always_failover=true"
    with pytest.raises(Refused, match=words):
        verbs.VERBS["open"](request("open", exclusive=False), CONFIG)
    assert done == []


def test_a_disk_without_a_device_is_in_use_no_more(
    done: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock.VolumeLock(WEB, "detach"):
        marks.note_opened(WEB)
        marks.set_fresh(WEB, "0.2")
        verbs.VERBS["detach"](request("detach"), CONFIG)
        assert (marks.opened(WEB), marks.fresh(WEB, "0.2")) == (False, True)
        marks.note_opened(WEB)

        def busy(*_: object) -> None:
            raise Busy("pid 12 (qemu) uses it")

        monkeypatch.setattr(attachment, "detach", busy)
        with pytest.raises(Busy):
            verbs.VERBS["detach"](request("detach"), CONFIG)
        assert marks.opened(WEB)
    assert done == [("detach", WEB, CONFIG)]
