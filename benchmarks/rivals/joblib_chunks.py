"""joblib: loky's processes, several parts a core, handed out as cores become free."""

from __future__ import annotations

import joblib

from rivals.work import Order, describe

if __name__ == "__main__":
    order = Order.read()
    run = joblib.Parallel(n_jobs=order.cores, pre_dispatch="all", batch_size=1)
    order.write(run(joblib.delayed(describe)(part, order.extractor) for part in order.parts))
