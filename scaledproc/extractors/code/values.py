"""Values as text that changes when they do: the same in each process, whatever its hash seed and addresses are."""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import logging
import pathlib
import re
import types
from collections.abc import Callable, Iterable
from typing import Any

from scaledproc.errors import ScaledprocError

FOLDED = 200
"""Characters, from which on a text within another is told by its hash."""
MOST_OBJECTS = 20_000

_PLAIN = (type(None), bool, int, float, complex, type(...), type(NotImplemented), range)
_BY_TEXT = ("datetime", "decimal", "fractions", "uuid", "zoneinfo", "ipaddress", "typing", "_pydatetime", "_pydecimal")
_LOCKS = ("lock", "RLock", "_RLock")


class ValueWriter:
    """Writes values.

    Parameters
    ----------
    code
        What a function, a class or a module is called in the text; told of each one.
    base
        A folder: paths below it are written relative to it.
    tell
        Told of what cannot be told, as text.
    """

    def __init__(self, code: Callable[[Any], str], base: str, tell: Callable[[str], None]) -> None:
        self._code = code
        self._base = base
        self._tell = tell
        self._known: dict[int, tuple[Any, str]] = {}  # with the value, so that its number stays its own
        self._within: list[int] = []
        self._objects = 0

    def write(self, value: Any, name: str) -> str:
        """A value as text.

        Parameters
        ----------
        value
            Any.
        name
            What a person calls it.
        """
        self._objects = 0
        try:
            return self._text(value, name)
        except RecursionError:
            self._within.clear()
            return self._untold(value, name)

    def _text(self, value: Any, name: str) -> str:
        kind = type(value)
        if kind in _PLAIN:
            return _plain(value)
        if kind is str:
            return repr(self._relative(value))
        if kind in (bytes, bytearray):
            return f"{kind.__name__} {repr(bytes(value)) if len(value) < FOLDED else _digest(value)}"
        if isinstance(value, type | types.FunctionType | types.ModuleType):
            return self._code(value)
        if id(value) in self._within:
            return f"^{len(self._within) - self._within.index(id(value))}"
        if id(value) in self._known:
            return self._known[id(value)][1]
        self._within.append(id(value))
        try:
            text = self._container(value, name)
        except (RecursionError, ScaledprocError):
            raise
        except Exception:  # it is the value's own code that fails: a proxy of nothing, say
            text = self._untold(value, name)
        text = text if len(text) <= FOLDED else folded(text)
        self._within.pop()
        self._known[id(value)] = value, text
        return text

    def _container(self, value: Any, name: str) -> str:
        kind = type(value)
        if kind is list:
            return f"[{self._list(value, name)}]"
        if kind is tuple:
            return f"({self._list(value, name)})"
        if kind in (set, frozenset):
            return f"{kind.__name__} {{{', '.join(sorted(self._text(each, name) for each in value))}}}"
        if kind in (dict, types.MappingProxyType):
            return f"{{{self._pairs(value.items(), name)}}}"
        if isinstance(value, enum.Enum):
            return f"{self._code(kind)}.{value.name} = {self._text(value.value, name)}"
        if isinstance(value, pathlib.PurePath):
            return f"Path({self._relative(str(value))!r})"
        if kind is re.Pattern:
            return f"re.compile({value.pattern!r}, {value.flags})"
        if kind.__module__ == "fractions" and type(value.numerator) is type(value.denominator) is int:
            return f"{kind.__name__}({_plain(value.numerator)}, {_plain(value.denominator)})"
        if kind.__module__ in _BY_TEXT or kind is types.GenericAlias or kind is types.UnionType:
            return repr(value)
        if kind is slice:
            return f"slice({self._list((value.start, value.stop, value.step), name)})"
        return self._callable(value, name) or self._of_library(value, name) or self._object(value, name)

    def _callable(self, value: Any, name: str) -> str:
        kind = type(value)
        if kind is functools.partial:
            words = [self._text(value.func, name), self._list(value.args, name)]
            return f"partial({', '.join(words)}, {{{self._pairs(value.keywords.items(), name)}}})"
        if kind is types.MethodType:
            return f"{self._text(value.__func__, name)} of {self._text(value.__self__, name)}"
        if kind in (staticmethod, classmethod):
            return self._text(value.__func__, name)
        if kind is property:
            return f"property({self._list((value.fget, value.fset, value.fdel), name)})"
        if kind is functools.cached_property:
            return f"cached_property({self._text(value.func, name)})"
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            if owner is None or isinstance(owner, types.ModuleType):
                return f"{value.__module__}.{value.__qualname__}"
            return f"{value.__name__} of {self._text(owner, name)}"
        if isinstance(
            value, types.MethodDescriptorType | types.WrapperDescriptorType | types.ClassMethodDescriptorType
        ):
            return f"{value.__objclass__.__qualname__}.{value.__name__}"
        if callable(value) and callable(getattr(value, "__wrapped__", None)):
            return f"{self._code(kind)}({self._text(value.__wrapped__, name)})"  # functools.cache and the like
        if isinstance(value, logging.Logger):
            return f"logger {value.name!r}"
        return ""

    def _of_library(self, value: Any, name: str) -> str:
        library = type(value).__module__.partition(".")[0]
        if library == "numpy":
            return self._of_numpy(value, name)
        if library == "pandas":
            return self._of_pandas(value, name)
        if library == "polars" and hasattr(value, "to_arrow"):
            return f"{type(value).__name__} {self._of_arrow(value.to_arrow())}"
        return self._of_arrow(value) if library == "pyarrow" else ""

    def _of_numpy(self, value: Any, name: str) -> str:
        import numpy as np

        if isinstance(value, np.generic) and value.dtype.kind != "V":
            return f"{value.dtype} {self._text(value.item(), name) if value.dtype.kind in 'biufcSU' else value}"
        if isinstance(value, np.dtype):
            return f"dtype {value.descr if value.names else value.str}"
        if isinstance(value, np.ufunc):
            return f"numpy.{value.__name__}"
        if type(value) not in (np.ndarray, np.memmap):
            return ""
        if value.dtype.hasobject:
            return f"array {value.shape} {self._text(value.tolist(), name)}"
        kind = value.dtype.descr if value.dtype.names else value.dtype.str
        return f"array {kind} {value.shape} {_digest(np.ascontiguousarray(value).tobytes())}"

    def _of_pandas(self, value: Any, name: str) -> str:
        import pandas as pd

        if isinstance(value, pd.DataFrame):
            labels = f"{self._text(value.columns, name)}, {self._text(value.index, name)}"
            columns = [self._of_pandas(value.iloc[:, at].array, name) for at in range(value.shape[1])]
            return f"{type(value).__name__}({labels}, {', '.join(columns)})"
        if isinstance(value, pd.Series):
            return f"Series({value.name!r}, {self._text(value.index, name)}, {self._of_pandas(value.array, name)})"
        if isinstance(value, pd.MultiIndex):
            return f"MultiIndex({self._text(value.names, name)}, {self._text(value.to_list(), name)})"
        if isinstance(value, pd.Index):
            return f"Index({value.name!r}, {self._of_pandas(value.array, name)})"
        if isinstance(value, pd.api.extensions.ExtensionArray):
            content = value.to_numpy() if value.dtype.kind in "biufc" and not value.isna().any() else value.tolist()
            return f"{value.dtype} {self._text(content, name)}"
        return repr(value) if isinstance(value, pd.Timestamp | pd.Timedelta | pd.Period | pd.Interval) else ""

    def _of_arrow(self, value: Any) -> str:
        import pyarrow as pa

        if isinstance(value, pa.Schema):
            return str(value.to_string(show_schema_metadata=True, truncate_metadata=False))
        if isinstance(value, pa.DataType | pa.Field):
            return str(value)
        if isinstance(value, pa.Scalar):
            return f"{value.type} {value.as_py()!r}"
        if isinstance(value, pa.Array | pa.ChunkedArray):
            value = pa.table({"": value})
        if isinstance(value, pa.RecordBatch):
            value = pa.table(value)
        if not isinstance(value, pa.Table):
            return ""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value.combine_chunks())
        return f"{value.schema.to_string(show_schema_metadata=True)} {_digest(sink.getvalue())}"

    def _object(self, value: Any, name: str) -> str:
        """Whatever else: what it would be pickled as."""
        kind = type(value)
        self._objects += 1
        if kind.__module__ == "_thread" and kind.__name__ in _LOCKS:
            return kind.__name__
        if self._objects > MOST_OBJECTS:
            return self._untold(value, name)
        try:
            made: Any = value.__reduce_ex__(4)
        except Exception:
            return self._untold(value, name)
        if isinstance(made, str):
            return f"{kind.__module__}.{made}"
        how, arguments, state, items, pairs = (*made, None, None, None)[:5]
        if how is copyreg.__newobj__:  # type: ignore[attr-defined]  # pickle's own, left out of its stubs
            maker, arguments = self._code(arguments[0]), arguments[1:]
        else:
            maker = self._text(how, name)
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # with slots
            state = {**(state[0] or {}), **state[1]}
        words = [self._text(each, name) for each in arguments]
        if type(state) is dict and all(isinstance(key, str) for key in state):
            words += [f"{key}={self._text(each, f'{name}.{key}')}" for key, each in state.items()]
        elif state is not None:
            words.append(self._text(state, name))
        words += [f"[{self._list(items, name)}]"] if items is not None else []
        words += [f"{{{self._pairs(pairs, name)}}}"] if pairs is not None else []
        return f"{maker}({', '.join(words)})"

    def _list(self, values: Iterable[Any], name: str) -> str:
        return ", ".join(self._text(each, name) for each in values)

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], name: str) -> str:
        return ", ".join(f"{self._text(key, name)}: {self._text(each, _item(name, key))}" for key, each in pairs)

    def _relative(self, text: str) -> str:
        if self._base and (text == self._base or text.startswith(f"{self._base}/")):
            return f"<beside>{text[len(self._base) :]}"
        return text

    def _untold(self, value: Any, name: str) -> str:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        self._tell(f"{name} ({kind.removeprefix('builtins.')})")
        return f"<{kind}>"


def _item(name: str, key: Any) -> str:
    """What a person calls a value of a mapping."""
    return f"{name}[{_plain(key)}]" if type(key) in (str, int) else name


def _plain(value: Any) -> str:
    """A value as Python writes it; whole numbers of more digits than Python writes, by their hexadecimal ones."""
    try:
        return repr(value)
    except ValueError:
        if isinstance(value, range):
            return f"range({', '.join(map(_plain, (value.start, value.stop, value.step)))})"
        return hex(value)


def folded(text: str) -> str:
    """The hash of a long text."""
    return _digest(text.encode(errors="surrogatepass"))


def _digest(content: Any) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()[:32]}"
