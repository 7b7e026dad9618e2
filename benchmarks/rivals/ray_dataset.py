"""Ray Data: a dataset of paths, mapped in blocks."""

from __future__ import annotations

import logging

import pandas as pd
import ray

from rivals.ray_tasks import start
from rivals.work import Order, describe

if __name__ == "__main__":
    order = Order.read()
    start(order.cores)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        extractor = order.extractor

        def describe_block(block: pd.DataFrame) -> pd.DataFrame:
            """The rows of a block."""
            return describe(block["record"].tolist(), extractor)

        records = ray.data.from_items(
            [{"record": each} for each in order.records], override_num_blocks=len(order.parts)
        )
        order.write([records.map_batches(describe_block, batch_size=None, batch_format="pandas").to_pandas()])
    finally:
        ray.shutdown()
