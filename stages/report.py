"""Write the page and the Markdown that people read: python stages/report.py."""

import sys
from pathlib import Path

from genesis.common.errors import UserError
from genesis.report.page import report

try:
    report(Path("."), Path("reports"))
except UserError as error:
    sys.exit(f"error: report: {error}")
