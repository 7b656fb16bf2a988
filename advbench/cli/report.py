"""`advbench report`: stored results as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from advbench.cli.outputs import OUT_FILE


@click.command(epilog="Example: advbench report results/digits --out reports/digits.html")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--out", type=OUT_FILE, help="Default: reports/<first DIR's name>.html")
def report(folders: tuple[Path, ...], out: Path | None) -> None:
    """Write one self-contained HTML page about the matrices stored in DIR...

    A DIR is the folder of a matrix, or one that holds a single matrix, as the --out of `advbench attack` does.
    The page needs no network and no JavaScript. Nothing is run: cells without a result are shown as missing.
    """
    from advbench.report.render import report as write_page

    page = write_page(list(folders), out)
    click.echo(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB)")
