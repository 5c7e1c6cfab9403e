"""Disk parameters: the kernel believes what it is told, so what is told must be right."""

from pathlib import Path

import pytest

from zfsext import parameters
from zfsext.config import Config
from zfsext.errors import BadInput

CONFIG = Config(["zfs/vm", "tank/vm"], "64K", "", "thin")


def test_without_parameters_the_configuration_speaks() -> None:
    wanted = parameters.parse({}, CONFIG)
    assert (wanted.parent, wanted.recordsize, wanted.compression, wanted.thick) == ("zfs/vm", 65536, None, False)


def test_a_parameter_goes_before_the_configuration() -> None:
    given = {"dataset": "tank/vm", "recordsize": "16K", "compression": "zstd-3", "reservation": "thick"}
    wanted = parameters.parse({**given, "replicas": "node2:node3.example.com"}, CONFIG)
    assert (wanted.parent, wanted.recordsize, wanted.compression, wanted.thick) == ("tank/vm", 16384, 400, True)
    assert wanted.replicas == ["node2", "node3.example.com"]


def test_a_disk_can_be_without_replicas_where_the_configuration_has_some() -> None:
    settings = Config(["zfs/vm"], "64K", "", "thin", ["node2", "node3"])
    assert parameters.parse({}, settings).replicas == ["node2", "node3"]
    assert parameters.parse({"replicas": "node4"}, settings).replicas == ["node4"]
    assert parameters.parse({"replicas": ""}, settings).replicas == []


@pytest.mark.parametrize(
    ("text", "size"), [("4k", 4096), ("4096", 4096), ("128K", 131072), ("1M", 1 << 20), ("64KiB", 65536)]
)
def test_a_recordsize_is_read_as_zfs_reads_it(text: str, size: int) -> None:
    assert parameters.recordsize(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "3000", "0", "-4K", "2K", "2M", "4.5K", "K", "64KK", "64 K", "1G", "9" * 30, "٤K", "0x1000", "64K\u0131"],
)
def test_a_recordsize_that_would_panic_the_kernel_later_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="recordsize"):
        parameters.recordsize(text)


@pytest.mark.parametrize(
    ("text", "number"), [("off", 2), ("lz4", 15), ("gzip-9", 13), ("zstd", 16), ("zstd-1", 144), ("zstd-19", 2448)]
)
def test_a_compression_is_the_kernels_number(text: str, number: int) -> None:
    assert parameters.compression(text) == number


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compression", "LZ4"),
        ("compression", "zstd-20"),
        ("reservation", "none"),
        ("dataset", "zfs/other"),
        ("dataset", ""),
        ("replicas", "node2,node3"),
        ("replicas", "node2 node3"),
        ("replicas", "node2:"),
        ("replicas", "node2:node2"),
        ("replicas", "-oProxyCommand=id"),
        ("replicas", "node2\n"),
        ("replicas", "n\u00f6de2"),
        ("replicas", "n" * 254),
        ("replicas", ":".join(f"node{number}" for number in range(17))),
    ],
)
def test_a_malformed_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=name):
        parameters.parse({name: value}, CONFIG)


def test_an_unknown_parameter_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(BadInput) as error:
        parameters.parse({"record-size": "16K"}, CONFIG)
    assert "record-size" in str(error.value)
    assert all(name in str(error.value) for name in parameters.KNOWN)


def test_many_unknown_parameters_make_one_short_message() -> None:
    with pytest.raises(BadInput) as error:
        parameters.parse({f"unknown{number}": "x" for number in range(1000)}, CONFIG)
    assert len(str(error.value)) < 700


def test_parameters_list_names_what_is_known() -> None:
    lines = (Path(__file__).parents[2] / "extstorage/zfsfile/parameters.list").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == list(parameters.KNOWN)
