"""Requests and bytes beside machines, and what AWS takes for them."""

from __future__ import annotations

import pytest

from scaledproc.backends.sagemaker.cost.charges import charges, check_route, requests_for
from scaledproc.errors import UsageError


@pytest.mark.parametrize(("size", "files", "requests"), [(0, 3, 3), (10, 1, 1), (2**23, 1, 2), (2**24 - 1, 1, 2)])
def test_a_file_takes_a_request_for_each_part(size: int, files: int, requests: int) -> None:
    assert requests_for(size, files) == requests


def test_all_charges_by_hand() -> None:
    found = charges(reads=1e6, writes=1e4, size=10**12, route="nat", dataset_encryption="each", encrypts_output=True)

    assert found.reads_usd == pytest.approx(0.4)
    assert found.writes_usd == pytest.approx(0.05)
    assert found.kms_usd == pytest.approx(1.01e6 / 1e4 * 0.03)
    assert found.network_usd == pytest.approx(45)
    assert found.usd == pytest.approx(0.4 + 0.05 + 3.03 + 45)


def test_a_way_that_there_is_not() -> None:
    check_route(None)
    check_route("gateway")
    for word in ("aws", "vpn", ""):
        with pytest.raises(UsageError, match="gateway, nat, interface"):
            check_route(word)
