"""What a thick disk sets aside covers its data and every block that points to it."""

import pytest

from zfsext import reservation

MIB = 1 << 20


@pytest.mark.parametrize("recordsize", [4096, 16384, 65536, 131072, MIB])
@pytest.mark.parametrize("mebibytes", [1, 64, 2048, 1 << 20])
def test_it_is_more_than_the_data_and_not_much_more(mebibytes: int, recordsize: int) -> None:
    data = mebibytes * MIB
    blocks = data // recordsize
    assert data + 2 * 128 * blocks < reservation.data(mebibytes, recordsize)
    assert reservation.data(mebibytes, recordsize) <= data + 3 * 128 * blocks + 8 * MIB


@pytest.mark.parametrize("mebibytes", [1, 2048, 1 << 20])
def test_a_write_waits_before_it_is_charged_to_the_pool(mebibytes: int) -> None:
    wanted = reservation.properties(mebibytes, 65536)
    assert list(wanted) == ["reservation", "refquota", "refreservation"], "ZFS refuses a refreservation above refquota"
    assert wanted["refquota"] == wanted["refreservation"] >= reservation.data(mebibytes, 65536) + 96 * MIB
    assert wanted["reservation"] >= wanted["refquota"] + 24 * 4 * MIB


def test_a_size_that_is_no_multiple_of_recordsize_is_rounded_up() -> None:
    assert reservation.data(1, 4 * MIB) >= 4 * MIB
