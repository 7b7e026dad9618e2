"""A run's page while it goes on: looked at again and again (`poller.py`), served on this machine (`server.py`)."""
