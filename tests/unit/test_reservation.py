"""What a thick disk sets aside covers its data and every block that points to it."""

import pytest

from zfsext import reservation

MIB = 1 << 20


@pytest.mark.parametrize("recordsize", [4096, 16384, 65536, 131072, MIB])
@pytest.mark.parametrize("mebibytes", [1, 64, 2048, 1 << 20])
def test_it_is_more_than_the_data_and_not_much_more(mebibytes: int, recordsize: int) -> None:
    data = mebibytes * MIB
    blocks = data // recordsize
    assert data + 2 * 128 * blocks < reservation.size(mebibytes, recordsize)
    assert reservation.size(mebibytes, recordsize) <= data + 3 * 128 * blocks + 8 * MIB


def test_a_size_that_is_no_multiple_of_recordsize_is_rounded_up() -> None:
    assert reservation.size(1, 4 * MIB) >= 4 * MIB
