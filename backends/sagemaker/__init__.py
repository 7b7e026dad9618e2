"""The backend `sagemaker`: the worker, in Amazon SageMaker Processing jobs."""
