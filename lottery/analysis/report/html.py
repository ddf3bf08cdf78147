"""A report's Markdown as one HTML file that needs nothing else: figures and style are inside."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from PIL import Image

from lottery.analysis.report.document import anchor
from lottery.errors import StoreError

COLORS, OF_PHOTOGRAPHS = 64, 256
"""Of an embedded figure, and of one with photographs: few enough to make it a third of its size,
too many to see the loss."""
MANY = 27_000
"""Colours that a figure without photographs does not have."""

_PAGE = Path(__file__).with_name("page.html")


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
    template = Template(_PAGE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), body=body)


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
            figure = image.convert("RGB")
            colors = OF_PHOTOGRAPHS if figure.getcolors(MANY) is None else COLORS
            small = figure.quantize(colors, dither=Image.Dither.NONE)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error})") from error
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
