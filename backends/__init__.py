"""Backends: where jobs run. Each is found by its entry point and imported only when it is used."""
