"""PySpark: a local session, one partition a part."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pandas as pd
from pyspark.sql import SparkSession

from rivals.work import Order, describe

if __name__ == "__main__":
    order = Order.read()
    extractor = order.extractor

    def describe_partition(parts: Iterable[list[str]]) -> list[pd.DataFrame]:
        """A frame for each part."""
        return [describe(part, extractor) for part in parts]

    spark = (
        SparkSession.builder.master(f"local[{order.cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.warehouse.dir", os.environ["TMPDIR"])
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    try:
        parts = order.parts
        order.write(spark.sparkContext.parallelize(parts, len(parts)).mapPartitions(describe_partition).collect())
    finally:
        spark.stop()
