"""Ray: a task for each part."""

from __future__ import annotations

import logging
import os

import ray

from rivals.work import Order, describe


def start(cores: int) -> None:
    """A Ray of this machine alone, on loopback."""
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.environ["TMPDIR"],
        object_store_memory=200 * 2**20,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )


if __name__ == "__main__":
    order = Order.read()
    start(order.cores)
    try:
        remote = ray.remote(describe)
        order.write(ray.get([remote.remote(part, order.extractor) for part in order.parts]))
    finally:
        ray.shutdown()
