"""Whether tests notice faults: change one thing in a module, run the tests of its name, and do so for each such thing.

    python tests/support/mutation/mutants.py                              # all modules below
    python tests/support/mutation/mutants.py scaledproc/storage/retry.py  # some
    python tests/support/mutation/mutants.py --sample 50 scaledproc/extractors/rows/scalars.py

Slow tests are left out. A mutant that no test notices is printed. `equal_mutants.toml` names those that no test can
notice, with the reason.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import select
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).parents[3]
EQUAL = Path(__file__).with_name("equal_mutants.toml")
TESTS: dict[str, Sequence[str]] = {
    "scaledproc/_util/units.py": ["tests/_util/test_units.py"],
    "scaledproc/_util/pace.py": ["tests/_util/test_pace.py"],
    "scaledproc/planning/comparison.py": ["tests/planning/test_comparison.py"],
    "scaledproc/planning/cost_model.py": ["tests/planning/test_cost_model.py"],
    "scaledproc/planning/partition.py": ["tests/planning/test_partition.py"],
    "scaledproc/planning/layout.py": ["tests/planning/test_layout.py"],
    "scaledproc/storage/retry.py": ["tests/storage/test_retry.py"],
    "scaledproc/run_folder/beginning.py": ["tests/run_folder/test_beginning.py"],
    "scaledproc/run_folder/lock/lease.py": ["tests/run_folder/lock/test_lease.py"],
    "scaledproc/run_folder/changes.py": ["tests/run_folder/test_changes.py"],
    "scaledproc/extractors/rows/collector.py": ["tests/extractors/rows/test_collector.py"],
    "scaledproc/extractors/rows/columns.py": ["tests/extractors/rows/test_columns.py"],
    "scaledproc/extractors/rows/scalars.py": ["tests/extractors/rows/test_scalars.py"],
    "scaledproc/extractors/rows/takers.py": ["tests/extractors/rows/test_takers.py"],
    "scaledproc/extractors/rows/values.py": ["tests/extractors/rows/test_values.py"],
    "scaledproc/extractors/wfdb/signals/statistics.py": ["tests/extractors/wfdb/signals/test_statistics.py"],
    "scaledproc/extractors/wfdb/signals/byte_counting.py": ["tests/extractors/wfdb/signals/test_byte_counting.py"],
    "scaledproc/engine/failing.py": ["tests/engine/test_failing.py"],
    "scaledproc/engine/progress.py": ["tests/engine/test_progress.py"],
    "scaledproc/execution/reuse/decision.py": ["tests/execution/reuse/test_decision.py"],
    "scaledproc/execution/workers/recovery.py": ["tests/execution/workers/test_recovery.py"],
    "scaledproc/execution/scheduler.py": [
        "tests/execution/test_scheduler.py",
        "tests/execution/scheduling/test_schedules.py",
        "tests/execution/scheduling/test_together.py",
    ],
    "backends/batch/elements.py": ["tests/backends/batch/test_elements.py"],
    "backends/sagemaker/jobs/decisions.py": ["tests/backends/sagemaker/jobs/test_decisions.py"],
}
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}
NAMES = {"max": "min", "min": "max", "any": "all", "all": "any"}


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, str, ast.stmt]]:
    """Each change of one thing: its line, what stands there, what comes in its place, and the statement with it."""
    for statement in tree.body:
        for number in range(len(list(_places(statement)))):
            option = 0
            while True:
                changed = copy.deepcopy(statement)
                place, options = list(_places(changed))[number]
                before = ast.unparse(place)
                options[option]()
                yield getattr(place, "lineno", 0), before, ast.unparse(place), ast.fix_missing_locations(changed)
                option += 1
                if option == len(options):
                    break


def _places(statement: ast.stmt) -> Iterator[tuple[ast.AST, list[Callable[[], None]]]]:
    """What can be changed: the statement or expression to show, and the ways to change it."""

    def walk(node: ast.AST, shown: ast.AST) -> Iterator[tuple[ast.AST, list[Callable[[], None]]]]:
        if isinstance(node, ast.expr | ast.stmt) and not isinstance(node, ast.Constant | ast.Name):
            shown = node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Raise):  # words of messages, nearly always
            return
        if isinstance(node, ast.JoinedStr):
            node = ast.Tuple([each.value for each in node.values if isinstance(each, ast.FormattedValue)], ast.Load())
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list") or _is_docstring(node, name):
                continue
            for at, child in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(child, ast.AST) or (at == 0 and name == "body" and _is_docstring(child, "value")):
                    continue
                if ways := list(_ways(child)):
                    is_small = isinstance(child, ast.expr | ast.stmt) and not isinstance(child, ast.Constant | ast.Name)
                    is_shown = is_small and not isinstance(child, ast.Break | ast.Continue | ast.UnaryOp)
                    place = child if is_shown else shown
                    held = value if isinstance(value, list) else None
                    yield place, [_put(node, name, held, at, way) for way in ways]
                is_test = isinstance(node, ast.If | ast.While | ast.IfExp) and name == "test"
                if is_test and isinstance(child, ast.expr) and not isinstance(child, ast.Compare | ast.BoolOp):
                    yield shown, [_put(node, name, None, 0, ast.UnaryOp(ast.Not(), child))]
                yield from walk(child, shown)

    if isinstance(statement, ast.Assign) and ast.unparse(statement.value).startswith(("Literal[", "Callable[")):
        return iter(())  # a type
    return walk(ast.Module([statement], []), statement)


def _is_docstring(node: ast.AST, name: str) -> bool:
    """Whether it is text that stands alone."""
    return isinstance(node, ast.Expr) and name == "value" and isinstance(node.value, ast.Constant)


def _ways(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if type(node) in OPERATORS:
        yield OPERATORS[type(node)]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id], node.ctx)
    elif isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield ast.Constant(not value)
        elif isinstance(value, int):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        elif isinstance(value, float):
            yield ast.Constant(2 * value or 1.0)
        elif isinstance(value, str):
            yield ast.Constant(f"{value}XX")


def _put(parent: ast.AST, name: str, held: list[Any] | None, at: int, new: ast.AST) -> Callable[[], None]:
    def put() -> None:
        if held is None:
            setattr(parent, name, new)
        else:
            held[at] = new

    return put


def apply(statement: ast.stmt, module: ModuleType) -> None:
    """Have a module work as if this statement of its top level stood there.

    Functions and classes stay the same objects: who imported them before has them too.
    """
    before = dict(module.__dict__)
    is_data = not isinstance(statement, ast.FunctionDef | ast.ClassDef)
    made = module.__dict__ if is_data else dict(before)
    exec(compile(ast.Module([statement], []), str(module.__file__), "exec"), made)
    for name, value in list(made.items()):
        if is_data and name in before and value is not before[name]:
            for other in list(sys.modules.values()):  # who imported the value
                if getattr(other, "__dict__", {}).get(name) is before[name]:
                    setattr(other, name, value)
        elif not is_data and value is not before.get(name):
            _take_over(before[name], value)


def _take_over(old: Any, new: Any) -> None:
    """Give a function another one's code, and a class other methods and values."""
    old, new = (getattr(each, "__func__", each) for each in (old, new))
    if hasattr(old, "cache_clear"):
        old.cache_clear()
        old, new = old.__wrapped__, new.__wrapped__
    if isinstance(old, FunctionType):
        if old.__code__.co_freevars == new.__code__.co_freevars:  # with `super()` its cell stays the old class's
            old.__code__ = new.__code__
        old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
    elif isinstance(old, property):
        _take_over(old.fget, new.fget)
    elif isinstance(old, type):
        for name, value in vars(new).items():
            found = vars(old).get(name)
            if isinstance(found, FunctionType | property | classmethod | staticmethod):
                _take_over(found, value)
            elif name in ("__annotations__", "__module__", "__dict__", "__weakref__", "__doc__") or value is found:
                continue
            elif not hasattr(value, "__get__"):  # a value of the class
                setattr(old, name, value)


class Plugin:
    """Runs the tests of a session once for each mutant, each time in a process that is forked then."""

    def __init__(self, file: str, sample: int, seed: int, equal: set[Change]) -> None:
        self.file, self.sample, self.seed, self.equal = file, sample, seed, equal
        self.share = 0.0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        name = self.file.removesuffix(".py").replace("/", ".")
        module = sys.modules[f"scaledproc.{name}" if name.startswith("backends.") else name]
        source = ast.parse((ROOT / self.file).read_text(encoding="utf-8"))
        is_broken, seconds = self._is_noticed(session, module, None, 600)
        if is_broken:
            raise pytest.UsageError(f"{self.file}: its tests fail as it is")
        found = list(mutants(source))
        if self.sample:
            chosen = random.Random(self.seed).sample(range(len(found)), min(self.sample, len(found)))
            found = [found[number] for number in sorted(chosen)]
        n_equal = n_alive = 0
        for line, was, becomes, statement in found:
            if (self.file, getattr(statement, "name", ""), was, becomes) in self.equal:
                n_equal += 1
            elif not self._is_noticed(session, module, statement, 3 * seconds + 5)[0]:
                n_alive += 1
                _say(f"{self.file}:{line}: {was!r} -> {becomes!r}")
        killed = len(found) - n_equal - n_alive
        self.share = killed / max(len(found) - n_equal, 1)
        _say(
            f"{self.file}: {len(found)} mutants, {killed} killed, {n_equal} equal, {n_alive} live: {self.share:.1%}; "
            f"its tests take {seconds:.1f} s"
        )
        return True

    def _is_noticed(
        self, session: pytest.Session, module: ModuleType, statement: ast.stmt | None, limit: float
    ) -> tuple[bool, float]:
        """Whether tests fail or hang, and how long that took."""
        started = time.monotonic()
        process = os.fork()
        if not process:
            os.setsid()
            code = 1
            try:
                if statement is not None:
                    apply(statement, module)
                for number, item in enumerate(session.items):
                    following = session.items[number + 1] if number + 1 < len(session.items) else None
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    if session.testsfailed:
                        break
                code = int(bool(session.testsfailed))
            finally:
                os._exit(code)
        descriptor = os.pidfd_open(process)
        has_ended, _, _ = select.select([descriptor], [], [], limit)
        os.close(descriptor)
        if not has_ended:
            os.killpg(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        return status != 0, time.monotonic() - started


def _say(text: str) -> None:
    os.write(3, f"{text}\n".encode())


Change = tuple[str, str, str, str]
"""Of one mutant: its file, the function or class at the top level that it is in, what stands there and what comes."""


def strange_entries(equal: set[Change], root: Path = ROOT) -> list[str]:
    """Entries of `equal_mutants.toml` that name no mutant: what they excused was renamed, or is gone."""
    made: set[Change] = set()
    for file in {file for file, *_ in equal if (root / file).is_file()}:
        tree = ast.parse((root / file).read_text(encoding="utf-8"))
        named = {within for other, within, *_ in equal if other == file}
        tree.body = [node for node in tree.body if getattr(node, "name", "") in named]
        made |= {(file, getattr(node, "name", ""), was, becomes) for _, was, becomes, node in mutants(tree)}
    return [f"{file}, within {within!r}: {was!r} -> {becomes!r}" for file, within, was, becomes in sorted(equal - made)]


def main() -> int:
    """Print a line for each module, and the mutants that live; 1 if a module is below 90 %, 2 for a strange entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=list(TESTS))
    parser.add_argument(
        "--sample", type=int, default=0, help="so many of each module's, chosen at random; all by default"
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    listed = tomllib.loads(EQUAL.read_text(encoding="utf-8"))["mutant"]
    equal = {(each["file"], each["within"], each["was"], each["becomes"]) for each in listed}
    if strange := strange_entries(equal):
        parser.error("\n".join([f"{EQUAL.name} names what is no mutant:", *strange]))
    os.chdir(ROOT)
    os.dup2(1, 3)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):  # what tests print
        os.dup2(quiet, number)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # the smallest example is not asked for
    hypothesis.settings.register_profile("mutants", database=None, phases=phases, derandomize=True)
    hypothesis.settings.load_profile("mutants")
    status = 0
    for file in arguments.files:
        process = os.fork()  # one session for each
        if not process:
            plugin = Plugin(file, arguments.sample, arguments.seed, equal)
            # hypothesis was imported before pytest could have rewritten its assertions.
            options = ["-q", "-m", "not slow", "-p", "no:cacheprovider"]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
            ended = pytest.main([*options, *TESTS[file]], plugins=[plugin])
            if ended:
                _say(f"{file}: pytest ended with {ended!r}")
            os._exit(int(bool(ended) or plugin.share < 0.9))
        status |= os.waitpid(process, 0)[1] != 0
    return status


if __name__ == "__main__":
    sys.exit(main())
