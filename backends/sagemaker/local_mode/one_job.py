"""One job by the SageMaker SDK's local mode, in a process of its own: `python -m … FOLDER`; `session` starts it.

The SDK prints to standard output, keeps its jobs in a class and leaves files behind. Here it can do so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ..docker import containers_of, docker

REQUEST = "request.json"
STOP_SECONDS = 10
DEFAULT_REGION = "us-east-1"  # the SDK wants one; S3 says itself where a bucket is


def main() -> None:
    """Run the request in a folder, and return when its containers have ended and its outputs are uploaded."""
    folder = Path(sys.argv[1])
    os.environ.pop("PYTHONPATH", None)  # Docker Compose can be a Python program too, with libraries of its own
    threading.Thread(target=_end_with_parent, daemon=True).start()
    request = json.loads((folder / REQUEST).read_text())
    _session(folder).sagemaker_client.create_processing_job(**request)


def _end_with_parent() -> None:
    """End the containers, after which the SDK ends, when whoever started this process is gone; without any, end it."""
    sys.stdin.read()  # ends when the other end of the pipe is closed
    if containers := containers_of(os.environ["COMPOSE_PROJECT_NAME"]):
        docker("stop", "-t", str(STOP_SECONDS), *containers)
    else:
        os.killpg(0, signal.SIGKILL)


def _session(folder: Path) -> Any:
    import boto3
    from sagemaker.core.local import local_session

    local_session._SageMakerContainer = _container_class()  # noqa: SLF001 - the SDK has no other way in
    boto_session = boto3.Session()
    if boto_session.region_name is None:
        boto_session = boto3.Session(region_name=DEFAULT_REGION)
    session = local_session.LocalSession(
        boto_session=boto_session,
        disable_local_code=True,
        # Given here, no configuration is looked for elsewhere, which may be in S3.
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        },
    )
    own = session.config or {}
    session.config = {**own, "local": {**own.get("local", {}), "container_root": str(folder), "local_code": False}}
    return session


def _container_class() -> type:
    from sagemaker.core.local.image import _SageMakerContainer

    class Container(_SageMakerContainer):  # type: ignore[misc, unused-ignore]  # the SDK has no types
        """The SDK's, but for what it does not let be set."""

        def _compose(self, detached: bool = False) -> list[str]:
            """Wait for all hosts: the SDK has them all killed when the first one ends, and calls that a success."""
            command: list[str] = super()._compose(detached)
            return [word for word in command if word != "--abort-on-container-exit"]

        def _create_docker_host(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            """Keep Docker Compose from replacing what looks like a variable in arguments and environment."""
            settings: dict[str, Any] = super()._create_docker_host(*args, **kwargs)
            for key in ("entrypoint", "environment"):
                if settings.get(key):
                    settings[key] = [word.replace("$", "$$") for word in settings[key]]
            return settings

        def _cleanup(self, dirs_to_delete: Any = None) -> None:
            """Leave the folders, in which the hosts' messages are, to `session`."""

    return Container


if __name__ == "__main__":
    main()
