"""The shape of the package: layers, no import cycles, few homes for JAX's users, documented names."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import hierarchical_twin

PACKAGE = Path(hierarchical_twin.__file__).parent
ROOT = "hierarchical_twin"
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "dims"),
    ("spec", "mechanisms"),
    ("cohort", "graph"),
    ("analysis",),
    ("backends", "inference.fit"),
    ("inference",),
    ("prediction",),
    ("twin",),
    ("report",),
    ("cli", ROOT),
)
"""From the bottom up; a word stands for a module or a package, and the longest that fits counts."""
ONLY_HOMES = {"numpyro": {"backends.numpyro", "inference.kernels"}, "pymc": {"backends.pymc"}}
WITHOUT_JAX = (
    "errors",
    "dims",
    "spec",
    "cohort",
    "analysis",
    "inference.fit",
    "report",
    "mechanisms.table",
    "cli",
)


def name_of(path: Path) -> str:
    """Dotted name below the package; the package itself under its own name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or ROOT


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
EVERY_MODULE = pytest.mark.parametrize("module", FILES)


def imported(module: str) -> set[str]:
    """Full dotted names of all imports of a module, inside functions as well."""
    found: set[str] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner.removeprefix(f"{ROOT}.") in FILES else node.module)
    return found


def inside(module: str) -> set[str]:
    """Modules of the package that a module imports, as keys of `FILES`."""
    full = {name for name in imported(module) if name == ROOT or name.startswith(f"{ROOT}.")}
    return {name.removeprefix(f"{ROOT}.") for name in full}


def layer_of(module: str) -> int:
    """Number of a module's layer."""
    fits = [
        (len(word), number)
        for number, words in enumerate(LAYERS)
        for word in words
        if module == word or module.startswith(f"{word}.")
    ]
    assert fits, f"{module} is in no layer"
    return max(fits)[1]


@EVERY_MODULE
def test_imports_point_down(module: str) -> None:
    above = {other for other in inside(module) if layer_of(other) > layer_of(module)}
    assert not above, f"{module} imports {', '.join(sorted(above))} from above"


def test_analysis_reads_a_tree_and_nothing_else() -> None:
    """It knows neither how a model is built nor how it was sampled."""
    below = {other for module in FILES if module.startswith("analysis.") for other in inside(module)}
    assert {other.split(".")[0] for other in below} <= {"analysis", "errors", "dims"}


def test_there_are_no_cycles() -> None:
    """Between modules, with a package's own file as the module that re-exports the others."""
    graph = {module: inside(module) - {module} for module in FILES if module != ROOT}
    assert set().union(*graph.values()) <= set(FILES)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_packages_do_not_import_each_other() -> None:
    """No cycle even when a package is taken as one thing."""

    def package(module: str) -> str:
        return module if module == "inference.fit" else module.split(".")[0]

    graph: dict[str, set[str]] = {}
    for module in FILES:
        graph.setdefault(package(module), set()).update(package(other) for other in inside(module))
    for name, others in graph.items():
        others.discard(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"packages import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("library", ONLY_HOMES)
def test_a_backend_is_imported_in_its_own_file_only(library: str) -> None:
    users = {module for module in FILES if any(name.split(".")[0] == library for name in imported(module))}
    assert users == ONLY_HOMES[library]


def test_pytensor_stays_with_pymc() -> None:
    users = {module for module in FILES if any(name.split(".")[0] == "pytensor" for name in imported(module))}
    assert users <= ONLY_HOMES["pymc"]


@EVERY_MODULE
def test_words_only_modules_do_not_import_jax(module: str) -> None:
    if any(module == word or module.startswith(f"{word}.") for word in WITHOUT_JAX):
        assert "jax" not in {name.split(".")[0] for name in imported(module)}


@EVERY_MODULE
def test_a_module_says_what_lives_there(module: str) -> None:
    text = ast.get_docstring(TREES[module])
    assert text, f"{module} has no docstring"
    assert module.split(".")[-1] not in {"utils", "helpers", "core", "common", "misc"}


@EVERY_MODULE
def test_public_names_are_documented(module: str) -> None:
    missing = []
    for node in TREES[module].body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        missing += [] if ast.get_docstring(node) else [node.name]
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                missing += [] if ast.get_docstring(inner) else [f"{node.name}.{inner.name}"]
    assert not missing


@EVERY_MODULE
def test_style_that_a_parser_can_see(module: str) -> None:
    """No star imports; files stay readable in one sitting."""
    stars = [
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]
    assert not stars
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= 360


def type_checking_names() -> dict[str, str]:
    """Names imported for type checkers in the front page, with their homes."""
    for node in TREES[ROOT].body:
        if isinstance(node, ast.If):
            return {
                alias.name: str(line.module).removeprefix(f"{ROOT}.")
                for line in node.body
                if isinstance(line, ast.ImportFrom)
                for alias in line.names
            }
    return {}


def test_the_front_page_agrees_with_itself() -> None:
    homes = hierarchical_twin._HOMES
    assert list(hierarchical_twin.__all__) == sorted(hierarchical_twin.__all__)
    assert set(hierarchical_twin.__all__) == set(homes)
    assert type_checking_names() == homes
    assert dir(hierarchical_twin) == sorted(hierarchical_twin.__all__)


@pytest.mark.parametrize("name", hierarchical_twin.__all__)
def test_a_public_name_loads_and_is_documented(name: str) -> None:
    item = getattr(hierarchical_twin, name)
    assert item is getattr(import_module(f"{ROOT}.{hierarchical_twin._HOMES[name]}"), name)
    assert inspect.getdoc(item)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fit_everything'"):
        _ = hierarchical_twin.fit_everything


def in_a_fresh_process(program: str) -> dict[str, list[str]]:
    """What a program prints as JSON in a new interpreter."""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_the_light_half_loads_neither_jax_nor_a_backend() -> None:
    light = [
        m for m in FILES if m.split(".")[0] in ("spec", "cohort", "analysis", "report", "errors", "dims")
    ]
    light = [f"{ROOT}.{module}" for module in [*light, "inference.fit", "cli", "mechanisms.table"]]
    loaded = in_a_fresh_process(
        f"""
import json, sys
from importlib import import_module
import hierarchical_twin
for module in {light!r}:
    import_module(module)
heavy = ("jax", "jaxlib", "numpyro", "pymc", "pytensor")
print(json.dumps({{"loaded": [name for name in heavy if name in sys.modules]}}))
"""
    )
    assert loaded == {"loaded": []}


def test_importing_changes_no_setting_of_others() -> None:
    """JAX's flags and the log handlers are as they were before every module but the PyMC program.

    PyTensor turns JAX's double precision on when its JAX link is imported; that is its doing, and only
    `backends.pymc` imports it.
    """
    modules = [f"{ROOT}.{module}" for module in FILES if module not in (ROOT, "backends.pymc")]
    found = in_a_fresh_process(
        f"""
import json, logging
from importlib import import_module
import jax, numpyro, matplotlib
def state():
    flags = {{key: repr(value) for key, value in jax.config.values.items()}}
    handlers = {{name or "root": len(logging.getLogger(name).handlers) for name in ("", "jax", "pymc")}}
    return {{**flags, **handlers, "style": repr(matplotlib.rcParams)}}
before = state()
import hierarchical_twin
for module in {modules!r}:
    import_module(module)
after = state()
changed = [key for key in before if before[key] != after[key]]
print(json.dumps({{"changed": changed}}))
"""
    )
    assert found["changed"] == []
