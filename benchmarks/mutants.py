"""Plays the shipped stories against mutants of the reference dispatcher: ``make mutants``, ``python -m benchmarks mutants``.

A mutant is the reference with one small change: a statement left out, a condition turned round, a clause of an SQL
statement dropped. A mutant that no story finds is either a story that is missing, or a change that no promise can tell
from the original: docs/mutants.md lists those, each with its reason from benchmarks/mutants.yaml.

Why a tool of our own: mutmut 3.8 was tried. It leaves no statement out and turns no condition round, cannot change SQL, and
changes the texts of log lines, which no promise is about (docs/decisions/0045-mutants-of-our-own.md).

    python -m benchmarks mutants                       all of them, and docs/mutants.md
    python -m benchmarks.mutants core.py:deliver       only those of a module, or of a function, without the page
"""

import ast
import copy
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ruamel.yaml import YAML

PACKAGE = Path("hydra_notify_sim")
MODULES = (
    "dispatcher/core.py",
    "dispatcher/postgres.py",
    "dispatcher/retries.py",
    "dispatcher/plugins.py",
    "dispatcher/rows.py",
    "contract/channels.py",
)
REASONS = Path("benchmarks/mutants.yaml")
PAGE = Path("docs/mutants.md")
NO_REASON = "No reason is known."
SECONDS = 150.0
"""After so long without an end a mutant counts as found: the run hangs."""
WORKERS = os.cpu_count() or 1

SWAPS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Pow: ast.Mult,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNWRAPPED = frozenset({"sorted", "reversed", "list", "tuple", "int"})
"""Functions of one argument that a mutant leaves out."""
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b|^\s*(WHERE|AND|ORDER BY)\b")
SQL_CHANGES = (
    (r" AND (?:(?! AND | ORDER BY | RETURNING | LIMIT ).)+", ""),
    (r" ORDER BY [\w., ]+?(?=$| LIMIT)", ""),
    (r"(?<=ORDER BY )(\w+(?:\.\w+)?)", r"\1 DESC"),
    (r" IS NOT NULL", " IS NULL"),
    (r" IS NOT DISTINCT FROM ", " = "),
    (r" <= ", " < "),
    (r" FOR UPDATE", ""),
    (r" LIMIT 1", " LIMIT 1 OFFSET 1"),
    (r"\bmin\(", "max("),
    (r" finished = 1", " finished = 0"),
    (r", (?:\w+\.)?id(?= LIMIT|$)", ""),
)
"""What is done to an SQL statement, each match by itself: a pattern and what takes its place."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one module."""

    module: str
    function: str
    change: str
    """What was there and what is there now, on one line."""
    number: int
    """The 1-based index among equal changes in this function."""
    tree: ast.Module
    node: ast.AST
    changed: ast.AST

    @property
    def source(self) -> str:
        """Return the whole module with the change."""
        return replaced(self.tree, self.node, self.changed)

    @property
    def name(self) -> str:
        """Return what a reason is filed under; it names no line, for lines move."""
        twin = f" (no. {self.number})" if self.number > 1 else ""
        return f"{self.module}:{self.function}: {self.change}{twin}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    found: str
    """What found it: promise ids, or how else the run ended. Empty for a survivor."""


def main(only: str = "") -> None:
    """Play against all mutants, or those whose ``module:function`` begins with ``only``; write the page for all."""
    wanted = [one for one in mutants() if one.name.removeprefix("dispatcher/").startswith(only)]
    if not wanted:
        sys.exit(f"no mutant's name begins with {only!r}; names are like core.py:deliver")
    begun = time.monotonic()
    results = []
    for result in play(wanted):
        results.append(result)
        left = len(wanted) - len(results)
        print(f"{result.found or 'SURVIVED':40.40} {result.mutant.name}  ({left} left)", flush=True)
    seconds = time.monotonic() - begun
    survivors = [one for one in results if not one.found]
    print(f"{len(results)} mutants, {len(survivors)} survived, {seconds / 60:.0f} min")
    reasons = read_reasons()
    unexplained = [one.mutant.name for one in survivors if one.mutant.name not in reasons]
    if not only:
        PAGE.write_text(page(results, reasons, seconds), encoding="utf-8")
        found = {one.mutant.name for one in results if one.found}
        for name in sorted(found & reasons.keys()):
            print(f"found now, take its reason out of {REASONS}: {name}")
    if unexplained:
        sys.exit(f"{len(unexplained)} without a reason in {REASONS}:\n  " + "\n  ".join(unexplained))


def read_reasons() -> dict[str, str]:
    """Return the survivors' reasons: mutant's name to why no promise can tell it from the original."""
    said: dict[str, list[str]] = YAML(typ="safe").load(REASONS.read_text(encoding="utf-8")) or {}
    return {name: reason for reason, names in said.items() for name in names}


# Playing


def play(wanted: list[Mutant]) -> Iterator[Result]:
    """Play the stories against each mutant, several at a time, each worker on a copy of the package of its own."""
    waiting: queue.SimpleQueue[tuple[Mutant, str]] = queue.SimpleQueue()
    done: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()
    for one in wanted:
        waiting.put((one, one.source))
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        threads = [
            threading.Thread(target=_work, args=(Path(place) / str(number), waiting, done), daemon=True)
            for number in range(WORKERS)
        ]
        for thread in threads:
            thread.start()
        for _ in wanted:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result


def _work(
    place: Path,
    waiting: "queue.SimpleQueue[tuple[Mutant, str]]",
    done: "queue.SimpleQueue[Result | BaseException]",
) -> None:
    try:
        shutil.copytree(PACKAGE, place / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        while not waiting.empty():
            mutant, source = waiting.get_nowait()
            path = place / PACKAGE / mutant.module
            original = path.read_text(encoding="utf-8")
            path.write_text(source, encoding="utf-8")
            done.put(Result(mutant, _found(place)))
            path.write_text(original, encoding="utf-8")
    except queue.Empty:
        pass
    except BaseException as error:
        done.put(error)
        raise


def _found(place: Path) -> str:
    """Return what the stories find, the first that fails ends the run; empty if nothing."""
    command = [sys.executable, "-m", "hydra_notify_sim", "replay", str(Path("scenarios").resolve())]
    # Sources are rewritten within a second: a compiled module beside one might be taken for current.
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    report = place / "report.json"
    report.unlink(missing_ok=True)
    with subprocess.Popen(
        [*command, "-x", "--json", str(report)],
        cwd=place,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _, error = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate()
            return "the run does not end"
    if process.returncode == 0:
        return ""
    if process.returncode == 1 and report.exists():
        broken = [
            one["promise"]
            for scenario in json.loads(report.read_text(encoding="utf-8"))["scenarios"]
            for one in scenario.get("verdicts", ())
            if one["verdict"] == "violated"
        ]
        return ", ".join(dict.fromkeys(broken)) or "an expectation"
    last = error.strip().splitlines()[-1:] or ["no message"]
    return f"exit {process.returncode}: {last[0]}"


# Making mutants


def mutants() -> list[Mutant]:
    """Return all mutants, module by module, in the order of the source."""
    return [one for module in MODULES for one in _of_module(module)]


def _of_module(module: str) -> Iterator[Mutant]:
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    seen: Counter[tuple[str, str]] = Counter()
    for function, node in places(tree):
        for changed in changes(node):
            before = ast.unparse(node) if not isinstance(node, ast.stmt) else _first_line(node)
            after = "pass" if isinstance(changed, ast.Pass) else _first_line(changed)
            change = f"{_shown(before)} → {_shown(after)}"
            seen[function, change] += 1
            yield Mutant(module, function, change, seen[function, change], tree, node, changed)


def replaced(tree: ast.Module, node: ast.AST, changed: ast.AST) -> str:
    """Return the source of a module with one node replaced; the tree is as before afterwards."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, changed)
                source = ast.unparse(ast.fix_missing_locations(tree))
                setattr(parent, name, node)
                return source
            if isinstance(value, list) and any(one is node for one in value):
                place = next(number for number, one in enumerate(value) if one is node)
                value[place] = changed
                source = ast.unparse(ast.fix_missing_locations(tree))
                value[place] = node
                return source
    raise ValueError("the node is not in the tree")


def places(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield every node inside a function or a constant that can be changed, with where it stands."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.ClassDef):
            yield from places(child, f"{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            name = f"{function}{child.name}" if function.endswith(".") or not function else function
            for statement in child.body:
                yield from _inside(statement, name)
        elif isinstance(child, ast.Assign | ast.AnnAssign) and child.value is not None:
            target = child.targets[0] if isinstance(child, ast.Assign) else child.target
            yield from _inside(child.value, f"{function}{ast.unparse(target)}")


def _inside(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    if _is_talk(node):
        return
    yield function, node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "exc", "msg", "type", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _inside(child, function)


def _is_talk(node: ast.AST) -> bool:
    """Tell whether a node is about words for people: a docstring, a log line, a text put together."""
    if isinstance(node, ast.JoinedStr):
        return not SQL.search(ast.unparse(node))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith("LOG.")


def changes(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901, PLR0912 - one case for each kind of change
    """Yield what a mutant has in the place of a node."""
    match node:
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute()]) | ast.AnnAssign(target=ast.Attribute()):
            yield ast.Pass()
        case ast.Return() if node.value is None:
            yield ast.Pass()
        case ast.If() | ast.While() | ast.IfExp():
            yield _copy(node, test=_negated(node.test))
            if isinstance(node, ast.If) and not node.orelse:
                yield ast.Pass()
        case ast.comprehension(ifs=[first, *_]):
            yield _copy(node, ifs=[_negated(first)])
            yield _copy(node, ifs=[])
        case ast.For():
            yield _copy(node, iter=_call("reversed", _call("list", node.iter)))
            yield _copy(node, iter=ast.Subscript(_call("list", node.iter), _slice(None, 1), ast.Load()))
            yield _copy(node, iter=ast.Subscript(_call("list", node.iter), _slice(1, None), ast.Load()))
        case ast.Compare(ops=[op]):
            yield _copy(node, ops=[SWAPS[type(op)]()])
        case ast.BoolOp():
            yield _copy(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            for place in range(len(node.values)):
                rest = [value for other, value in enumerate(node.values) if other != place]
                yield rest[0] if len(rest) == 1 else _copy(node, values=rest)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in ARITHMETIC and not isinstance(
            node.left, ast.Constant | ast.JoinedStr
        ):
            yield _copy(node, op=ARITHMETIC[type(node.op)]())
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            yield _copy(node, func=ast.Name(CALLS[name], ast.Load()))
        case ast.Call(func=ast.Name(id=name), args=[only], keywords=[]) if name in UNWRAPPED:
            yield only
        case ast.Tuple(ctx=ast.Load()) if len(node.elts) > 2:
            for place in range(len(node.elts)):
                yield _copy(node, elts=[one for other, one in enumerate(node.elts) if other != place])
        case ast.With() if not any(item.optional_vars for item in node.items):
            yield ast.If(ast.Constant(value=True), node.body, [])
        case ast.Constant(value=bool() as value):
            yield ast.Constant(value=not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value=value + 1)
            if value > 1:
                yield ast.Constant(value=value - 1)
        case ast.Constant(value=str() as text) if SQL.search(text):
            for pattern, replacement in SQL_CHANGES:
                for found in re.finditer(pattern, text):
                    changed = text[: found.start()] + found.expand(replacement) + text[found.end() :]
                    yield ast.Constant(value=changed)


def _copy(node: ast.AST, **changes: object) -> ast.AST:
    fields = {**dict(ast.iter_fields(node)), **changes}
    return type(node)(**fields)


def _negated(test: ast.expr) -> ast.expr:
    return test.operand if isinstance(test, ast.UnaryOp) else ast.UnaryOp(ast.Not(), test)


def _call(name: str, argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])


def _slice(begin: int | None, end: int | None) -> ast.Slice:
    return ast.Slice(*(None if one is None else ast.Constant(value=one) for one in (begin, end)))


def _first_line(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0]


def _shown(text: str) -> str:
    return " ".join(text.split())


# The page


def page(results: list[Result], reasons: dict[str, str], seconds: float) -> str:
    """Return docs/mutants.md: how many, what found them, and the survivors with their reasons."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],  # noqa: S607 - git is found on PATH
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    lines = [
        "# Mutants of the reference dispatcher",
        "",
        "For people who change the stories or the checks. `make mutants` changes the reference dispatcher in one small place",
        "after the other, plays the shipped stories against each mutant until one fails, and writes this page. A mutant that",
        "survives shows a story that is missing, or a change that no promise can tell from the original; each of those has its reason.",
        "",
        f"Written on {datetime.now(tz=UTC):%Y-%m-%d} at commit {commit}, {WORKERS} at a time, in {seconds / 60:.0f} minutes.",
        "",
        "| module | mutants | found by a promise | by an expectation | did not start, or did not end | survived |",
        "|---|---|---|---|---|---|",
    ]
    for module in MODULES:
        of = [one for one in results if one.mutant.module == module]
        kinds = Counter(_kind(one.found) for one in of)
        counts = " | ".join(str(kinds[kind]) for kind in ("promise", "expectation", "otherwise", "survived"))
        lines.append(f"| {module} | {len(of)} | {counts} |")
    lines += ["", "## Survivors", ""]
    by_reason: dict[str, list[str]] = {}
    for one in results:
        if not one.found:
            by_reason.setdefault(reasons.get(one.mutant.name, NO_REASON), []).append(one.mutant.name)
    for reason, names in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        lines += [reason, "", *(f"- `{name}`" for name in names), ""]
    return "\n".join(lines).rstrip() + "\n"


def _kind(found: str) -> str:
    if not found:
        return "survived"
    if found == "an expectation":
        return "expectation"
    return "otherwise" if found.startswith(("exit ", "the run")) else "promise"


if __name__ == "__main__":
    main(*sys.argv[1:2])
