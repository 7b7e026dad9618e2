"""Prices: of the table that is shipped, and as AWS says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pytest
from aws_json import aws_json, denied

from scaledproc.backends.sagemaker.cost.estimate import (
    Fleet,
    Sizes,
    estimate,
)
from scaledproc.backends.sagemaker.cost.prices import (
    Price,
    lookup_prices,
    price_of,
    priced_instances,
    storage_price,
)
from scaledproc.backends.sagemaker.instances import find_instance
from scaledproc.planning.cost_model import Costs

M5 = find_instance("ml.m5.4xlarge")
UNPRICED = find_instance("ml.m4.xlarge")
COSTS = Costs(0.01, 1e-8, combine_task=1e-4, source="a test")
GB = 10**9


def sizes_of(sizes: list[int], shards: int, tasks: int = 2) -> Sizes:
    """Units of these bytes, each of so many equal tasks."""
    size = np.array(sizes, np.int64)
    count = np.full(len(size), tasks, np.int64)
    whole = Sizes(size, count, 2 * count, size // tasks, np.array([0, len(size)]))
    return whole.cut(shards)


# Prices


def test_a_price_follows_the_vcpus_within_a_family() -> None:
    for name in priced_instances():
        one = find_instance(name)
        price = price_of(one, "us-east-1")
        family = [other for other in map(find_instance, priced_instances()) if other.family == one.family]
        largest = max(family, key=lambda other: other.vcpus)
        per_vcpu = price_of(largest, "us-east-1").usd_per_hour / largest.vcpus
        if name == "ml.t3.medium":  # as many vCPUs as a large, at half the price
            per_vcpu /= 2
        assert price.usd_per_hour == pytest.approx(one.vcpus * per_vcpu, abs=1e-3)  # each is rounded to 0.001


def test_what_is_not_in_the_table_has_no_price() -> None:
    assert price_of(UNPRICED, "us-east-1") is None
    assert price_of(M5, "us-east-1") == Price(0.922, "us-east-1", price_of(M5, None).source, price_of(M5, None).as_of)


def test_another_region_is_told() -> None:
    assert price_of(M5, "us-east-1").note is None
    assert "eu-west-1 may be cheaper or dearer" in price_of(M5, "eu-west-1").note
    assert "eu-west-1" in storage_price("eu-west-1").note


def product(usage: str, usd: str, unit: str = "Hrs", region: str = "eu-west-1") -> str:
    """An entry as the Price List API has them: JSON in a string."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": usd}, "description": "…"}
    term = {"effectiveDate": "2026-10-01T00:00:00Z", "priceDimensions": {"A.B.C": dimension}}
    attributes = {"usagetype": usage, "component": "Processing", "regionCode": region}
    return json.dumps({"product": {"attributes": attributes}, "terms": {"OnDemand": {"A.B": term}}})


BROKEN = [
    "not json",
    "{}",
    "[]",
    "null",
    json.dumps({"product": {"attributes": {"usagetype": "EU-Processing:ml.m5.large"}}}),
]


def test_prices_are_asked_of_aws() -> None:
    pages = {
        None: [*BROKEN, product("EU-Processing:ml.m5.4xlarge", "1.0270000000"), product("EU-Train:ml.m5.4xlarge", "9")],
        "more": [
            product("EU-Processing:ml.c5.xlarge", "0.0"),
            product("EU-Processing:ml.m5.4xlarge", "7", region="eu-west-2"),
            product("EU-Processing:VolumeUsage.gp2", "0.11", "GB-Mo"),
        ],
    }

    def answer(body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        token = body.get("NextToken")
        return 200, {"PriceList": pages[token], **({} if token else {"NextToken": "more"})}

    with aws_json({"GetProducts": answer}) as service:
        found = lookup_prices(service.client("pricing"), [M5, find_instance("ml.c5.xlarge")], "eu-west-1")

    assert found.prices == {"ml.m5.4xlarge": Price(1.027, "eu-west-1", "AWS Price List API", date(2026, 10, 1))}
    assert price_of(M5, "eu-west-1", found).usd_per_hour == 1.027
    assert storage_price("eu-west-1", found).usd_per_gb_month == 0.11
    assert found.notes == ("AWS's price list has no Processing price in eu-west-1 for ml.c5.xlarge",)
    assert price_of(find_instance("ml.c5.xlarge"), "eu-west-1", found).usd_per_hour == 0.204
    filters = {one["Field"]: one["Value"] for one in service.requests[0][1]["Filters"]}
    assert filters == {"regionCode": "eu-west-1", "component": "Processing"}


def test_who_may_not_ask_gets_the_table_and_is_told() -> None:
    with aws_json({"GetProducts": denied}) as service:
        client = service.client("pricing")
        found = lookup_prices(client, [M5], "us-east-1")
    gone = lookup_prices(client, [M5], "us-east-1")  # nobody listens there now

    assert "allow pricing:GetProducts" in found.notes[0]
    assert "could not be asked" in gone.notes[0]
    assert price_of(M5, "us-east-1", found).usd_per_hour == 0.922
    assert found.notes[0] in estimate(sizes_of([GB], 1), COSTS, Fleet(M5, 1), found).notes
