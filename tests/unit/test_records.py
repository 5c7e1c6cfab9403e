"""A copy's record in a dataset's properties, and between nodes: what was written is read again, or refused."""

import json
from collections.abc import Mapping

import pytest
from hostile import EDITS, HOSTILE, Edit, edited
from hypothesis import given, settings
from hypothesis import strategies as st

from zfsext import properties, records, zfs
from zfsext.errors import BadInput, Refused
from zfsext.ownership import CLAIMS, OWNER, REPLICA, SEALED, Generation, Record, Round

NAME = "zfs/vm/web"
GUID = "1234567890123456789"
NUMBERS = st.integers(0, 10**18 - 1)
NODES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,30}", fullmatch=True)
GENERATIONS = st.builds(Generation, NUMBERS, NUMBERS)
ROUNDS = st.builds(Round, GENERATIONS, st.integers(0, 10**9 - 1))
RECORDS = st.builds(
    Record,
    state=st.sampled_from(records.STATES),
    generation=GENERATIONS,
    floor=GENERATIONS,
    issued=st.none() | GENERATIONS,
    peer=st.just("") | NODES,
    over=st.frozensets(NODES, max_size=3),
    knows=st.frozensets(NODES, max_size=3),
    round=st.none() | ROUNDS,
    final=st.none() | ROUNDS,
    used=st.booleans(),
)
FULL = Record(
    SEALED,
    Generation(7, 3),
    Generation(7, 5),
    Generation(7, 4),
    "node2",
    frozenset({"node3"}),
    frozenset({"node2", "node4"}),
    Round(Generation(7, 2), 11),
    Round(Generation(7, 3), 12),
)

NO_GENERATIONS = ("1", "1.", "1.2-3", "1.-2", "a.b", " 1.2", "1.2\n", "٣.٣", "+1.2", f"1.{'9' * 19}", "9" * 5000 + ".1")
NO_ROUNDS = ("1.2", "1.2-", "-3", "1.2-x", "1.2-3-4", "1-2.3", "1.2-3\n", "zfsext-1.2-3", f"1.2-{'9' * 10}")
NOT_OURS = ("", "daily", "zfsext-", "zfsext-export", "zfsext-1.2", "1.2-3", "zfsext-zfsext-1.2-3", "zfsext-1.2-3x")


def dataset(given: Mapping[str, str | None], guid: str = GUID, source: str = "local") -> zfs.Dataset:
    """Return a dataset with these properties; what is None is inherited, and nothing is there to inherit."""
    found = zfs.Dataset(NAME)
    found._properties = dict.fromkeys(properties.RECORD, ("-", "-"))
    found._properties["guid"] = (guid, "-")
    found._properties |= {name: (value, source) for name, value in given.items() if value is not None}
    return found


@given(RECORDS)
def test_what_is_written_is_read_again(record: Record) -> None:
    written = records.changes(record, GUID)
    assert set(written) == set(properties.RECORD)
    assert all(value is None or (value and "\t" not in value and "\n" not in value) for value in written.values())
    assert records.of(dataset(written)) == record._replace(used=False)


@given(RECORDS)
def test_what_one_node_tells_another_hears(record: Record) -> None:
    assert records.heard(json.loads(json.dumps(records.told(record)))) == record


def test_each_value_is_in_its_property() -> None:
    assert records.changes(FULL, GUID) == {
        "zfsext:state": "sealed",
        "zfsext:schema": "1",
        "zfsext:stamp": GUID,
        "zfsext:generation": "7.3",
        "zfsext:floor": "7.5",
        "zfsext:issued": "7.4",
        "zfsext:peer": "node2",
        "zfsext:over": "node3",
        "zfsext:knows": "node2 node4",
        "zfsext:round": "7.2-11",
        "zfsext:final": "7.3-12",
    }
    plain = records.changes(Record(REPLICA, Generation(0, 1)), GUID)
    assert {name for name, value in plain.items() if value is not None} == {
        "zfsext:state",
        "zfsext:schema",
        "zfsext:generation",
    }


@pytest.mark.parametrize("state", records.STATES)
def test_a_claim_is_stamped_and_nothing_else(state: str) -> None:
    stamp = records.changes(Record(state), GUID)["zfsext:stamp"]
    assert stamp == (GUID if state in CLAIMS else None)


@pytest.mark.parametrize("state", records.STATES)
def test_a_claim_that_was_copied_is_none(state: str) -> None:
    found = records.of(dataset(records.changes(Record(state), GUID), guid="4711"))
    assert (found is None) == (state in CLAIMS)
    assert records.of(dataset(records.changes(Record(state), GUID), source="received")) is None
    assert records.of(dataset(records.changes(Record(state), GUID), source="inherited from zfs/vm")) is None


def test_a_replica_with_a_stamp_of_any_kind_is_a_replica() -> None:
    given = records.changes(Record(REPLICA), GUID) | {"zfsext:stamp": "4711"}
    assert records.of(dataset(given)) == Record(REPLICA)


def test_a_disk_of_an_earlier_version_is_the_owners_and_nothing_was_ever_known_of_it() -> None:
    old = dataset({"zfsext:state": "owner", "zfsext:size": "64", "zfsext:instance": "web1"})
    assert records.of(old) == Record(OWNER, Generation(0, 1), Generation(0, 0))


@pytest.mark.parametrize("state", [None, "", "creating", "aside", "export", "Owner", "owner "])
def test_what_is_no_copy_of_a_disk_has_no_record(state: str | None) -> None:
    assert records.of(dataset(records.changes(FULL, GUID) | {"zfsext:state": state})) is None


@pytest.mark.parametrize("schema", ["2", "10", "1.1", "one", "-1", "²", "9" * 5000])
@pytest.mark.parametrize("state", records.STATES)
def test_a_copy_of_a_later_version_is_left_alone(state: str, schema: str) -> None:
    with pytest.raises(Refused, match=f"{NAME} was written by a later zfsext"):
        records.of(dataset(records.changes(Record(state), GUID) | {"zfsext:schema": schema}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("generation", "floor", "issued") for value in NO_GENERATIONS),
        *((name, value) for name in ("round", "final") for value in NO_ROUNDS),
        *(("peer", value) for value in ("node2 node3", "-oProxyCommand=id", "a/b", "nöde", "n" * 256, ".a")),
        *((name, value) for name in ("over", "knows") for value in ("node2,node3", "node2 -x", "a/b", "n\x00")),
    ],
)
def test_what_zfsext_did_not_write_is_not_guessed_at(name: str, value: str) -> None:
    with pytest.raises(Refused, match=rf"{NAME} has properties that zfsext did not write: .* is no "):
        records.of(dataset(records.changes(FULL, GUID) | {f"zfsext:{name}": value}))
    with pytest.raises(BadInput):
        records.heard(records.told(FULL) | {name: value})


@settings(HOSTILE, max_examples=2000)
@given(st.sampled_from(["generation", "floor", "issued", "peer", "over", "knows", "round", "final", "schema"]), EDITS)
def test_any_text_is_read_or_refused(name: str, edit: Edit) -> None:
    good = records.changes(FULL, GUID)
    value = edited(str(good[f"zfsext:{name}"]), edit)
    try:
        record = records.of(dataset(good | {f"zfsext:{name}": value}))
    except Refused as error:
        assert len(str(error)) < 1000  # noqa: PT017
        return
    assert record is not None
    assert records.of(dataset(records.changes(record, GUID))) == record


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"state": "aside"},
        {"state": None},
        {"state": ["owner"]},
        {"state": "owner", "generation": 3},
        {"state": "owner", "knows": ["node2"]},
        {"state": "owner", "peer": None},
        {"state": "owner", "generation": "1"},
        [],
        "owner",
        7,
        True,
    ],
)
def test_what_is_no_record_is_not_heard(given: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        records.heard(given)


@pytest.mark.parametrize(("used", "heard"), [(True, True), (False, False), (None, False), ("true", False), (1, False)])
def test_only_a_plain_yes_is_use(used: object, heard: bool) -> None:
    assert records.heard({"state": "owner", "used": used}).used is heard


@given(ROUNDS)
def test_a_snapshot_is_known_by_its_name(which: Round) -> None:
    name = records.snapshot(NAME, which)
    assert name == f"{NAME}@zfsext-{which.generation.epoch}.{which.generation.seq}-{which.number}"
    assert records.of_snapshot(name.partition("@")[2]) == which


@pytest.mark.parametrize("short", NOT_OURS)
def test_others_snapshots_are_none_of_ours(short: str) -> None:
    assert records.of_snapshot(short) is None
