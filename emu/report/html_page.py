"""What is around the body of an HTML page; nothing in a page is fetched from anywhere."""

from __future__ import annotations

from html import escape


def html_page(title: str, style: str, body: str) -> str:
    """Return a page.

    :param title: text
    :param style: CSS, for light and dark
    :param body: HTML
    """
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{style}</style></head><body>\n{body}\n</body></html>\n"
    )
