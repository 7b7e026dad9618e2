"""What a run's jobs took, in seconds and in the prices of their region."""

from __future__ import annotations

from datetime import date

import pytest

from scaledproc.backends.sagemaker.cost.billing import Bill, bill
from scaledproc.backends.sagemaker.cost.prices import Price, PriceList
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.errors import UsageError

JOBS = [Bill("a", "ml.m5.large", 2, 1800), Bill("b", "ml.m5.large", 1, 3600), Bill("c", "", 1, 0)]


def test_prices_are_those_of_the_region() -> None:
    found = bill(JOBS, "us-east-1")
    assert found["usd"] == pytest.approx(2 * 0.115)
    assert found["prices"]["ml.m5.large"]["usd_per_hour"] == 0.115
    assert found["instance_seconds"] == {"": 0, "ml.m5.large": 7200}
    assert "usd_is_null_for" not in found


def test_another_region_s_price_is_no_price() -> None:
    found = bill(JOBS, "eu-west-1")
    assert found["usd"] is None
    assert "us-east-1 alone" in found["usd_is_null_for"]
    assert "eu-west-1" in found["usd_is_null_for"]
    asked = PriceList({"ml.m5.large": Price(0.129, "eu-west-1", "AWS Price List API", date(2026, 1, 1))})
    assert bill(JOBS, "eu-west-1", asked)["usd"] == pytest.approx(2 * 0.129)


@pytest.mark.parametrize("name", ["ml.m4.xlarge", "ml.newer.large", "local"])
def test_what_has_no_price_is_null_and_said(name: str) -> None:
    found = bill([Bill("a", name, 1, 60)], "us-east-1")
    assert found["usd"] is None
    assert name in found["usd_is_null_for"]
    assert "--price" in found["usd_is_null_for"]


def test_a_price_that_a_person_gives() -> None:
    settings = Settings.parse({"price": ["ml.m4.xlarge=0.24"], "region": "eu-west-1"})
    found = bill([Bill("a", "ml.m4.xlarge", 1, 3600)], "eu-west-1", PriceList(settings.prices))
    assert found["usd"] == 0.24
    assert found["prices"]["ml.m4.xlarge"]["source"] == "given with --price"


@pytest.mark.parametrize("word", ["ml.m4.xlarge", "ml.m4.xlarge=", "ml.m4.xlarge=nan", "ml.m4.xlarge=0", "m4=1"])
def test_what_is_no_price(word: str) -> None:
    with pytest.raises(UsageError):
        Settings.parse({"price": [word]})
