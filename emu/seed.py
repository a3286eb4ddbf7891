"""Seeds as text: an integer in any base that Python knows."""

from __future__ import annotations


def seed_of(text: str) -> int:
    """Return the seed in ``text``; of nothing, 0.

    :raises ValueError: it is no integer
    """
    try:
        return int(text or "0", 0)
    except ValueError:
        raise ValueError("the seed after ':' is an integer") from None
