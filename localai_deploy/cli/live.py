"""Lines at the bottom of a terminal that change while something is at work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from localai_deploy.cli.terminal import wants_color

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.spinner import Spinner

_PER_SECOND = 8
_ON_SCREEN: list[LiveLines] = []


def can_change_lines() -> bool:
    """Whether stderr is a terminal that can take a line back."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class LiveLines:
    """Shows what ``lines`` returns, the first one behind a spinner; where that cannot be, nothing."""

    def __init__(self, lines: Callable[[], list[str]]) -> None:
        self._lines = lines
        self._live: Live | None = None

    @property
    def shown(self) -> bool:
        """Whether the lines are on the screen."""
        return self._live is not None

    def start(self) -> None:
        """Show the lines until :meth:`stop`."""
        if self._live is not None or not can_change_lines():
            return
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        console = Console(stderr=True, color_system="auto" if wants_color(sys.stderr) else None)
        spinner = Spinner("dots", style="green")
        self._live = Live(
            console=console,
            get_renderable=lambda: self._rendered(spinner),
            refresh_per_second=_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        _ON_SCREEN.append(self)

    def stop(self) -> None:
        """Take the lines off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            _ON_SCREEN.remove(self)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Off the screen for the time of the context, so that a line that stays can be written."""
        was_shown = self.shown
        self.stop()
        try:
            yield
        finally:
            if was_shown:
                self.start()

    def _rendered(self, spinner: Spinner) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        first, *more = [Text(line, no_wrap=True, overflow="ellipsis") for line in self._lines() or [""]]
        spinner.update(text=first)
        return Group(spinner, *more)


@contextmanager
def all_paused() -> Iterator[None]:
    """Nothing that changes is on the screen for the time of the context."""
    with ExitStack() as stack:
        for one in _ON_SCREEN.copy():
            stack.enter_context(one.paused())
        yield
