"""A report's Markdown as one HTML file that needs nothing else: figures, style and script inside."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from PIL import Image

from lottery.analysis.report_document import anchor
from lottery.errors import StoreError

COLORS = 128
"""Of an embedded figure: few enough to make it a third of its size, too many to see the loss."""

_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
<script>
{script}</script>
</body>
</html>
"""
_STYLE = """:root { --ink: #1c1e21; --paper: #ffffff; --soft: #5b6168; --line: #d9dde1; --band: #f4f6f8;
  --link: #0b57a4; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e8; --paper: #16181b; --soft: #a2a9b0;
  --line: #3a3f45; --band: #1f2226; --link: #8ec1f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "Liberation Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 5rem; }
p, ul, ol, summary { max-width: 50rem; }
h1, h2, h3 { line-height: 1.25; }
h1 { font-size: 1.9rem; margin: 0 0 1rem; }
h2 { font-size: 1.4rem; margin: 2.8rem 0 0.8rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 1.8rem 0 0.5rem; }
a { color: var(--link); text-underline-offset: 0.2em; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.86rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
tbody tr:nth-child(even) { background: var(--band); }
td[style*="right"] { white-space: nowrap; }
td a { color: inherit; text-decoration: underline dotted var(--soft); }
td a:hover { color: var(--link); }
figure { margin: 1.5rem 0 2rem; }
figure img { max-width: 100%; width: 56rem; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 4px; padding: 0.5rem; }
figcaption { max-width: 56rem; color: var(--soft); font-size: 0.9rem; margin-top: 0.4rem; }
code { font: 0.88em ui-monospace, "DejaVu Sans Mono", monospace; background: var(--band); padding: 0.05em 0.25em;
  border-radius: 3px; overflow-wrap: anywhere; }
pre { background: var(--band); padding: 0.8rem 1rem; overflow-x: auto; border-radius: 4px; }
pre code { background: none; padding: 0; }
details { margin: 0.6rem 0; }
summary { cursor: pointer; font-weight: 600; }
details ul { max-width: none; font-size: 0.8rem; padding-left: 1.2rem; color: var(--soft); }
details li > ul { font-size: 1em; }
:target { color: var(--ink); }
li:has(> a:target) { background: var(--band); color: var(--ink); outline: 2px solid var(--link); }
@media print {
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  a { color: inherit; text-decoration: none; } h2 { break-after: avoid; border: 0; }
  figure, tr { break-inside: avoid; } .table { overflow: visible; } thead { display: table-header-group; }
}
"""
_SCRIPT = """function reveal() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const group = target && target.closest("details");
  if (group) { group.open = true; target.scrollIntoView({ block: "center" }); }
}
addEventListener("hashchange", reveal);
reveal();
"""


class _Renderer(RendererHTML):
    """Headings get the anchors GitHub gives them, wide tables scroll, images carry their bytes."""

    def heading_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        identity = html.escape(anchor(_plain(tokens[index + 1])), quote=True)
        return f'<{tokens[index].tag} id="{identity}">'

    def table_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return '<div class="table"><table>\n'

    def table_close(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return "</table></div>\n"

    def paragraph_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        if _figure(tokens[index + 1]):
            return "<figure>"
        return self.renderToken(tokens, index, options, env)

    def paragraph_close(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        if _figure(tokens[index - 1]):
            return "</figure>\n"
        return self.renderToken(tokens, index, options, env)

    def image(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        caption = html.escape(tokens[index].content, quote=True)
        source = _embedded(env["folder"] / str(tokens[index].attrGet("src")))
        return f'<img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption>'


def page(markdown: str, folder: Path) -> str:
    """The whole page. folder: where the Markdown lies, from which its images are addressed."""
    parser = MarkdownIt("commonmark", renderer_cls=_Renderer).enable("table")
    env: dict[str, Any] = {"folder": folder}
    tokens = parser.parse(markdown, env)
    title = next(_plain(tokens[k + 1]) for k, t in enumerate(tokens) if t.type == "heading_open")
    body = parser.renderer.render(tokens, parser.options, env)
    return _TEMPLATE.format(title=html.escape(title), style=_STYLE, body=body, script=_SCRIPT)


def _plain(inline: Token) -> str:
    """The words of a heading."""
    return "".join(child.content for child in inline.children or ())


def _figure(inline: Token) -> bool:
    """Whether a paragraph holds an image and nothing else."""
    return [child.type for child in inline.children or ()] == ["image"]


def _embedded(path: Path) -> str:
    """The figure as a data URI, with a palette of its most frequent colours."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error})") from error
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
