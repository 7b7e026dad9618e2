"""dask.bag on dask's processes."""

from __future__ import annotations

from functools import partial

import dask
import dask.bag
import pandas as pd

from rivals.work import Order, describe


def describe_part(part: list[str], extractor: str | None) -> list[pd.DataFrame]:
    """One frame for a partition."""
    return [describe(list(part), extractor)]


if __name__ == "__main__":
    order = Order.read()
    with dask.config.set(scheduler="processes", num_workers=order.cores):
        bag = dask.bag.from_sequence(order.records, npartitions=len(order.parts))
        order.write(bag.map_partitions(partial(describe_part, extractor=order.extractor)).compute())
