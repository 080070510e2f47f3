"""One line on a terminal that follows a stream; nothing where standard error is not a terminal."""

from __future__ import annotations

import time
from typing import IO

from microflow.engine.service import MessageService
from microflow.pipeline.stream_job import Progress

__all__ = ["LiveView"]

_EVERY_S = 0.5


class LiveView:
    """Rewrites its line at most twice a second.

    Args:
        out: A terminal, or a pipe that nothing is written to.
        service: Whose counts are shown.
    """

    def __init__(self, out: IO[str], service: MessageService) -> None:
        self._out, self._service = out, service
        self._is_on = out.isatty()
        self._last, self._committed = time.monotonic(), 0

    def observe(self, progress: Progress) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if not self._is_on or now - self._last < _EVERY_S:
            return
        rate = (progress.committed - self._committed) / (now - self._last)
        self._last, self._committed = now, progress.committed
        slowest = max((seconds for *_, seconds in progress.latencies), default=0.0)
        routes = ", ".join(f"{count:,} {route}" for route, count in self._service.reasons.most_common(3))
        self._out.write(
            f"\r\x1b[K{progress.committed:,} committed  {rate:,.0f}/s  lag {progress.lag:,}  {slowest * 1e3:.0f} ms"
            f"  {self._service.counts['unreadable']:,} unreadable"
            f"{f'  {progress.held:,} held back' if progress.held else ''}  {routes}"
        )
        self._out.flush()

    def close(self) -> None:
        """Leave the line free."""
        if self._is_on:
            self._out.write("\r\x1b[K")
            self._out.flush()
