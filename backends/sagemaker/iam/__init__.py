"""The least that IAM must allow."""
