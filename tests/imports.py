"""What a stage's file imports of ours, directly and through others, found in the source without running it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
FOLDERS = ("src/genesis/common", "src/genesis/graders/answers")  # one dependency each: what uses one file uses most


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


def dependencies(path: Path) -> set[str]:
    """What a stage's deps name for that code: its files, and a whole folder for any file of one of `FOLDERS`."""
    return {next((folder for folder in FOLDERS if name.startswith(f"{folder}/")), name) for name in closure(path)}


def _imports(path: Path) -> set[Path]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "genesis":
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "genesis"}
    files = {SRC / Path(*name.split(".")).with_suffix(".py") for name in names}
    return {file for file in files if file.is_file()}
