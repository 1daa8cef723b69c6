#!/usr/bin/env python3
"""Writes README.md, ARCHITECTURE.md, CHANGELOG.md and docs/ as HTML pages into build/docs, links turned to pages."""

from __future__ import annotations

import html
import re
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "docs"
STYLE = ("body{max-width:52rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:#1b1f24}"
         "pre{background:#f4f5f7;padding:.8rem;overflow-x:auto}code{font-size:.92em}"
         "table{border-collapse:collapse}td,th{border:1px solid #d0d7de;padding:.3rem .6rem;text-align:left}")


def pages() -> list[Path]:
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def render(markdown: str) -> str:
    body = MarkdownIt("commonmark").enable("table").render(markdown)
    body = re.sub(r'href="(?!\w+:)([^"#]+)\.md(#[^"]*)?"', lambda link: f'href="{link[1]}.html{link[2] or ""}"', body)
    title = next((line.lstrip("# ") for line in markdown.splitlines() if line.startswith("# ")), "kproxy")
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f"<style>{STYLE}</style>{body}</html>\n")


def main() -> None:
    for page in pages():
        target = (TARGET / page.relative_to(ROOT)).with_suffix(".html")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{len(pages())} pages in {TARGET.relative_to(ROOT)}/, start with README.html")


if __name__ == "__main__":
    main()
