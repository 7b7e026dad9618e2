"""dask.distributed: a LocalCluster of one process a core, futures."""

from __future__ import annotations

import os

from dask.distributed import Client, LocalCluster

from rivals.work import Order, describe

if __name__ == "__main__":
    order = Order.read()
    options = {"host": "127.0.0.1", "dashboard_address": None, "local_directory": os.environ["TMPDIR"]}
    with LocalCluster(n_workers=order.cores, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        futures = client.map(describe, order.parts, extractor=order.extractor, pure=False)
        order.write(client.gather(futures))
