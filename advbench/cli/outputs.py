"""Options that say where to write: the place is tried before any work."""

from __future__ import annotations

import pathlib
from typing import cast

import click

from advbench.types import ConfigError


class _Output(click.Path):
    """A path to write to. Fails, so that the command ends with exit code 2, if nothing can be written there."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> pathlib.Path:  # type: ignore[override]
        from advbench.store import check_room

        path = cast("pathlib.Path", super().convert(value, param, ctx))
        try:
            check_room(path if self.dir_okay else path.parent)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        return path


OUT_FILE = _Output(dir_okay=False, path_type=pathlib.Path)
OUT_FOLDER = _Output(file_okay=False, path_type=pathlib.Path)
