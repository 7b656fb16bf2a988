"""Near misses of a name."""

from __future__ import annotations

import difflib


def nearest(name: str, names: list[str]) -> str:
    """ "did you mean 'pgd'? " for the closest of `names`, or "" if none is close."""
    spelt = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), spelt, n=len(names) + 1, cutoff=0.5)
    # The same letters in another order are a nearer miss than one letter more or less.
    close.sort(key=lambda word: sorted(word) != sorted(name.lower()))
    return f"did you mean {spelt[close[0]]!r}? " if close else ""
