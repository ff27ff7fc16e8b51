"""What a stage's file imports of ours, directly and through others, found in the source without running it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"


def closure(path: Path) -> set[str]:
    """Paths (relative to the repository) of our modules that `path` imports; empty package files left out."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for module in _imports(waiting.pop()):
            if module not in found:
                found.add(module)
                waiting.append(module)
    return {str(module.relative_to(ROOT)) for module in found}


def _imports(path: Path) -> set[Path]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "genesis":
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "genesis"}
    files = {SRC / Path(*name.split(".")).with_suffix(".py") for name in names}
    return {file for file in files if file.is_file()}
