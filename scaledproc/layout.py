"""Files to units and anchors, from their paths alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaledproc.errors import UsageError
from scaledproc.inventory import matches

if TYPE_CHECKING:
    import pyarrow as pa

_FOLDER = r"(?s)^(?:(?P<folder>.*)/)?[^/]*$"
_GROUP = r"(?s)^(?:(?P<group>[^/]*)/)?"
# `scan.nii.gz` and `scan.json` share the stem `scan`: a compression's own ending does not count as the extension.
_STEM = r"(?s)^(?P<stem>(?:.*/)?[^/]+?)(?:\.[^./]*?(?:\.(?:gz|bz2|xz|zst|lz4|Z))?)?$"


@dataclass(frozen=True)
class Layout:
    """How files form units, and which of them start a task.

    Parameters
    ----------
    unit
        `folder`, `stem` (same folder, same name before the extension), `file`, or a regular expression (RE2) with a
        group named `unit`, searched in the relative path.
    anchors
        Globs of the files that start a task.
    """

    unit: str = "folder"
    anchors: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if not self.anchors:
            raise UsageError("no anchor pattern: name the files that start a task, for example --anchor '*.hea'")
        if self.unit not in ("folder", "stem", "file") and "(?P<unit>" not in self.unit:
            raise UsageError(
                f"--unit {self.unit!r} is none of folder, stem, file, nor a regular expression with a group named "
                "unit, such as '(?P<unit>sub-[0-9]+)'"
            )

    def arrange(self, files: pa.Table) -> pa.Table:
        """The files with their group, unit and whether they are anchors, sorted by group, unit and path.

        Parameters
        ----------
        files
            Columns path, size, version.

        Returns
        -------
        pyarrow.Table
            Those columns and group, unit, is_anchor. Files that a regular expression gives no unit are not in it.

        Raises
        ------
        UsageError
            The regular expression cannot be read.
        """
        import pyarrow.compute as pc

        paths = files["path"]
        unit = self._units(paths)
        if unit.null_count:
            known = pc.is_valid(unit)
            files, unit = files.filter(known), unit.filter(known)
            paths = files["path"]
        group = _extract(paths, _GROUP, "group")
        files = files.append_column("unit", pc.fill_null(unit, "."))
        files = files.append_column("group", pc.fill_null(group, "."))
        files = files.append_column("is_anchor", matches(paths, self.anchors))
        if self.unit not in ("folder", "stem", "file"):
            files = _one_group_per_unit(files)
        order = pc.sort_indices(files, [("group", "ascending"), ("unit", "ascending"), ("path", "ascending")])
        arranged: pa.Table = files.take(order)
        return arranged

    def _units(self, paths: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.unit == "folder":
            return pc.fill_null(_extract(paths, _FOLDER, "folder"), ".")
        if self.unit == "stem":
            return stems(paths)
        if self.unit == "file":
            return paths
        try:
            return _extract(paths, self.unit, "unit")
        except pa.ArrowInvalid as error:
            raise UsageError(f"--unit {self.unit!r} cannot be read as a regular expression: {error}") from None


def stems(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """The paths without their extensions (`.gz` and its like count as part of the extension before them)."""
    return _extract(paths, _STEM, "stem")


def _extract(paths: pa.ChunkedArray, regex: str, name: str) -> pa.ChunkedArray:
    """One named group of a regular expression; null where it does not match or the group is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.struct_field(pc.extract_regex(paths, regex), name)
    return pc.if_else(pc.equal(found, ""), pa.scalar(None, found.type), found)


def _one_group_per_unit(files: pa.Table) -> pa.Table:
    """Give a unit that reaches over several top folders the first of them, so that it stays in one piece."""
    import pyarrow.compute as pc

    first = files.group_by("unit").aggregate([("group", "min")])
    index = pc.index_in(files["unit"], value_set=first["unit"].combine_chunks())
    group = first["group_min"].combine_chunks().take(index)
    return files.set_column(files.schema.get_field_index("group"), "group", group)
