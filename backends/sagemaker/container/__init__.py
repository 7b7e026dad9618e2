"""What runs in the service's containers: a worker that knows `/opt/ml`."""
