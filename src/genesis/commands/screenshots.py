"""Pictures of the report's page: python -m genesis screenshots [--section safety] [--out reports/screenshots].

The whole page, or one section of it, on a desktop (light and dark) and on a phone, taken with any Chromium on PATH.
"""

import argparse
from pathlib import Path

VIEWS = {"desktop": (1440, False, 1), "dark": (1440, True, 1), "phone": (390, False, 2)}  # CSS pixels, dark, scale


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--page", type=Path, default=Path("reports/index.html"), help="what the report stage wrote")
    parser.add_argument("--section", help="an id of the page's, as in index.html#safety; default: the whole page")
    parser.add_argument("--out", type=Path, default=Path("reports/screenshots"), help="the folder for the PNG files")


def run(args: argparse.Namespace) -> int:
    """Take one picture a view and name it."""
    from genesis.browser import Browser
    from genesis.common.errors import UserError

    if not args.page.is_file():
        raise UserError(f"{args.page}: no such file; `dvc repro` makes it")
    suffix = f"-{args.section}" if args.section else ""
    with Browser() as browser:
        for name, (width, dark, scale) in VIEWS.items():
            browser.open(args.page.resolve().as_uri(), width, dark=dark, scale=scale)
            browser.wait("document.documentElement.dataset.drawn")
            if args.section and not browser.evaluate(f"!!document.getElementById({args.section!r})"):
                ids = browser.evaluate("[...document.querySelectorAll('section')].map(part => part.id).join(', ')")
                raise UserError(f"{args.page}: no section '{args.section}'; expected one of {ids}")
            path = args.out / f"{name}{suffix}.png"
            browser.picture(path, f"#{args.section}" if args.section else "html")
            print(path)
    return 0
