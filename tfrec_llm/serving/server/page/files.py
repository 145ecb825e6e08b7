"""The page's files: which there are, as what they are sent, and what a browser may do with them."""

from pathlib import Path

FOLDER = Path(__file__).parent
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
NAMES = (
    "page.css", "page.js", "words.js", "elements.js", "server.js", "store.js", "slate.js", "charts.js", "visitor.js",
    "icon.svg",
)  # fmt: skip
PATHS = ("/", *(f"/page/{name}" for name in NAMES))  # hold nothing of anybody: they need no key
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def read_file(name: str) -> tuple[bytes, str]:
    """The bytes of one of the page's files, and their media type.

    Args:
      name: `index.html` or one of `NAMES`.
    """
    return (FOLDER / name).read_bytes(), f"{KINDS[name.rpartition('.')[2]]}; charset=utf-8"
