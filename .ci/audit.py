"""Known vulnerabilities of the installed packages, by pip-audit; and whether it could look them up at all.

pip-audit passes over a package that its service does not know, and calls the rest clean: behind a mirror that has
packages but no vulnerabilities, that is all of them. So what was not looked up is counted, and said. It fails nothing,
as the tests must run where only packages can be had; with SCALEDPROC_REQUIRE_AUDIT=1 it does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Vulnerability to the reason why it does not concern us.
EXCEPTIONS: dict[str, str] = {}
TIMEOUT = 300  # seconds


def judge(report: dict[str, Any] | None, *, required: bool) -> tuple[int, str]:
    """The exit code, and what to say.

    Parameters
    ----------
    report
        pip-audit's, as JSON; None where it could not make one.
    required
        Whether what could not be looked up is a failure.
    """
    packages = report["dependencies"] if report else []
    audited = [package for package in packages if "skip_reason" not in package]
    found = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for package in audited
        for vulnerability in package["vulns"]
        if not {vulnerability["id"], *vulnerability.get("aliases", ())} & EXCEPTIONS.keys()
    ]
    if found:
        return 1, "\n".join(["vulnerable:", *found])
    missing = len(packages) - len(audited)
    excepted = "".join(f"\nexcepted: {name}: {reason}" for name, reason in EXCEPTIONS.items())
    if audited and not missing:
        return 0, f"clean: {len(audited)} packages looked up, none with a known vulnerability{excepted}"
    what = f"{missing} of {len(packages)} packages" if packages else "no package"
    verb = "were not looked up" if packages else "was looked up"
    return int(required), (
        f"NOT AUDITED: {what} {verb}, as no service of vulnerabilities answers for them from here. This is no finding, "
        f"and no clean result. {len(audited)} packages are clean.{excepted}"
    )


def main() -> int:
    """Ask, and say."""
    tool = Path(sys.executable).with_name("pip-audit")
    command = [str(tool), "--format", "json", "--progress-spinner", "off", "--skip-editable", "--timeout", "5"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)  # noqa: S603 - ours
        report = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        report = None
    code, said = judge(report, required=os.environ.get("SCALEDPROC_REQUIRE_AUDIT") == "1")
    sys.stdout.write(f"{said}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
