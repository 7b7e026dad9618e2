"""What can go wrong on purpose: a test says so beforehand, and the emulator asks at each step."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .wire import AwsError

INTERNAL = "InternalServerError: We encountered an internal error. Please try again."


@dataclass
class Fault:
    """One thing that goes wrong, `times` times (None: always), for a share of what it could happen to."""

    kind: str
    what: str  # an action, an instance type, or a part of a job's name
    times: int | None = None
    share: float = 1.0
    hits: int = 0  # how often it happened
    details: dict[str, Any] = field(default_factory=dict)


class Faults:
    """The faults that are to happen, in the order in which they were asked for. Deterministic for a seed.

    Each method returns its fault, whose `hits` tell how often it happened. `job` is a part of a job's name: a
    pipeline's jobs have their step's name in theirs.
    """

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._faults: list[Fault] = []

    def fail(
        self, action: str, code: str, message: str, *, status: int = 400, times: int | None = None, share: float = 1.0
    ) -> Fault:
        """Answer an action (`*`: every one) with an error."""
        return self._add(Fault("call", action, times, share, details={"error": AwsError(code, message, status)}))

    def throttle(self, action: str = "*", times: int | None = None, share: float = 1.0) -> Fault:
        return self.fail(action, "ThrottlingException", "Rate exceeded", times=times, share=share)

    def expire_token(self, action: str = "*", times: int | None = None) -> Fault:
        message = "The security token included in the request is expired"
        return self.fail(action, "ExpiredTokenException", message, times=times)

    def deny(self, action: str, times: int | None = None) -> Fault:
        message = f"User is not authorized to perform: {action} because no identity-based policy allows the action"
        return self.fail(action, "AccessDeniedException", message, times=times)

    def service_fault(self, action: str, times: int | None = None) -> Fault:
        message = "The request processing has failed because of an unknown error, exception or failure."
        return self.fail(action, "InternalFailure", message, status=500, times=times)

    def resource_limit(self, times: int | None = None) -> Fault:
        message = "The account-level service limit is reached. Please use AWS Service Quotas to request an increase."
        return self.fail("CreateProcessingJob", "ResourceLimitExceeded", message, times=times)

    def no_capacity(self, instance_type: str, times: int | None = None) -> Fault:
        """There are no machines of a type: jobs fail with CapacityError, or take the next type they name."""
        return self._add(Fault("capacity", instance_type, times))

    def job_error(self, job: str = "", *, reason: str = INTERNAL, after: float = 0.0, times: int | None = 1) -> Fault:
        """Fail a job by no fault of its container, so many seconds after its hosts were started."""
        return self._add(Fault("job", job, times, details={"reason": reason, "after": after}))

    def kill_host(
        self,
        host: int = 1,
        job: str = "",
        *,
        after: float | None = None,
        when: Callable[[Any], bool] | None = None,
        lost: bool = False,
        times: int | None = 1,
    ) -> Fault:
        """Kill a host's processes: after so many seconds, or when the predicate holds of its Host; else at once.

        The container was killed, as when its memory ran out (AlgorithmError), or its machine was `lost`
        (InternalServerError).
        """
        details = {"host": host, "after": after or 0.0, "when": when, "lost": lost}
        return self._add(Fault("kill", job, times, details=details))

    def idle_host(self, host: int = 1, job: str = "", times: int | None = 1) -> Fault:
        """A host ends with exit code 0 and did nothing: its command is not run."""
        return self._add(Fault("idle", job, times, details={"host": host}))

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def check_call(self, action: str, *, is_own: bool = False) -> None:
        """Raise the error that a call is to be answered with, if any; AWS's `own` calls fail only by their name."""
        if fault := self._take("call", lambda fault: fault.what == action or (fault.what == "*" and not is_own)):
            error = fault.details["error"]
            raise AwsError(error.code, error.message, error.status)

    def lacks_capacity(self, instance_type: str) -> bool:
        return self._take("capacity", lambda fault: fault.what == instance_type) is not None

    def ends_job(self, job: str, seconds: float) -> str | None:
        """The reason for which a job fails that runs for so many seconds, if any."""
        found = self._take("job", lambda fault: fault.what in job and seconds >= fault.details["after"])
        return found.details["reason"] if found else None

    def kills(self, job: str, number: int, host: Any, seconds: float) -> Fault | None:
        """The fault that kills this host now, if any."""

        def now(fault: Fault) -> bool:
            details = fault.details
            if fault.what not in job or details["host"] != number or seconds < details["after"]:
                return False
            return details["when"] is None or bool(details["when"](host))

        return self._take("kill", now)

    def idles(self, job: str, number: int) -> bool:
        return self._take("idle", lambda fault: fault.what in job and fault.details["host"] == number) is not None

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def _take(self, kind: str, fits: Callable[[Fault], bool]) -> Fault | None:
        with self._lock:
            faults = [fault for fault in self._faults if fault.kind == kind and fault.times != 0]
        for fault in faults:
            if not fits(fault):  # without the lock: a test's own predicate may take long, or ask the emulator
                continue
            with self._lock:
                if fault.times == 0 or (fault.share < 1 and self._random.random() >= fault.share):
                    continue
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
