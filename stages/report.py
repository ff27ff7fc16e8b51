"""Write the page and the Markdown that people read: python stages/report.py [commit]."""

import sys
from pathlib import Path

from genesis.errors import UserError
from genesis.report.page import report

try:
    report(Path("."), Path("reports"), commit=sys.argv[1] if len(sys.argv) > 1 else None)
except UserError as error:
    sys.exit(f"error: report: {error}")
