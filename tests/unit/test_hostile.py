"""Hostile input to each check, 100,000 cases of it: a value is good by the rules below, or refused by its name.

The rules are written here a second time, as regular expressions, and must agree with the checks in both directions.
That nothing runs before the checks is in test_hostile_scripts.py.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hostile import (
    CASES,
    CONFIG_FILES,
    EDITS,
    GOOD_PARAMETERS,
    HOSTILE,
    PARAMETERS,
    READ,
    TARGETS,
    Edit,
    edited,
    environment,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from zfsext import config, contract
from zfsext import parameters as disk_parameters
from zfsext.config import Config
from zfsext.errors import BadInput, ConfigError

SHARES = {"contract": CASES * 55 // 100, "parameters": CASES * 35 // 100, "config": CASES * 10 // 100}
DONE: Counter[str] = Counter()

LONGEST = 600
CONFIG = Config(["zfs/vm", "tank/vm"], "64K", "", "thin")
RECORDSIZES = {1 << bits for bits in range(12, 21)}
COMPRESSIONS = {None, 1, 2, 3, *range(5, 17), *(16 + 128 * level for level in range(1, 20))}

DISK = re.compile(r"(?!.*\.new\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MEBIBYTES = re.compile(r"(?=.{1,13}\Z)0*[1-9][0-9]*")
METADATA = re.compile(r"(?=.{0,128}\Z)originstname\+[A-Za-z0-9._+-]+")
RECORDSIZE = re.compile(r"([0-9]{1,7})([KkMm]?)[Ii]?[Bb]?")
COMPRESSION = re.compile(r"(on|off|lz4|zle|lzjb|gzip(-[1-9])?|zstd(-([1-9]|1[0-9]))?)?")
NODE = r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}"
REPLICAS = re.compile(rf"({NODE}(:{NODE}){{0,15}})?")
PARENT = re.compile(r"(?=.{1,255}\Z)(?!.*-standby\Z)[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_:-][A-Za-z0-9_.:-]*)+")


def good_variable(action: str, variable: str, value: str, environ: dict[str, str]) -> bool:
    """Tell whether the script must take this value."""
    if variable == "VOL_NAME":
        reads_exports = action in ("remove", "attach", "detach", "open", "verify")
        return DISK.fullmatch(value) is not None and (reads_exports or not value.endswith(".snap"))
    if variable == "VOL_SNAPSHOT_NAME":
        return DISK.fullmatch(value) is not None and value == f"{environ.get('VOL_NAME')}.snap"
    if variable == "VOL_METADATA":
        return METADATA.fullmatch(value) is not None
    if variable == "VOL_OPEN_EXCLUSIVE":
        return value in ("True", "False")
    return MEBIBYTES.fullmatch(value) is not None and int(value) < 1 << 43


def bad_variables(action: str, environ: dict[str, str]) -> set[str]:
    """Return those of the variables that the script reads and must refuse."""
    good = {name for name in READ[action] if name in environ and good_variable(action, name, environ[name], environ)}
    may_miss = {"VOL_NAME"} - set(environ) if action == "verify" else set()
    return set(READ[action]) - good - may_miss


def good_parameter(name: str, value: str) -> bool:
    """Tell whether there is such a disk parameter, and it can have this value."""
    if name == "dataset":
        return value in CONFIG.live
    if name == "recordsize":
        found = RECORDSIZE.fullmatch(value)
        return found is not None and int(found[1]) * {"": 1, "k": 1024, "m": 1 << 20}[found[2].lower()] in RECORDSIZES
    if name == "compression":
        return COMPRESSION.fullmatch(value) is not None
    if name == "replicas":
        return REPLICAS.fullmatch(value) is not None and len(set(value.split(":"))) == len(value.split(":"))
    return name == "reservation" and value in ("thin", "thick")


def refusal(check: Callable[[], object]) -> str:
    """Return what the check says, which fits a terminal and a log whatever the value was; nothing if it is content."""
    try:
        check()
    except BadInput as error:
        said = str(error)
    else:
        return ""
    assert re.fullmatch(rf"[ -~]{{20,{LONGEST}}}", said), said
    return said


@settings(HOSTILE, max_examples=SHARES["contract"])
@given(st.sampled_from(TARGETS), EDITS)
def test_contract(target: tuple[str, tuple[str, ...]], edit: Edit) -> None:
    DONE["contract"] += 1
    action, environ = target[0], environment(target[1], edit)
    bad = bad_variables(action, environ)
    said = refusal(lambda: contract.parse(action, environ))
    if said:
        assert said.split()[0] in bad
        return
    assert not bad
    request = contract.parse(action, environ)
    assert (request.action, request.volume) == (action, environ.get("VOL_NAME", ""))
    assert PurePosixPath("/zfs", request.volume + ".new").parts == ("/", "zfs", request.volume + ".new")
    assert not re.search(r"[@#%/\\\s\0]|\A[.-]", request.volume)
    sizes = [environ[name] for name in READ[action] if name.endswith("SIZE")]
    assert [request.size, request.new_size][: len(sizes)] == [int(size) for size in sizes]
    assert 0 <= min(request.size, request.new_size) <= max(request.size, request.new_size) < 1 << 43
    assert request.snapshot in ("", f"{request.volume}.snap")
    assert action != "setinfo" or environ["VOL_METADATA"] == f"originstname+{request.instance}"
    assert action != "open" or environ["VOL_OPEN_EXCLUSIVE"] == str(request.exclusive)
    ours = {name[5:].lower() for name in environ if name.startswith("EXTP_")} - {"provider", "access"}
    assert set(request.parameters) == (ours if action in ("create", "verify") else set())


@settings(HOSTILE, max_examples=SHARES["parameters"])
@given(st.sampled_from(PARAMETERS), EDITS, st.sampled_from((0, 1, 100)))
def test_parameters(target: tuple[str, str], edit: Edit, unknown_ones: int) -> None:
    DONE["parameters"] += 1
    name, value = target[0], edited(target[1], edit)
    given_ones = {} if not name or value is None else {name: value}
    if not name:
        given_ones |= {f"{edited('recordsize', edit)}{'?' * number}": "16K" for number in range(unknown_ones)}
    bad = {name for name, value in given_ones.items() if not good_parameter(name, value)}
    unknown = sorted(bad - set(GOOD_PARAMETERS))
    said = refusal(lambda: disk_parameters.parse(given_ones, CONFIG))
    if unknown:
        # Quotes and backslashes are left out, which are not the same in a name alone and among others.
        said, first = (re.sub(r"[\\'\"]", "", text) for text in (said, ascii(unknown[0])))
        assert said.startswith(f"unknown disk parameter {first[:15]}")
    elif said:
        assert said.split()[0] in bad
    else:
        assert not bad
        wanted = disk_parameters.parse(given_ones, CONFIG)
        assert wanted.parent == given_ones.get("dataset", "zfs/vm")
        assert wanted.recordsize in RECORDSIZES
        assert wanted.compression in COMPRESSIONS
        assert wanted.thick == (given_ones.get("reservation") == "thick")
        assert ":".join(wanted.replicas) == given_ones.get("replicas", "")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "zfsext.conf"


@settings(HOSTILE, max_examples=SHARES["config"])
@given(good=st.sampled_from(CONFIG_FILES), edit=EDITS, raw=st.sampled_from((b"", b"", b"", b"\xff", b"\n\x80=\0")))
def test_config(file: Path, good: tuple[str, str], edit: Edit, raw: bytes) -> None:
    DONE["config"] += 1
    # A surrogate becomes bytes that are no UTF-8.
    file.write_bytes((good[0] + (edited(good[1], edit) or "")).encode(errors="surrogatepass") + raw)
    try:
        loaded = config.load(str(file))
    except ConfigError as error:
        assert str(file) in str(error)  # noqa: PT017
        return
    assert loaded.live
    assert all(re.fullmatch(NODE, name) for name in loaded.replicas)
    assert loaded.bandwidth == 0 or 65536 <= loaded.bandwidth < 10**12 << 30
    for parent in loaded.live:
        assert PARENT.fullmatch(parent)
        assert ".." not in parent.split("/")
        assert not any(other.startswith((f"{parent}/", f"{parent}-standby/")) for other in loaded.live)


@settings(HOSTILE, max_examples=100)
@given(st.lists(st.sampled_from(("zfs/vm", "tank/a/b", "t.1:-_/9")), min_size=1, unique=True))
def test_a_good_config_is_taken(file: Path, parents: list[str]) -> None:
    file.write_text(f"[zfsext]\n# where disks are\ndataset = {' '.join(parents)}\n")
    assert config.load(str(file)).live == parents


def test_all_cases_ran(capsys: pytest.CaptureFixture[str]) -> None:
    if set(DONE) != set(SHARES):
        pytest.skip("only some of the tests above were chosen")
    with capsys.disabled():
        print(f"\nhostile cases: {DONE.total()} ({', '.join(f'{name} {done}' for name, done in DONE.items())})")
    assert DONE.total() >= CASES
