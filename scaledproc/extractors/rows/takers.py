"""What takes the values of each type: those of `scalars`, and here those that hold several values."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scaledproc.extractors.rows.scalars import SCALAR_TAKERS, Taker
from scaledproc.extractors.rows.values import RefusedValue, is_pandas, shown


class _List(Taker):
    exact = (list, tuple)

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        field = kind.value_field
        self.item = _inner_taker(field)
        self.has_rules = self.item.has_rules or not self.item.nullable

    def _take(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._take_array(value)
        if isinstance(value, (list, tuple)):
            return self.item.take_all(value)
        return self._take_other(value)

    def _take_array(self, array: np.ndarray[Any, Any]) -> Any:
        if type(array) is np.ma.MaskedArray:
            return self.item.take_all(array.tolist() if array.dtype.kind not in "mM" else array)
        if type(array) not in (np.ndarray, np.memmap) or array.dtype.kind == "V":
            raise self.wrong(array, "make an array of plain numbers of it by numpy.asarray()")
        if array.ndim == 1:
            taken = self.item.take_array(array)
            if taken is not None:
                return taken
            # As NumPy's own where Python has no such type or would lose its digits.
            return self.item.take_all(array if array.dtype.kind in "mM" or array.dtype.char == "g" else array.tolist())
        return self.item.take_all(array)

    def _take_other(self, value: Any) -> Any:
        if isinstance(value, pa.MapScalar):
            raise self.wrong(value)
        if isinstance(value, (pa.ListScalar, pa.Array, pa.ChunkedArray)):
            return self.item.take_all(value.values if isinstance(value, pa.Scalar) else value)
        if is_pandas(value, "Series", "Index", "ExtensionArray"):
            dtype = value.dtype
            return self._take_array(value.to_numpy()) if isinstance(dtype, np.dtype) else self.item.take_all(value)
        if hasattr(value, "__arrow_c_stream__") and not hasattr(value, "columns"):  # a polars Series
            return self.item.take_all(pa.chunked_array(value))
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
            return self.item.take_all(value)
        is_ordered = not isinstance(value, (set, frozenset))
        raise self.wrong(value, "make a list of it" if is_ordered else "make a list of it by sorted()")


class _FixedList(_List):
    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        self.nullable = False  # Parquet files that have one can be written and not be read

    def _take(self, value: Any) -> Any:
        taken = super()._take(value)
        if len(taken) == self.kind.list_size:
            return taken
        raise RefusedValue(
            f"{shown(value)} has {len(taken)} items, not {self.kind.list_size}; declare the column as a list"
        )

    def no_null(self) -> str:
        return f"Parquet cannot keep a null of {self.kind}; give {self.kind.list_size} nulls, or declare it as a list"


class _Struct(Taker):
    exact = (dict,)

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        self.fields = {field.name: _inner_taker(field) for field in kind}
        self.has_rules = any(taker.has_rules or not taker.nullable for taker in self.fields.values())
        self.nullable = nullable and not any(map(_holds_no_null, self.fields.values()))

    def _take(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise self.wrong(value)
        missing = [name for name in self.fields if name not in value]
        if missing:
            raise RefusedValue(f"it lacks {', '.join(map(repr, missing))} (give None for a null)")
        if len(value) != len(self.fields):
            extra = [str(name) for name in value if name not in self.fields]
            raise RefusedValue(f"it has fields that {self.kind} does not: {', '.join(extra)}; remove or declare them")
        taken = {}
        name = ""
        try:
            for name, taker in self.fields.items():
                taken[name] = taker.take(value[name])
        except RefusedValue as error:
            error.path = (name, *error.path)
            raise
        return taken

    def no_null(self) -> str:
        if any(map(_holds_no_null, self.fields.values())):
            return f"Parquet cannot keep a null of {self.kind}; declare its lists without a fixed size"
        return super().no_null()


class _Map(Taker):
    exact = (dict, list)

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        self.key = _inner_taker(kind.key_field)
        self.item = _inner_taker(kind.item_field)
        self.has_rules = self.key.has_rules or self.item.has_rules or not self.item.nullable

    def _take(self, value: Any) -> Any:
        if isinstance(value, pa.MapScalar):
            value = [(pair["key"], pair["value"]) for pair in map(_fields_of, value.values)]
        elif isinstance(value, (pa.ListScalar, np.ndarray)):  # as other forms have a list of pairs, or an empty one
            value = value.as_py() if isinstance(value, pa.Scalar) else value.tolist()
        pairs = list(value.items()) if isinstance(value, Mapping) else value
        if not isinstance(pairs, (list, tuple)):
            raise self.wrong(value, "give a dict, or pairs of keys and values")
        taken = []
        for place, pair in enumerate(pairs):
            if not isinstance(pair, (list, tuple, np.ndarray)) or len(pair) != 2:
                raise self.wrong(pair, "give a dict, or pairs of keys and values")
            try:
                taken.append((self.key.take(pair[0]), self.item.take(pair[1])))
            except RefusedValue as error:
                error.path = (pair[0] if isinstance(value, Mapping) else place, *error.path)
                raise
        return taken


class _Extension(Taker):
    """A type of Arrow's or of the user's that lies over another one: what that takes, and what belongs to it."""

    def __init__(self, kind: pa.DataType, *, nullable: bool) -> None:
        super().__init__(kind, nullable=nullable)
        self.inner = taker_for(kind.storage_type, nullable=nullable)
        self.nullable, self.has_rules, self.storage = self.inner.nullable, self.inner.has_rules, self.inner.storage
        self.name = kind.extension_name
        self.shape = tuple(getattr(kind, "shape", ())) if self.name == "arrow.fixed_shape_tensor" else ()

    def _take(self, value: Any) -> Any:
        if self.name == "arrow.uuid" and isinstance(value, uuid.UUID):
            return value.bytes
        if self.name == "arrow.bool8":
            if type(value) is not bool:
                raise self.wrong(value)
            return int(value)
        if len(self.shape) > 1 and self.kind.permutation in (None, list(range(len(self.shape)))):
            value = _flat(value, self.shape)
        return self.inner.take(value)

    def no_null(self) -> str:
        return self.inner.no_null()


def taker_for(kind: pa.DataType, *, nullable: bool = True) -> Taker:
    """What takes values of a type.

    Raises
    ------
    TypeError
        If no value of the type can be stored.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return _Extension(kind, nullable=nullable)
    if pa.types.is_struct(kind) and len({field.name for field in kind}) != kind.num_fields:
        raise TypeError(f"{kind} names a field twice")
    if pa.types.is_dictionary(kind):
        raise TypeError(f"declare its value type {kind.value_type} (Parquet dictionary-encodes by itself)")
    for is_kind, taker in _TAKERS:
        if is_kind(kind):
            return taker(kind, nullable=nullable)
    raise TypeError("Parquet does not keep values of it as they are, or rows cannot have them")


def _inner_taker(field: pa.Field) -> Taker:
    if isinstance(field.type, pa.BaseExtensionType):
        raise TypeError(f"Arrow makes no {field.type} within another type; declare {field.type.storage_type} there")
    return taker_for(field.type, nullable=field.nullable)


_TAKERS: tuple[tuple[Callable[[pa.DataType], bool], type[Taker]], ...] = (
    *SCALAR_TAKERS,
    (pa.types.is_map, _Map),
    (pa.types.is_struct, _Struct),
    (pa.types.is_fixed_size_list, _FixedList),
    (lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind), _List),
)


def to_arrow(values: Sequence[Any], taker: Taker) -> pa.ChunkedArray:
    """Values that a taker gave, as Arrow's."""
    made = pa.array(values, type=taker.storage)
    chunked = made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])
    return chunked if taker.storage == taker.kind else chunked.cast(taker.kind)


def _holds_no_null(taker: Taker) -> bool:
    """Whether a null struct around it could not be read from Parquet again."""
    if isinstance(taker, _Extension):
        return _holds_no_null(taker.inner)
    if isinstance(taker, _Struct):
        return any(map(_holds_no_null, taker.fields.values()))
    return isinstance(taker, _FixedList)


def _fields_of(scalar: pa.StructScalar) -> Mapping[str, Any]:
    return {name: scalar[place] for place, name in enumerate(("key", "value"))}


def _flat(value: Any, shape: tuple[int, ...]) -> Any:
    """A tensor's numbers in their order, where it has the shape; as it is where it is flat already."""
    if isinstance(value, np.ndarray) and value.ndim > 1:
        if value.shape != shape:
            raise RefusedValue(f"an array of the shape {value.shape} is no tensor of the shape {shape}; reshape it")
        return value.reshape(-1)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple, np.ndarray)):
        return _flat_list(value, shape)
    return value


def _flat_list(value: Any, shape: tuple[int, ...]) -> list[Any]:
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) != shape[0]:
        raise RefusedValue(f"{shown(value)} does not fit the shape {shape} of its tensor; reshape it")
    if len(shape) == 1:
        return list(value)
    return [number for part in value for number in _flat_list(part, shape[1:])]
