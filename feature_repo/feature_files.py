"""Reading the feature files: each is parsed, then imported, and whatever is wrong with one is told with its line."""

from __future__ import annotations

import ast
import importlib
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from feature_repo.feature import Feature


@dataclass(frozen=True)
class FeatureFile:
    """A file that parses."""

    path: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.stem

    def line(self, name: str) -> int:
        """Where the file first says a name; else where its `FEATURE` stands."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and node.value == name:
                return node.lineno
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and any(ast.unparse(target) == "FEATURE" for target in node.targets):
                return node.lineno
        return 1

    def imports(self, package: str) -> set[str]:
        """The files of the same package that must be imported before this one."""
        found = set()
        for node in self.tree.body:
            if isinstance(node, ast.Import):
                found |= {alias.name.removeprefix(f"{package}.") for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = f"{package}.{node.module or ''}".rstrip(".") if node.level == 1 else node.module or ""
                if module == package:
                    found |= {alias.name for alias in node.names}
                else:
                    found.add(module.removeprefix(f"{package}."))
        return found


def load(package: str, folders: Iterable[str]) -> tuple[dict[FeatureFile, Feature], list[str]]:
    """The features of a package's files by file, in the order of the files' names, and a line for each problem.

    A file that begins with an underscore holds no feature: it is for what several share.
    """
    files, problems = _parse(folders)
    broken = {name for name in _names(folders) if name not in files}
    imports = {name: file.imports(package) & (files.keys() | broken) for name, file in files.items()}
    for cycle in _cycles(imports):
        first = files[cycle[0]]
        way = " -> ".join(f"{name}.py" for name in cycle)
        problems.append(
            f"{shown(first.path)}:{_import_line(first, cycle[1])}: imports in a circle: {way}; "
            f"move what they share to a file of its own, _NAME.py"
        )
        broken |= set(cycle)
    features = {}
    for name in TopologicalSorter({n: on - broken for n, on in imports.items() if n not in broken}).static_order():
        file = files[name]
        if imports[name] & broken:  # its own problem, if any, shows once the other file is mended
            broken.add(name)
            continue
        feature, problem = _import(package, file)
        if feature:
            features[file] = feature
        elif problem:
            problems.append(problem)
            broken.add(name)
    return {file: features[file] for file in sorted(features, key=lambda file: file.name)}, problems


def shown(path: Path) -> str:
    """A path as one would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _names(folders: Iterable[str]) -> Iterator[str]:
    yield from (path.stem for path in _paths(folders))


def _paths(folders: Iterable[str]) -> list[Path]:
    return sorted(path for folder in folders for path in Path(folder).glob("*.py") if path.name != "__init__.py")


def _parse(folders: Iterable[str]) -> tuple[dict[str, FeatureFile], list[str]]:
    files, problems = {}, []
    for path in _paths(folders):
        try:
            files[path.stem] = FeatureFile(path, ast.parse(path.read_bytes(), filename=str(path)))
        except SyntaxError as error:
            problems.append(f"{shown(path)}:{error.lineno}: not Python: {error.msg}: {(error.text or '').strip()}")
        except ValueError as error:  # null bytes, an encoding that is none
            problems.append(f"{shown(path)}: not Python: {error}")
    return files, problems


def _cycles(imports: dict[str, set[str]]) -> Iterator[list[str]]:
    """Each circle once, from its first name on and back to it."""
    left = dict(imports)
    while True:
        try:
            TopologicalSorter({name: on & left.keys() for name, on in left.items()}).prepare()
        except CycleError as error:
            against = error.args[1][:0:-1]  # the sorter names who is imported before who imports
            start = against.index(min(against))
            yield [*against[start:], *against[:start], against[start]]
            left = {name: on for name, on in left.items() if name not in against}
        else:
            return


def _import_line(file: FeatureFile, name: str) -> int:
    for node in file.tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and name in ast.unparse(node):
            return node.lineno
    return 1


def _import(package: str, file: FeatureFile) -> tuple[Feature | None, str | None]:
    try:
        module = importlib.import_module(f"{package}.{file.name}")
    except Exception as error:  # noqa: BLE001  whatever somebody's file raises is that file's problem
        return None, f"{where(file, error)}: fails when imported: {one_line(error)}"
    feature = getattr(module, "FEATURE", None)
    if isinstance(feature, Feature):
        return feature, None
    if feature is None and file.name.startswith("_"):
        return None, None
    found = f"FEATURE is a {type(feature).__name__}" if feature is not None else "no FEATURE in it"
    hint = "expected FEATURE = Feature(name=..., ...); a file that others share begins with an underscore"
    return None, f"{shown(file.path)}:{file.line('FEATURE')}: {found}, {hint}"


def where(file: FeatureFile, error: BaseException) -> str:
    """`path:line` of the last line of the file that an error went through."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file.path)]
    return f"{shown(file.path)}:{lines[-1]}" if lines else shown(file.path)


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
