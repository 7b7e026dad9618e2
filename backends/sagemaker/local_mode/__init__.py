"""The SageMaker SDK's local mode: jobs as containers on this machine."""
