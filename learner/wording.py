"""Figures in a person's words, the same in pages and commands."""


def duration(seconds: float) -> str:
    """`8 s`, `2 min 10 s`, `1 h 5 min`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def percent(rate: float) -> str:
    """`93.4 %` for 0.934."""
    return f"{100 * rate:.1f} %"


def percent_with_interval(rate: float, interval: list[float]) -> str:
    """`93.4 % (91.2–95.1)` for a rate and its bounds, all 0 to 1."""
    low, high = interval
    return f"{percent(rate)} ({100 * low:.1f}–{100 * high:.1f})"


def file_size(num_bytes: int) -> str:
    """`61 MB`, in decimal units as file managers show them."""
    if num_bytes < 1_000_000:
        return f"{max(1, round(num_bytes / 1000))} kB"
    if num_bytes < 1_000_000_000:
        return f"{num_bytes / 1e6:.0f} MB"
    return f"{num_bytes / 1e9:.1f} GB"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `1,797 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def rate_of(number: float) -> str:
    """`1,780`, `54.3`, `0.82`: a figure a second, with three digits that count."""
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{float(f'{number:.3g}'):,.{digits}f}"


def rate_text(rate: float) -> str:
    """A learning rate, short enough to stand under a block or in a table: `0.002`, `1e-5`."""
    if rate >= 0.001:
        return f"{rate:.3g}"
    mantissa, exponent = f"{rate:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
