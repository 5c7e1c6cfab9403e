"""The configuration file: read strictly, since a misspelt key could send a disk to the wrong place."""

from pathlib import Path

import pytest

from zfsext import config
from zfsext.errors import BadInput, ConfigError


def load(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "zfsext.conf"
    path.write_text(text, encoding="utf-8")
    return config.load(str(path))


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    loaded = config.load(str(tmp_path / "none"))
    assert (loaded.live, loaded.recordsize, loaded.compression, loaded.reservation) == (["zfs/vm"], "16K", "", "thin")


def test_the_shipped_example_changes_nothing_and_names_each_key(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "etc/zfsext.conf").read_text(encoding="utf-8")
    assert load(tmp_path, text).live == config.load(str(tmp_path / "none")).live
    assert all(f"\n#{key} = {value}".rstrip() + "\n" in text for key, value in config.DEFAULTS.items())


def test_what_is_set_is_taken(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, "[zfsext]\ndataset = tank/vm ssd/ganeti/vm\nrecordsize=32K\ncompression=lz4\nreservation=thick\n"
    )
    assert (loaded.live, loaded.recordsize) == (["tank/vm", "ssd/ganeti/vm"], "32K")
    assert (loaded.compression, loaded.reservation) == ("lz4", "thick")


def test_replicas_are_nodes_and_the_bandwidth_is_a_number(tmp_path: Path) -> None:
    loaded = load(tmp_path, "[zfsext]\nreplicas = node2  node3.example.com\nbandwidth = 50M\n")
    assert (loaded.replicas, loaded.bandwidth) == (["node2", "node3.example.com"], 50 << 20)
    loaded = config.load(str(tmp_path / "none"))
    assert (list(loaded.replicas), loaded.bandwidth) == ([], 0)


@pytest.mark.parametrize(
    ("text", "rate"), [("", 0), ("0", 0), ("65536", 65536), ("64K", 65536), ("50m", 50 << 20), ("2G", 2 << 30)]
)
def test_a_bandwidth_is_bytes_per_second(text: str, rate: int) -> None:
    assert config.bandwidth(text) == rate


@pytest.mark.parametrize("text", ["50", "1023", "M", "-1M", "1.5M", "50 M", "50MB", "50T", "9" * 13, "\u0665M", " "])
def test_a_bandwidth_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="bandwidth"):
        config.bandwidth(text)


@pytest.mark.parametrize(
    "text",
    [
        "[zfsext]\ndatasets = a/b\n",
        "[other]\n",
        "dataset = a/b\n",
        "[zfsext]\ndataset = a/b\ndataset = c/d\n",
        "[zfsext\n",
    ]
    + [
        f"[zfsext]\ndataset = {value}\n"
        for value in ("", "zfs", "/zfs/vm", "zfs/vm/", "zfs//vm", "zfs/vm@a", "zfs/../x")
    ]
    + [f"[zfsext]\ndataset = {value}\n" for value in ("-o/vm", "9/vm", "zfs/" + "v" * 252)]
    + [
        f"[zfsext]\ndataset = {value}\n"
        for value in ("zfs/vm zfs/vm", "zfs/vm zfs/vm/more", "zfs/vm zfs/vm-standby/more", "zfs/vm-standby", "a/%(b)s")
    ]
    + [f"[zfsext]\nreplicas = {value}\n" for value in ("node2,node3", "node2:node3", "-oProxyCommand", "a a", "a/b")]
    + ["[zfsext]\nbandwidth = 50\n", "[zfsext]\nbandwidth = 63K\n", "[zfsext]\nbandwidth = fast\n"],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "zfsext.conf"
    path.write_bytes(b"[zfsext]\ndataset = \xff/\xfe\n")
    with pytest.raises(ConfigError):
        config.load(str(path))
