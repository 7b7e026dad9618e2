"""The account's quotas: what they exclude is refused, where they are small it is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from aws_json import aws_json, denied

from scaledproc.backends.sagemaker.quotas import (
    Demand,
    Quotas,
    check_quotas,
    parse_quotas,
    quota_faults,
    quota_warnings,
)
from scaledproc.errors import UsageError


def quota(name: str, value: float) -> dict[str, Any]:
    return {"ServiceCode": "sagemaker", "QuotaCode": "L-1", "QuotaName": name, "Value": value, "Unit": "None"}


PAGES: list[dict[str, Any]] = [
    {
        "Quotas": [
            quota("ml.m5.4xlarge for processing job usage", 4.0),
            quota("ml.m5.4xlarge for training job usage", 50.0),
        ],
        "NextToken": "more",
    },
    {
        "Quotas": [
            quota("ml.c5.xlarge for processing job usage", 0.0),
            quota("ml.m5.large for processing job usage", 100.0),
            quota("Number of instances across processing jobs", 20.0),
            quota("Number of instances across training jobs", 1.0),
            quota("Maximum number of instances per processing job", 20.0),
            quota("Size of EBS volume for a processing job instance", 1024.0),
            quota("Longest run time for a processing job", 432_000.0),
        ]
    },
]


def test_quotas_of_processing_are_found_among_all() -> None:
    found = parse_quotas([*PAGES, {}, {"Quotas": [{"QuotaName": None}, {"QuotaName": "x", "Value": "y"}]}])

    assert found == Quotas({"ml.m5.4xlarge": 4, "ml.c5.xlarge": 0, "ml.m5.large": 100}, 20, 20, 1024, 432_000)


def test_quotas_are_asked_page_by_page() -> None:
    def answer(body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return 200, PAGES[1 if body.get("NextToken") == "more" else 0]

    with aws_json({"ListServiceQuotas": answer}) as service:
        client = service.client("service-quotas")
        few = check_quotas(client, Demand(["ml.m5.4xlarge", "ml.c5.xlarge", "ml.r5.large"], 10))
        assert check_quotas(client, Demand(["ml.m5.large"], 20, combine="ml.m5.large")) == []
        many = check_quotas(client, Demand(["ml.m5.large"], 21))

    assert len(few) == 3
    assert "10 ml.m5.4xlarge are wanted, and this account may have 4 at once" in few[0]
    assert "lower --max-parallel-jobs to 4" in few[0]
    assert "may have none" in few[1]
    assert "no quota for ml.r5.large" in few[2]
    assert len(many) == 1
    assert "may have 20 over all Processing jobs" in many[0]
    assert all(body["ServiceCode"] == "sagemaker" for _, body in service.requests)


def test_quotas_that_cannot_be_asked_are_a_note() -> None:
    with aws_json({"ListServiceQuotas": denied}) as service:
        (note,) = check_quotas(service.client("service-quotas"), Demand(["ml.m5.large"]))
        client = service.client("service-quotas")

    assert "AccessDenied" in note
    assert "servicequotas:ListServiceQuotas" in note
    (gone,) = check_quotas(client, Demand(["ml.m5.large"]))  # nobody listens there now
    assert "could not be asked" in gone
    json.dumps([note, gone])


@pytest.mark.parametrize(
    ("demand", "name"),
    [
        (Demand(["ml.c5.xlarge"]), "ml.c5.xlarge for processing job usage"),
        (Demand(["ml.m5.4xlarge"], 5, 5), "ml.m5.4xlarge for processing job usage"),
        (Demand(["ml.m5.large"], combine="ml.c5.xlarge"), "ml.c5.xlarge for processing job usage"),
        (Demand(["ml.m5.large"], 21, 21), "Maximum number of instances per processing job"),
        (Demand(["ml.m5.large"], volume=8_939), "Size of EBS volume for a processing job instance"),
        (Demand(["ml.m5.large"], combine="ml.m5.large", combine_volume=1_787), "--combine-volume-size GB if the table"),
        (Demand(["ml.m5.large"], runtime=432_001), "Longest run time for a processing job"),
    ],
)
def test_what_a_quota_excludes_is_refused_with_its_name(demand: Demand, name: str) -> None:
    (fault,) = quota_faults(parse_quotas(PAGES), demand)
    assert name in fault
    assert "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas" in fault


def test_a_disk_above_the_default_is_told_where_no_quota_is_shown() -> None:
    assert "1,024 GB" in quota_warnings(Quotas({"ml.m5.large": 1}), Demand(["ml.m5.large"], volume=1_025))[0]
    assert not quota_warnings(Quotas({"ml.m5.large": 1}), Demand(["ml.m5.large"], volume=1_024))
    (note,) = quota_warnings(Quotas({"ml.m5.large": 1}), Demand(["ml.m5.large"], combine_volume=1_787))
    assert note.startswith("the last job needs a disk of 1,787 GB, and accounts may have 1,024 GB")


def test_a_run_that_a_quota_excludes_is_not_begun() -> None:
    with aws_json({"ListServiceQuotas": lambda _: (200, PAGES[1])}) as service:
        client = service.client("service-quotas")
        with pytest.raises(UsageError, match="the last job, which combines, needs 1 ml"):
            check_quotas(client, Demand(["ml.m5.large"], combine="ml.c5.xlarge"))
