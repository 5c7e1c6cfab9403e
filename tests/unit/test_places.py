"""Which datasets below the parents can be disks."""

import pytest
from conftest import WEB

from zfsext import places


@pytest.mark.parametrize("name", [f"{WEB}.new", f"{WEB}.snap", f"{WEB}.aside-0.3", "a b", "", "-x", "web/child", "ä"])
def test_what_is_no_disk_by_its_name(name: str) -> None:
    assert not places.is_disk(name)
    assert places.is_disk(WEB)
