"""What an hour of a machine and a month of its disk cost: from a table in the package, or asked of AWS."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from scaledproc.errors import UsageError

from ..instances import Instance, find_instance

SERVICE = "AmazonSageMaker"
_USAGE = re.compile(r"(?:^|-)Processing:(?P<what>.+)$")
_VOLUME = re.compile(r"VolumeUsage(?:\.gp\d)?$")


@dataclass(frozen=True)
class Price:
    """Of one machine for one hour.

    Parameters
    ----------
    usd_per_hour
        On demand, before taxes and discounts.
    region
        Where this is the price.
    source, as_of
        Who says so, and since when.
    note
        What to know of it: that it is another region's.
    """

    usd_per_hour: float
    region: str
    source: str
    as_of: date
    note: str | None = None


@dataclass(frozen=True)
class StoragePrice:
    """Of one GB of a machine's volume for one month (730 h)."""

    usd_per_gb_month: float
    region: str
    source: str
    as_of: date
    note: str | None = None


@dataclass(frozen=True)
class OtherPrice:
    """Of requests or bytes, where they are said to cost so much, and when."""

    usd: float
    source: str
    as_of: date


@dataclass(frozen=True)
class PriceList:
    """What was asked of AWS.

    Parameters
    ----------
    prices
        By the type's name; only what was found.
    storage
        None where it was not found.
    notes
        What went wrong, for a person.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    storage: StoragePrice | None = None
    notes: tuple[str, ...] = ()


def price_of(instance: Instance, region: str | None, lookup: PriceList | None = None) -> Price | None:
    """The price of a type: as it was looked up, else the table's; None where neither has it.

    Parameters
    ----------
    instance
        The type.
    region
        Where it will run. For another region than the table's the price bears a note.
    lookup
        What `lookup_prices` found.
    """
    if lookup is not None and instance.name in lookup.prices:
        return lookup.prices[instance.name]
    table = _table()
    usd = table["usd_per_hour"].get(instance.name)
    if usd is None:
        return None
    return Price(float(usd), table["region"], table["source"], table["as_of"], _elsewhere(region))


def storage_price(region: str | None, lookup: PriceList | None = None) -> StoragePrice:
    """The price of a machine's volume: as it was looked up, else the table's."""
    if lookup is not None and lookup.storage is not None:
        return lookup.storage
    table = _table()
    usd = float(table["storage_usd_per_gb_month"])
    return StoragePrice(usd, table["region"], table["source"], table["as_of"], _elsewhere(region))


def other_price(name: str) -> OtherPrice:
    """The price of something beside SageMaker, by its key in the table `others`, in the table's region."""
    found = _table()["others"][name]
    return OtherPrice(float(found["usd"]), found["source"], found["as_of"])


def given_prices(words: Mapping[str, str], region: str) -> dict[str, Price]:
    """Prices of types as a person gave them, in US dollars an hour.

    Raises
    ------
    UsageError
        If a type is not known, or its price is no number of dollars.
    """
    found = {}
    for name, text in words.items():
        find_instance(name)
        try:
            usd = float(text)
        except ValueError:
            usd = math.nan
        if not 0 < usd < math.inf:
            raise UsageError(f"--price {name}={text}: give US dollars an hour, such as {name}=0.24")
        found[name] = Price(usd, region, "given with --price", datetime.now(UTC).date())
    return found


def priced_instances() -> frozenset[str]:
    """The names of all types whose price is in the table."""
    return frozenset(_table()["usd_per_hour"])


def lookup_prices(client: Any, instances: Sequence[Instance], region: str) -> PriceList:
    """Ask the AWS Price List API.

    Never fails: what could not be had is missing in the answer, with a note, and `price_of` falls back to the table.

    Parameters
    ----------
    client
        boto3's `pricing` client. The service answers for all regions, but itself is only in a few, such as us-east-1.
    instances
        The types.
    region
        Where they will run.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    wanted = {instance.name for instance in instances}
    prices: dict[str, Price] = {}
    storage: StoragePrice | None = None
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region},
        {"Type": "TERM_MATCH", "Field": "component", "Value": "Processing"},
    ]
    source = "AWS Price List API"
    try:
        pages = client.get_paginator("get_products").paginate(ServiceCode=SERVICE, Filters=filters)
        for what, unit, usd, as_of in _products(pages, region):
            if what in wanted and unit.lower().startswith("h"):
                prices[what] = Price(usd, region, source, as_of)
            elif _VOLUME.search(what) and unit.lower().startswith("gb"):
                storage = StoragePrice(usd, region, source, as_of)
    except (ClientError, BotoCoreError) as error:
        return PriceList(prices, storage, (f"today's prices could not be asked of AWS ({_reason(error)})",))
    missing = sorted(wanted - prices.keys())
    notes = (f"AWS's price list has no Processing price in {region} for {', '.join(missing)}",) if missing else ()
    return PriceList(prices, storage, notes)


def _products(pages: Any, region: str) -> Iterator[tuple[str, str, float, date]]:
    """What, unit, US dollars and date of each entry that can be read; others are passed over."""
    for page in pages:
        for entry in page.get("PriceList", ()):
            try:
                product = json.loads(entry) if isinstance(entry, str) else entry
                attributes = product["product"]["attributes"]
                usage = _USAGE.search(attributes["usagetype"])
                if usage is None or attributes.get("regionCode", region) != region:
                    continue
                for term in product["terms"]["OnDemand"].values():
                    for dimension in term["priceDimensions"].values():
                        usd = float(dimension["pricePerUnit"]["USD"])
                        if usd > 0:  # 0 is a free tier or a placeholder
                            yield usage["what"], str(dimension["unit"]), usd, _date(term.get("effectiveDate"))
            except (KeyError, TypeError, ValueError, AttributeError):
                continue


def _date(text: object) -> date:
    try:
        return datetime.fromisoformat(str(text)).date()
    except ValueError:
        return datetime.now(UTC).date()


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return f"{code}: allow pricing:GetProducts" if code and "Denied" in code else code or type(error).__name__


def _elsewhere(region: str | None) -> str | None:
    table = _table()
    if region in (None, table["region"]):
        return None
    return f"prices are those of {table['region']}; {region} may be cheaper or dearer"


@cache
def _table() -> Mapping[str, Any]:
    content = files(__package__).joinpath("prices.toml").read_text(encoding="utf-8")
    return tomllib.loads(content)
