"""What every display is: it hears events."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from scaledproc.events import Event


class Progress:
    """Listens to a run or a fetch, and shows nothing. Use as a context manager; give its `listen` to what tells."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def listen(self, event: Event) -> None:
        """Hear of an event."""

    def pause(self) -> None:
        """Leave the terminal to a question."""
