"""Ganeti's variables: what is taken, and that all else is refused before anything runs."""

import pytest

from zfsext import contract
from zfsext.errors import BadInput

NAME = "81e8f43a-bb8f-4d09-8477-d35990fc50c3.ext.disk0"
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


@pytest.mark.parametrize("action", contract.ACTIONS)
def test_what_ganeti_says_is_understood(action: str) -> None:
    request = contract.parse(action, GOOD)
    assert request.volume == NAME
    assert request.action == action


def test_each_value_lands_where_it_belongs() -> None:
    grow = contract.parse("grow", GOOD)
    assert (grow.size, grow.new_size) == (2048, 4096)
    assert contract.parse("setinfo", GOOD).instance == "web1.example.com"
    assert contract.parse("open", GOOD).exclusive
    assert not contract.parse("open", GOOD | {"VOL_OPEN_EXCLUSIVE": "False"}).exclusive
    snapshot = contract.parse("snapshot", GOOD)
    assert (snapshot.snapshot, snapshot.size) == (NAME + ".snap", 2048)


def test_our_disk_parameters_are_found_by_their_names_on_the_command_line() -> None:
    request = contract.parse("create", GOOD | {"EXTP_RECORDSIZE": "16K", "EXTP_A-B": "x"})
    assert request.parameters == {"recordsize": "16K", "a-b": "x"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "../a",
        "/a",
        "a@b",
        "a#b",
        "a b",
        "a\nb",
        "-a",
        ".a",
        "a%b",
        "ä",
        "a\x00b",
        "a" * 129,
        "�",
        "a.new",
        "$(id)",
        "a;b",
        "a'b",
    ],
)
@pytest.mark.parametrize("action", contract.ACTIONS)
def test_a_name_that_is_more_than_a_name_is_refused(action: str, name: str) -> None:
    with pytest.raises(BadInput, match="VOL_NAME"):
        contract.parse(action, GOOD | {"VOL_NAME": name})


@pytest.mark.parametrize(
    "size", ["", "0", "-1", "+1", "1.5", "1e3", " 1", "1\n", "0x10", "٣", "9" * 20, str(1 << 43), "1_0"]
)
@pytest.mark.parametrize(
    ("action", "variable"), [("create", "VOL_SIZE"), ("grow", "VOL_NEW_SIZE"), ("snapshot", "VOL_SNAPSHOT_SIZE")]
)
def test_a_size_is_a_whole_number_of_mebibytes(action: str, variable: str, size: str) -> None:
    with pytest.raises(BadInput, match=variable):
        contract.parse(action, GOOD | {variable: size})


@pytest.mark.parametrize("action", contract.ACTIONS)
def test_a_missing_variable_is_named(action: str) -> None:
    needed = contract.ACTIONS[action] if action == "verify" else ("VOL_NAME", *contract.ACTIONS[action])
    for variable in needed:
        environ = {name: value for name, value in GOOD.items() if name != variable}
        with pytest.raises(BadInput, match=variable):
            contract.parse(action, environ)


@pytest.mark.parametrize(
    "text", ["", "web1", "originstname+", "originstname web1", "originstname+a/b", "originstname+" + "a" * 200]
)
def test_metadata_that_ganeti_would_not_send_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="VOL_METADATA"):
        contract.parse("setinfo", GOOD | {"VOL_METADATA": text})


def test_an_export_is_named_after_its_disk() -> None:
    with pytest.raises(BadInput, match="VOL_SNAPSHOT_NAME"):
        contract.parse("snapshot", GOOD | {"VOL_SNAPSHOT_NAME": "other.snap"})


@pytest.mark.parametrize("action", ["create", "grow", "setinfo", "snapshot", "close"])
def test_an_export_is_only_attached_opened_detached_and_removed(action: str) -> None:
    with pytest.raises(BadInput, match="gnt-backup"):
        contract.parse(action, GOOD | {"VOL_NAME": NAME + ".snap"})


def test_what_is_shown_of_a_value_fits_a_line_and_a_terminal() -> None:
    assert contract.shown("a\x1b[2J" + "b" * 10_000).startswith("'a\\x1b[2J")
    assert len(contract.shown("b" * 10_000)) == 80
