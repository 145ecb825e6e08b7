"""The house: who may import whom, how long things may be, what nothing is called. README.md shows the same picture."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGE = {"types", "config", "metrics", "layers", "training", "data"}
EVERYTHING = STAGE | {
    "_keras", "text", "behaviour", "retrieval", "fusion", "ranking", "evaluation", "feedback", "trust", "serving",
}  # fmt: skip

# package -> what of ours it may import; nothing imports pipelines
MAY_IMPORT: dict[str, set[str]] = {
    "types": set(),
    "config": set(),
    "_keras": set(),
    "metrics": {"types"},
    "layers": {"types", "config", "metrics"},
    "training": {"types", "config", "metrics"},
    "data": {"types", "config"},
    "text": STAGE,
    "behaviour": STAGE,
    "retrieval": STAGE,
    "fusion": {"types", "config", "metrics", "layers", "training"},
    "evaluation": {"types", "config", "metrics", "data"},
    "ranking": STAGE | {"evaluation"},
    "feedback": {"types", "config", "data"},
    "trust": {"types", "config", "metrics", "data", "evaluation"},
    "serving": EVERYTHING,
    "__init__": EVERYTHING,
    "pipelines": EVERYTHING,
}
FILE_LINES, FUNCTION_LINES, BODY_LINES = 300, 60, 40  # the body is the function without its docstring
FORBIDDEN = {"util", "utils", "helper", "helpers", "common", "core", "base", "manager", "managers"}

OURS = sorted(path for folder in ("tfrec_llm", "pipelines") for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def room_of(path: Path) -> str:
    """The package of the table that a file belongs to."""
    first, *rest = path.relative_to(ROOT).parts
    return "pipelines" if first == "pipelines" else rest[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all imports, wherever they stand; a relative one begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def wrong_imports(room: str, source: str) -> list[str]:
    """Imports that the table does not allow."""
    wrong = []
    for name in imported(ast.parse(source)):
        first, *rest = name.split(".")
        if first in ("", "tests") or (first == "pipelines" and room != "pipelines"):
            wrong.append(name)
        elif first == "tfrec_llm" and rest and rest[0] in EVERYTHING | {"__init__"}:
            allowed = MAY_IMPORT[room] | {room}
            wrong += [] if rest[0] in allowed else [name]
    return wrong


def imports_inside_functions(source: str) -> list[str]:
    """Imports of ours that wait for a call: they hide a cycle."""
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return sorted({name for node in functions for name in imported(node) if name.split(".")[0] == "tfrec_llm"})


def too_long(source: str) -> list[str]:
    """Functions over the limits, with their lengths."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            first = node.body[0]
            has_docstring = ast.get_docstring(node) is not None
            body = lines - (first.end_lineno - first.lineno + 1 if has_docstring else 0)
            if lines > FUNCTION_LINES or body > BODY_LINES:
                found.append(f"{node.name}: {lines} lines, {body} without docstring")
    return found


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_every_package_is_in_the_table():
    assert {room_of(path) for path in OURS} <= set(MAY_IMPORT)


def test_the_table_has_no_cycle():
    left = {room: allowed - {room} for room, allowed in MAY_IMPORT.items()}
    while left:
        free = {room for room, allowed in left.items() if not allowed & set(left)}
        assert free, f"a cycle among {sorted(left)}"
        left = {room: allowed for room, allowed in left.items() if room not in free}


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_file(path):
    source = path.read_text(encoding="utf-8")
    assert wrong_imports(room_of(path), source) == []
    assert room_of(path) == "__init__" or imports_inside_functions(source) == []
    assert too_long(source) == []
    assert source.count("\n") <= FILE_LINES
    assert ast.get_docstring(ast.parse(source)), "a module docstring says the purpose and the place in the flow"


def test_names():
    files = {part for path in [*OURS, *TESTS] for part in path.relative_to(ROOT).with_suffix("").parts}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in OURS]
    classes = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assert sorted(name for name in files | classes if words(name) & FORBIDDEN) == []


def test_the_keras_switch_is_set_in_one_place():
    mentions = [path.name for path in OURS if "TF_USE_LEGACY_KERAS" in path.read_text(encoding="utf-8")]
    assert mentions == ["_keras.py"]


@pytest.mark.parametrize("room", ["types", "config"])
def test_types_and_config_need_no_tensorflow(room):
    sources = [path.read_text(encoding="utf-8") for path in OURS if room_of(path) == room]
    names = [name for source in sources for name in imported(ast.parse(source))]
    assert sources
    assert [name for name in names if re.match(r"(tensorflow|tf_keras|keras|tf_agents)\b", name)] == []


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("text", "from tfrec_llm.behaviour import train", ["tfrec_llm.behaviour.train"]),
        ("text", "import tfrec_llm.retrieval.blend", ["tfrec_llm.retrieval.blend"]),
        ("text", "from tfrec_llm import ranking, data", ["tfrec_llm.ranking"]),
        ("text", "from ..ranking import train", ["..ranking.train"]),
        ("text", "from tfrec_llm.text.classification.heads import fit\nimport numpy.random", []),
        ("data", "def f():\n    from tfrec_llm.metrics import ndcg", ["tfrec_llm.metrics.ndcg"]),
        ("serving", "from pipelines import train", ["pipelines.train"]),
        ("ranking", "from tfrec_llm.evaluation import figures", []),
    ],
)
def test_the_check_itself_finds_wrong_imports(room, source, wrong):
    assert wrong_imports(room, source) == wrong


def test_the_check_itself_finds_late_imports_long_functions_and_bad_names():
    late = "def f():\n    import tfrec_llm.data\n    import json"
    assert imports_inside_functions(late) == ["tfrec_llm.data"]
    assert too_long("def f():\n" + "    x = 1\n" * BODY_LINES) == ["f: 41 lines, 41 without docstring"]
    assert too_long('def f():\n    """' + "\n" * 10 + '"""\n' + "    x = 1\n" * (BODY_LINES - 1)) == []
    assert words("ModelManager") & words("model_manager") & FORBIDDEN == {"manager"}
    assert words("database_score") & FORBIDDEN == set()
