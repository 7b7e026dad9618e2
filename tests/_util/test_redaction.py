"""No secret in anything that a run leaves; nothing is unpickled; the user's umask holds; scratch is private."""

from __future__ import annotations

import ast
import base64
import contextlib
import html
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import COMMAND, Bucket, Cli, TreeWriter, clean_environment

import scaledproc
from scaledproc._util.redaction import _SETTINGS, is_secret_name, redacted, remember_login, remember_secrets
from scaledproc.errors import ScaledprocError
from scaledproc.execution.chunks.committed import committed_chunks
from scaledproc.storage.fsspec_store import FsspecStore
from scaledproc.storage.store import Store

REPOSITORY = Path(__file__).parents[2]
PLANTED = {
    "environment": "pLaNtEd/eNvIrOnMeNt+kEy0123456789",
    "session": "pLaNtEdSeSsIoN//token==0123",
    "other": "planted-token-of-something-else-1",
    "option": "pLaNtEdOpTiOn12345",
    "password": "plantedpassword1",
    "signature": "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    "credential": "AKIAPLANTED00000000",
}
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": PLANTED["environment"],
    "AWS_SESSION_TOKEN": PLANTED["session"],
    "SOME_SERVICE_TOKEN": PLANTED["other"],
}
URL = (
    f"https://someone:{PLANTED['password']}@example.org/data.bin?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-Credential={PLANTED['credential']}%2F20260101&X-Amz-Signature={PLANTED['signature']}"
)
# What an extractor may come to raise: a store's answer, with all that a request had.
LEAKY = """
import os, sys
from pathlib import Path
import scaledproc

@scaledproc.extractor(schema={"path": "string", "size": "int64"}, anchor="*.txt")
def leaky(task):
    if os.environ.get("STOP") and task.anchor == "c/4.txt":
        os.kill(os.getpid(), 9)
    if task.path.read_bytes() == b"fine":
        return {"path": task.anchor, "size": 4}
    said = Path(os.environ["SAID"]).read_text()
    try:
        raise KeyError(said)
    except KeyError as error:
        raise ValueError(f"403 for {said}") from error
"""


def said() -> str:
    headers = (
        f"{{'Authorization': 'AWS4-HMAC-SHA256 Credential={PLANTED['credential']}, Signature={PLANTED['signature']}'}}"
    )
    parts = f"X-Amz-Signature={PLANTED['signature']} AWSAccessKeyId={PLANTED['credential']}"
    others = " ".join(PLANTED[name] for name in ("environment", "session", "other", "option"))
    return f"{URL} {headers} {parts} {others}"


def texts_of(folder: Path) -> Iterator[tuple[str, str]]:
    """All that stands in a folder's files, unpacked, and their names."""
    for path in folder.rglob("*"):
        yield f"name of {path}", path.name
        if not path.is_file():
            continue
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            yield str(path), f"{table.to_pylist()} {table.schema.metadata} {pq.read_metadata(path).metadata}"
        yield str(path), path.read_bytes().decode("utf-8", "replace")


def check_clean(texts: Iterator[tuple[str, str]], but: tuple[str, ...] = ()) -> int:
    count = 0
    for where, text in texts:
        count += 1
        for name, secret in PLANTED.items():
            assert secret not in text, f"the {name} is in {where}"
    return count


@pytest.mark.slow
def test_everything_that_a_run_leaves(tree: TreeWriter, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    (tmp_path / "said").write_text(said())
    data = tree({"a/1.txt": b"fine", "a/2.txt": b"bad", "b/3.txt": b"bad", "c/4.txt": b"fine"})
    for name in ("cache", "scratch", "home", "left"):
        (tmp_path / name).mkdir()
    environment = {
        **ENVIRONMENT,
        "SAID": str(tmp_path / "said"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "scratch"),
        "HOME": str(tmp_path / "home"),
    }
    (tmp_path / "left/scaledproc.toml").write_text("")
    shutil.make_archive(str(tmp_path / "data"), "zip", data)  # whose filesystem takes any options
    words = [f"zip://::{tmp_path}/data.zip", f"file://{tmp_path}/left/out", "--extractor", f"{tmp_path}/leaky.py:leaky"]
    words += ["--storage-option", f"secret={PLANTED['option']}", "--storage-option", f"key={PLANTED['credential']}"]
    said_on_screens = []
    for more in (["--jobs", "1", "--chunk", "1"], ["--json"], ["--overwrite"], ["--overwrite", "--quiet"]):
        stop = {"STOP": "1"} if "1" in more else {}
        done = cli("--backend", "local", *words, *more, env={**environment, **stop}, cwd=tmp_path / "left")
        assert done.returncode == (-9 if stop else 3), done.stderr
        said_on_screens += [done.stdout, done.stderr]
        if stop:  # what a killed run leaves
            assert list((tmp_path / "left/out/work").rglob("*.errors.parquet"))
        assert check_clean(texts_of(tmp_path / "left")) > 3
    for more in (["plan", *words], ["status", f"{tmp_path}/left/out"], ["combine", f"{tmp_path}/left/out"]):
        done = cli(*more, env=environment, cwd=tmp_path / "left")
        said_on_screens += [done.stdout, done.stderr]
    check_clean(("the terminal", text) for text in said_on_screens)
    for folder in ("left", "cache", "scratch", "home"):
        check_clean(texts_of(tmp_path / folder))
    message = pq.read_table(tmp_path / "left/out/errors.parquet")["message"].to_pylist()[0]
    assert message.startswith("403 for https://***@example.org/data.bin?***")  # and yet it says what it is about


@pytest.mark.slow
def test_options_of_a_real_store(s3: Bucket, tree: TreeWriter, cli: Cli, tmp_path: Path) -> None:
    """The key that opens the store, when an extractor comes to raise it: in a worker process, which has it too."""
    (tmp_path / "leaky.py").write_text(LEAKY)
    (tmp_path / "said").write_text(f"the key is {s3.server.secret}")
    Store.at(s3.url("secrets/data"), s3.storage_options).write("a/1.txt", b"bad")
    options = [word for key, value in s3.storage_options.items() for word in ("--storage-option", f"{key}={value}")]
    for jobs in ("1", "2"):
        done = cli(
            *("--backend", "local", s3.url("secrets/data"), s3.url(f"secrets/out{jobs}"), "--jobs", jobs, *options),
            *("--extractor", f"{tmp_path}/leaky.py:leaky"),
            env={"SAID": str(tmp_path / "said")},
        )
        assert done.returncode == 3, done.stderr
        assert s3.server.secret not in done.stdout + done.stderr
        for name, content in s3.objects(f"secrets/out{jobs}").items():
            (tmp_path / "copy").mkdir(exist_ok=True)
            (tmp_path / "copy" / name.replace("/", "_")).write_bytes(content)
        assert len(list((tmp_path / "copy").iterdir())) > 4
        for where, text in texts_of(tmp_path / "copy"):
            assert s3.server.secret not in text, where


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [f"s3://{PLANTED['credential']}:{PLANTED['password']}@bucket/x", URL, f"nothing://u:{PLANTED['password']}@h/x?y=z"],
)
def test_urls_in_mistakes(cli: Cli, tmp_path: Path, where: str) -> None:
    environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    for words in (["plan", where], ["--backend", "local", where, tmp_path / "out"], ["status", where]):
        done = cli(*words, env=environment)
        assert done.returncode not in (0, None)
        check_clean(iter([("the terminal", done.stdout + done.stderr)]))


def test_our_own_faults_show_no_secret() -> None:
    program = f"""
import sys, scaledproc.cli.main
def broken(): raise RuntimeError({said()!r})
scaledproc.cli.main.app = broken
sys.argv = ["scaledproc"]
from scaledproc._util.redaction import remember_secrets
remember_secrets({{"secret": {PLANTED["option"]!r}}})
scaledproc.cli.main.main()
"""
    environment = clean_environment(ENVIRONMENT)
    done = subprocess.run(
        [sys.executable, "-"], input=program, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError" in done.stderr
    check_clean(iter([("the terminal", done.stdout + done.stderr)]))


def test_requests_to_sagemaker() -> None:
    """The golden requests are made with these keys; `test_sagemaker_requests` compares each to the byte."""
    made = list((REPOSITORY / "tests/backends/sagemaker/jobs/golden_requests").glob("*.json"))
    assert len(made) > 15
    for path in made:
        text = path.read_text()
        for word in ("testtest", "SECRET", "aws_session_token", "X-Amz-", "password"):
            assert word.lower() not in text.lower(), path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://u:p@b/k and s3://b/k", "s3://***@b/k and s3://b/k"),
        ("https://h/k?X-Amz-Signature=abc&x=1 is gone", "https://h/k?*** is gone"),
        ("query X-Amz-Signature=abcdef&y", "query X-Amz-Signature=***&y"),
        ("{'X-Amz-Security-Token': 'abc/def=='}", "{'X-Amz-Security-Token': ***'}"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("no secret: 3 + 4, a@b.org, key 17", "no secret: 3 + 4, a@b.org, key 17"),
        ("s3://KEY:a/b@bucket/x", "s3://***@bucket/x"),
        ("http://user:to/ken@host:80/x is gone", "http://***@host:80/x is gone"),
        ("s3://KEY:a/b@c/d@bucket", "s3://***@bucket"),
        ("s3://KEY:a?b#c/d@bucket: no", "s3://***@bucket: no"),
        ("simplecache::s3://KEY:a/b@bucket::x", "simplecache::s3://***@bucket::x"),
        ("zip://a@b.zip::http://u:p/q@host/z.zip", "zip://***@b.zip::http://***@host/z.zip"),
        ('["s3://K:a/b@c","s3://K:d/e@f"]', '["s3://***@c","s3://***@f"]'),
        ("https://token@host/path@2", "https://***@host/path@2"),
        ("s3://bucket/a:b@c, s3://bucket/model@v1/x", "s3://bucket/a:b@c, s3://bucket/model@v1/x"),
        (
            "http://127.0.0.1:8333/a@b and http://localhost:1/a@b",
            "http://127.0.0.1:8333/a@b and http://localhost:1/a@b",
        ),
        ("s3://me://@a/folder", "s3://***@a/folder"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ("http://user:80/ken@host", "http://***@host"),
        ("s3://KEY:a'b@bucket/x", "s3://***@bucket/x"),
        ("see 's3://KEY:a\"b`c@bucket/x'.", "see 's3://***@bucket/x'."),
        ("sftp://u:p<w>x@h/", "sftp://***@h/"),
        ("s3://K:a/b'c@bucket: no", "s3://***@bucket: no"),
        ("ftp://my.name:123/45@host", "ftp://***@host"),
        ("http://a.b:80/x and 'http://c:8@d'", "http://a.b:80/x and 'http://***@d'"),
        ("['http://a.b/x', 'c:d@e']", "['http://a.b/x', 'c:d@e']"),
        ("http://data.org:8080/a@b", "http://data.org:8080/a@b"),
    ],
)
def test_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "password", ["a'bcdef", 'a"bcdef', "p<w>xyz", "two words", "a`b/c'd", "a::b:cdef", "12345/67890"]
)
@pytest.mark.parametrize("user", ["KEY", "my.name"])
def test_the_login_of_an_argument(password: str, user: str) -> None:
    """The whole argument is one URL, whatever characters its password has."""
    with patch("scaledproc._util.redaction._known", set()):
        remember_login(f"ftp://{user}:{password}@host/folder")
        assert redacted(f"530 {password} is wrong") == "530 *** is wrong"
        assert password not in redacted(f"ftp://{user}:{password}@host/folder is gone")
        for at in ("s3:/", "s3://"):
            with pytest.raises(ScaledprocError) as told:
                Store.at(f"{at}{user}:{password}@bucket/x")
            assert password not in str(told.value)


def test_a_url_that_lost_a_slash_shows_no_login() -> None:
    with patch("scaledproc._util.redaction._known", set()), pytest.raises(ScaledprocError) as told:
        Store.at("s3:/KEY:a/b@bucket")
    assert "KEY" not in str(told.value)
    assert "a/b" not in str(told.value)
    assert "s3://***@bucket" in str(told.value)


@pytest.mark.parametrize(
    "name",
    [
        *("PASS", "PAT", "TOKEN", "SECRET", "PASSWORD", "apiKey", "ApiToken", "secretKey", "pass", "pat", "key"),
        *(
            "S3_SECRET_KEY",
            "GITHUB_PAT",
            "PGPASSWORD",
            "account_key",
            "sas_token",
            "client_secret",
            "connection_string",
        ),
        *(
            "password",
            "passwd",
            "AUTH",
            "auth",
            "HF_TOKEN",
            "connection_string",
            "DBPASSWORD",
            "APIKEY",
            "AWS_SECRET_ACCESS_KEY",
        ),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("MONKEY", "KEYBOARD", "AUTHOR", "N_TOKENS", "TOKENIZERS_PARALLELISM", "monkey", "Author", "keyboardLayout"),
        *("PWD", "COMPASS", "PATH", "PATIENT", "PATTERN", "PASSES", "BANDPASS", "HIGH_PASS", "LOWPASS", "SASH"),
        *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ],
)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_what_is_known_to_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a/b+c0123456789")
    monkeypatch.setenv("FEATURE_TOKEN", "disabled")  # a plain word
    remember_secrets(
        {"client_kwargs": {"aws_session_token": "nested-secret"}, "anon": False, "key": "abc", "region": "eu-west-1"}
    )
    assert redacted("a/b+c0123456789, a%2Fb%2Bc0123456789, a/b%2Bc0123456789") == "***, ***, ***"
    assert redacted("disabled in eu-west-1 abc nested-secret") == "disabled in eu-west-1 abc ***"
    stored = pickle.loads(pickle.dumps(Store.at("memory://x", {"secret": "of-another-process"})))
    assert redacted(f"{stored.options}") == "{'secret': '***'}"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "S3_SECRET_KEY",
            "MYSQL_PWD",
            "GITHUB_PAT",
            "SMTP_PASS",
            "PGPASSWORD",
            "DB_PASSWORD_PROD",
            "AWS_SESSION_TOKEN",
        ),
        *(
            "AZURE_STORAGE_KEY",
            "HF_TOKEN",
            "TOKEN_OF_MINE",
            "api_key",
            "AZURE_STORAGE_CONNECTION_STRING",
            "SSH_PASSPHRASE",
        ),
    ],
)
def test_variables_that_are_secret_by_their_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("hunter2", "/begins/with+slash", "correcthorsebatterystaple"):
        monkeypatch.setenv(name, value)
        assert redacted(f"it is {value}!") == "it is ***!"
    for value in ("x", "true", "disabled", "Required", "12345", str(REPOSITORY)):
        monkeypatch.setenv(name, value)
        assert redacted(f"x is {value}, not true") == f"x is {value}, not true"


def test_variables_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PWD", "OLDPWD", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "SORT_KEY", "COMPASS", "TOKENIZERS_X")
    for name in names:
        monkeypatch.setenv(name, "ordinary-text")
    assert redacted("ordinary-text") == "ordinary-text"
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xy/pass@proxy:80")
    assert redacted("auth failed: pr0xy/pass of me") == "auth failed: *** of me"


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL": lambda text: quote(text, safe=""),
    "URL with slashes": quote,
    "form": quote_plus,
    "URL in small letters": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "representation": repr,
    "representation of bytes": lambda text: repr(text.encode()),
    "representation in one": lambda text: repr({"x": [repr(text)]}),
    "Base64": lambda text: base64.b64encode(text.encode()).decode(),
    "Base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "Basic": lambda text: "Basic " + base64.b64encode(f"user:{text}".encode()).decode(),
    "Base64 of more": lambda text: base64.b64encode(f'{{"x":"{text}", "y": 1}}'.encode()).decode(),
    "hexadecimals": lambda text: text.encode().hex(),
    "HTML": html.escape,
    "XML": lambda text: html.escape(text, quote=False),
    "shell": shlex.quote,
    "twice": lambda text: quote(quote(text, safe=""), safe=""),
}
SECRETS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=8, max_size=40
)


@given(secret=SECRETS | st.text("abcABC123/+=", min_size=8, max_size=40), name=st.sampled_from(sorted(ENCODINGS)))
@settings(max_examples=200, deadline=None)
def test_a_known_secret_in_any_form(secret: str, name: str) -> None:
    with patch("scaledproc._util.redaction._known", set()):
        remember_secrets({"secret": secret})
        assume("***" not in secret and secret.lower() not in _SETTINGS)
        shown = redacted(f"before {ENCODINGS[name](secret)} after")
        assert shown.startswith("before ")
        assert shown.endswith(" after")
        kept = re.findall(r"[\w%+/=-]{8,}", shown)
        whole = re.findall(r"[\w%+/=-]{8,}", ENCODINGS[name](secret))
        assert not whole or kept != whole, "nothing was taken out"
        assert secret not in shown
        assert ENCODINGS[name](secret) not in shown


@given(
    user=st.text("abcKEY123", min_size=1),
    password=st.text("abcXYZ123/+=:@?#&%", min_size=1),
    host=st.text("abc", min_size=1),
)
@settings(max_examples=100, deadline=None)
def test_a_login_in_a_url(user: str, password: str, host: str) -> None:
    url = f"s3://{user}:{password}@{host}/folder"
    assert redacted(f"cannot read {url} now") == f"cannot read s3://***@{host}/folder now"


@pytest.mark.slow
def test_a_url_of_s3_with_keys_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("plan", "s3://AKIAX:wJalr/K7MDENG/bPxRfiCY@bucket/x")
    assert done.returncode == 2
    for piece in ("AKIAX", "wJalr", "K7MDENG", "bPxRfiCY"):
        assert piece not in done.stdout + done.stderr
    assert "AWS_SECRET_ACCESS_KEY" in done.stderr
    assert "a/secret" not in repr(FsspecStore("http://u:a/secret@h/x"))


@pytest.mark.slow
def test_what_a_client_finds_by_itself_is_secret(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile's credentials, which nobody gave to us."""
    secret, token = "of/a+profile0123456789", "token/of+a==profile"
    (tmp_path / "credentials").write_text(
        f"[mine]\naws_access_key_id = {s3.server.key}\naws_secret_access_key = {secret}\naws_session_token = {token}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    store = Store.at(s3.url("x"), {"profile": "mine", "endpoint_url": s3.server.endpoint})
    with contextlib.suppress(OSError):
        store.read("y")
    assert redacted(f"{secret} {token}") == "*** ***"


# Nothing is unpickled that came from a store.

FORBIDDEN = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "torch", "yaml"),
    *("read_pickle", "eval", "exec", "execfile", "joblib.load", "np.load", "numpy.load"),
}


@pytest.mark.slow
def test_no_code_unpickles() -> None:
    """In all of the package: none of these is imported or called; `np.load` and `joblib.load` would too."""
    found = []
    paths = [path for folder in ("scaledproc", "backends") for path in (REPOSITORY / folder).rglob("*.py")]
    # But in the tests that ship: they read what they have made themselves, where their author runs them.
    paths = [path for path in paths if path.parent != REPOSITORY / "scaledproc/testing"]
    # What a run's process sends to the processes that it started is no dataset's, and comes as loky's own messages do.
    paths.remove(REPOSITORY / "scaledproc/execution/workers/sending.py")
    assert len(paths) > 50
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [
                    (node.module or "").partition(".")[0],
                    *(f"{node.module}.{alias.name}" for alias in node.names),
                ]
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                # Says how a thing is sent; it loads nothing.
                names = [called, called.rpartition(".")[2]] if called != "copyreg.pickle" else []
                names += [f"{keyword.arg}=True" for keyword in node.keywords if ast.unparse(keyword.value) == "True"]
            found += [f"{path.name}:{node.lineno}: {name}" for name in names  # type: ignore[attr-defined]
                      if name in FORBIDDEN or name == "allow_pickle=True"]  # fmt: skip
    assert found == []


class Bomb:
    """What it is unpickled to is a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.slow
def test_planted_pickles(tree: TreeWriter, tmp_path: Path) -> None:
    """Under every name that a run's folder has, and as Arrow's extension types, which once were unpickled."""
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    pickle.loads(bomb)
    (tmp_path / "exploded").unlink()  # it works
    data = tree({"a/1.txt": b"fine", "b/2.txt": b"fine"})
    (tmp_path / "leaky.py").write_text(LEAKY)
    out = tmp_path / "out"

    def everything() -> None:
        extractor = f"{tmp_path}/leaky.py:leaky"
        uses = (
            lambda: scaledproc.run(data, out, extractor=extractor, jobs=1).to_arrow(),
            lambda: scaledproc.combine(out).errors(),
            lambda: list(committed_chunks(Store.at(out), "x", 0)),
        )
        for use in uses:
            with contextlib.suppress(ScaledprocError, pa.ArrowException, ValueError, LookupError, TypeError, OSError):
                use()
            assert not (tmp_path / "exploded").exists()

    everything()
    names = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert len(names) > 5
    names += [Path("work/00000/000000.parquet"), Path("work/done/00000.json"), Path("work/combined.json")]
    names += [Path("work/progress/x.json"), Path("work/control/run.json"), Path("work/code/x/complete")]
    original = {name: (out / name).read_bytes() for name in names if (out / name).exists()}
    marks = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": bomb}
    extension = pa.table({"path": ["x"]}, schema=pa.schema([pa.field("path", pa.string(), metadata=marks)]))
    pq.write_table(extension, tmp_path / "extension.parquet")
    for name in names:
        for content in (bomb, (tmp_path / "extension.parquet").read_bytes()):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)
            everything()
        (out / name).unlink(missing_ok=True)
        if name in original:
            (out / name).write_bytes(original[name])


@pytest.mark.slow
def test_a_plan_that_is_none_is_told_in_one_line(tree: TreeWriter, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    words: list[str | Path] = ["--backend", "local", tree({"a/1.txt": b"fine"}), tmp_path / "out", "--jobs", "1"]
    words += ["--extractor", f"{tmp_path}/leaky.py:leaky"]
    assert cli(*words).returncode == 0
    pq.write_table(pa.table({"path": ["x"]}), tmp_path / "out/plan.parquet")
    done = cli(*words)
    assert done.returncode == 1
    assert "plan.parquet has" in done.stderr
    assert "Traceback" not in done.stderr


# Files are created with the user's umask; scratch space is private, and goes.


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0o077, 0o002, 0o027])
def test_outputs_have_the_users_umask(tree: TreeWriter, tmp_path: Path, mask: int) -> None:
    data = tree({"a/1.txt": b"fine", "b/2.txt": b"bad"})
    (tmp_path / "leaky.py").write_text(LEAKY)
    (tmp_path / "said").write_text("x")
    done = subprocess.run(
        [*COMMAND, "--backend", "local", str(data), "out", "--extractor", "leaky.py:leaky", "--jobs", "2"],
        cwd=tmp_path,
        env=clean_environment({"SAID": str(tmp_path / "said")}),
        umask=mask,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    paths = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert len(paths) > 7
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~mask, path


SLOW = """
import time, os
from pathlib import Path
import scaledproc

@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def slow(task):
    Path(os.environ["BEGUN"], str(os.getpid())).touch()
    time.sleep(float(os.environ["SECONDS"]))
    return {"path": task.anchor}
"""


def private_folders(scratch: Path) -> list[Path]:
    return [path for path in scratch.iterdir() if path.name.startswith("scaledproc")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["end", "SIGINT", "SIGTERM", "SIGKILL"])
def test_scratch_is_private_and_goes(s3: Bucket, tmp_path: Path, kind: str, cli: Cli) -> None:
    """On exit and on signals; after a kill at the next start."""
    prefix = f"scratch-{kind}"
    for name in ("a/1.txt", "b/2.txt", "c/3.txt"):
        Store.at(s3.url(f"{prefix}/data"), s3.storage_options).write(name, b"x")
    (tmp_path / "slow.py").write_text(SLOW)
    for name in ("scratch", "begun"):
        (tmp_path / name).mkdir()
    options = [word for key, value in s3.storage_options.items() for word in ("--storage-option", f"{key}={value}")]
    words = ["--backend", "local", s3.url(f"{prefix}/data"), str(tmp_path / "out"), *options]
    words += ["--extractor", f"{tmp_path}/slow.py:slow", "--jobs", "2", "--chunk", "1"]
    environment = {"TMPDIR": str(tmp_path / "scratch"), "BEGUN": str(tmp_path / "begun")}
    process = subprocess.Popen(
        [*COMMAND, *words],
        env=clean_environment({**environment, "SECONDS": "1" if kind == "end" else "60"}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 60
        while not list((tmp_path / "begun").iterdir()):
            assert time.monotonic() < until
            time.sleep(0.05)
        held = private_folders(tmp_path / "scratch")
        assert held
        for folder in held:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        if kind == "SIGKILL":
            os.killpg(process.pid, signal.SIGKILL)
        elif kind != "end":
            process.send_signal(signal.Signals[kind])
        process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if kind == "SIGKILL":
        assert private_folders(tmp_path / "scratch")
        done = cli(*words, env={**environment, "SECONDS": "0"})
        assert done.returncode == 0, done.stderr
    assert private_folders(tmp_path / "scratch") == []
