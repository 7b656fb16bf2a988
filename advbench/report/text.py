"""Numbers and untrusted names as text for the page."""

from __future__ import annotations

import math
import unicodedata

from advbench.metrics.medians import Median
from advbench.metrics.rates import Rate

# Control, format (bidi and zero-width), surrogate, private-use, line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def visible(text: str) -> str:
    """`text` with every character that one cannot see, or that reorders its neighbours, written as <U+202E>."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"<U+{ord(char):04X}>" if unicodedata.category(char) in UNSEEN and char != "\n" else char for char in text
    )


def percent(value: float) -> str:
    """0.913 -> "91.3"; nan -> an empty text. Without the sign: the column says %."""
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def interval(rate: Rate) -> str:
    """The bounds of a rate in percent, "89.4 to 92.9"."""
    return f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"


def bounds(distance: Median) -> str:
    """The interval of a median distance: "0.381 to 0.45", "0.381 or more" where its end was not reached, or ""."""
    if math.isinf(distance.low):
        return ""
    upper = "or more" if math.isinf(distance.high) else f"to {number(distance.high)}"
    return f"{number(distance.low)} {upper}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed: "+3.2", "-11.0"; nan is an empty text."""
    return "" if math.isnan(difference) else f"{100 * difference:+.1f}"


def chance(p: float) -> str:
    """A p value as it is printed: "p = 0.012", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def method_text(method: tuple[str, str, str]) -> str:
    """An attack in words: its name, its goal unless that is any other class, and whether it seeks the nearest."""
    return " ".join(word for word in method if word and word != "untargeted")


def number(value: float) -> str:
    """A count or a measured number, short: 12,345, 3.14, 0.0021; inf is "not reached"."""
    if math.isinf(value):
        return "not reached"
    if math.isnan(value):
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def listing(words: list[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"


def value_text(value: object) -> str:
    """A JSON value for reading: floats short, mappings and lists flat."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, (int, float)):
        return number(float(value)) if isinstance(value, float) else f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_nested(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(value_text, value))
    return str(value)


def _nested(value: object) -> str:
    return f"({value_text(value)})" if isinstance(value, dict) and value else value_text(value)
