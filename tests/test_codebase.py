"""The rooms, read from the sources: who may include and import whom, and that no list of names has drifted.

Longer than 300 lines because it stands for a reader of all the others.
"""

import ast
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import backsweep as bs
import pytest
from backsweep import _core

ROOT = Path(__file__).parents[1]
CPP = ROOT / "src" / "cpp"
PYTHON = ROOT / "src" / "python" / "backsweep"

if not CPP.is_dir():
    pytest.skip("needs the sources", allow_module_level=True)

# C++: includes

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)

# The headers of the core. Each includes headers of earlier levels only, so no two of one level include one another.
LEVELS = [
    ["sizes"],
    ["ahead", "blocks", "chooser", "matrix", "settings"],
    ["crew"],
    ["buffer"],
    ["blas", "conversion", "elementary", "activation", "loss", "optimizer", "threads"],
    ["elements", "kernels/simd", "kernels/product_options", "kernels/shares"],
    [
        "source",
        "labels",
        "order",
        "pass",
        "kernels/bf16_panels",
        "kernels/elementary",
        "kernels/panels",
        "kernels/threefry",
        "kernels/transpose",
    ],
    ["kernels/product_block"],
    [
        "kernels/activation",
        "kernels/batch_normalisation",
        "kernels/bf16_product",
        "kernels/conversion",
        "kernels/dots",
        "kernels/dropout",
        "kernels/loss",
        "kernels/normalisation",
        "kernels/occupied",
        "kernels/optimizer",
        "kernels/product",
    ],
    ["kernels/row_product"],
    ["kernels/kernels"],
    ["bfloat16"],
    ["layer", "occupied"],
    ["normalisation"],
    ["batch_norm", "dense", "dropout", "layer_norm"],
    ["workspace", "layers"],
    ["network", "functional"],
    ["penalty", "phases"],
    ["narrow_network"],
    ["step"],
    ["trainer", "inference"],
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
# Files that share a header with the one of its name.
SECOND = {"network_parts": "network", "step_apart": "step", "trainer_apart": "trainer"}
TABLE = "kernels/kernels"  # what the rest of the core knows of the kernels: functions, without their code
OPTIONS = "kernels/product_options"  # and what it can ask of one


def sources(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in (".cpp", ".hpp"))


CORE, DOOR = sources(CPP / "core"), sources(CPP / "bindings")


def name_in_core(path):
    return path.relative_to(CPP / "core").with_suffix("").as_posix()


def includes(path):
    return INCLUDE.findall(path.read_text())


def core_headers(path):
    """What of the core a file includes, less its own header."""
    names = {h.removeprefix("core/").removesuffix(".hpp") for h in includes(path) if h.startswith("core/")}
    own = path.is_relative_to(CPP / "core") and path.suffix == ".cpp" and {name_in_core(path)}
    return names - (own or set())


def test_every_header_of_the_core_has_its_level():
    assert {name_in_core(path) for path in CORE if path.suffix == ".hpp"} == LEVEL.keys()


@pytest.mark.parametrize("path", [path for path in CORE if path.suffix == ".hpp"], ids=name_in_core)
def test_headers_include_only_what_comes_before(path):
    for name in core_headers(path):
        assert LEVEL[name] < LEVEL[name_in_core(path)], f"{path.name} includes {name}"


@pytest.mark.parametrize("path", [path for path in CORE if path.suffix == ".cpp"], ids=name_in_core)
def test_sources_include_only_what_comes_before_and_the_table_of_kernels(path):
    header = SECOND.get(name_in_core(path), name_in_core(path))
    level = LEVEL.get(header, LEVEL[TABLE])  # a file without a header of its own is one of the kernels'
    for name in core_headers(path) - {TABLE, header}:
        assert LEVEL[name] < level, f"{path.name} includes {name}"


def test_the_code_of_the_kernels_is_seen_where_it_is_compiled_for_an_instruction_set_only():
    code = {name for name in LEVEL if name.startswith("kernels/")} - {TABLE, OPTIONS}
    for path in [*CORE, *DOOR]:
        if path.name != "table.cpp" and path.parent.name != "kernels":
            assert not core_headers(path) & code, path.name


@pytest.mark.parametrize("path", CORE, ids=name_in_core)
def test_core_has_never_heard_of_python_nor_of_streams(path):
    for header in includes(path):
        assert header != "iostream"
        assert header.split("/")[0] in ("core", "Accelerate", "sys") or "/" not in header
        assert not header.startswith(("pybind11", "Python"))
    assert not re.search(r"\bpy::|\bPy(_|Object|Err|GIL|Array)\w*|\bstd::c(out|err)\b", path.read_text())


@pytest.mark.parametrize("path", [*CORE, *DOOR], ids=lambda path: path.name)
def test_one_file_sees_blas_and_one_starts_threads(path):
    text = path.read_text()
    if path.name != "blas.cpp":
        assert not re.search(r"cblas\.h|cblas_\w|Accelerate/", text)
    assert "omp.h" not in includes(path)
    assert not re.search(r"\bomp_\w+\(|pragma omp parallel", text)
    if path.name != "crew.cpp":
        assert not re.search(r"std::thread\b(?!::hardware_concurrency)|pthread_(?!sigmask)", text)


def test_the_door_leads_to_core_and_pybind11_only():
    for path in DOOR:
        for header in includes(path):
            assert header.split("/")[0] in ("bindings", "core", "pybind11") or "/" not in header, (path.name, header)


# Python: imports

# Modules that sit on top: they may import what is not installed with us, and nothing imports them.
EXTRAS = {"sklearn", "distributed", "cli", "bench", "plotting", "onnx", "__main__"}


def module_name(path):
    parts = path.relative_to(PYTHON.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text()) for path in sorted(PYTHON.rglob("*.py"))}


def is_extra(name):
    return name.removeprefix("backsweep.").split(".")[0] in EXTRAS


def is_for_types_only(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree, *, at_start=False):
    """(module, name) of every import that can run; with `at_start` those that run when the module is imported."""
    found = []

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if is_for_types_only(child) or (at_start and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, None) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports are absolute"
                found.extend((child.module, alias.name) for alias in child.names)
            visit(child)

    visit(tree)
    return found


def of_the_package(tree, **kind):
    """The modules of the package that are imported."""
    names = set()
    for module, name in imports(tree, **kind):
        if module.split(".")[0] == "backsweep":
            inner = f"{module}.{name}"
            names.add(inner if inner in MODULES or name == "_core" else module)
    return names


@pytest.mark.parametrize("name", MODULES)
def test_only_what_is_installed_with_us_is_imported(name):
    if is_extra(name):
        pytest.skip("an extra")
    ours = {*sys.stdlib_module_names, "numpy", "backsweep"}
    assert {module.split(".")[0] for module, _ in imports(MODULES[name], at_start=True)} <= ours
    assert {module.split(".")[0] for module, _ in imports(MODULES[name])} <= ours | {"safetensors", "tqdm"}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_imports_the_extras(name):
    if is_extra(name):
        pytest.skip("an extra")
    assert not of_the_package(MODULES[name]) & {f"backsweep.{extra}" for extra in EXTRAS}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("backsweep.reference")])
def test_the_reference_is_numpy_alone(name):
    """Of the package it takes the name of a type and no more, so nothing compiled can have a part in it."""
    for module, imported in imports(MODULES[name]):
        root = module.split(".")[0]
        if root == "backsweep" and not module.startswith("backsweep.reference"):
            assert (module, imported) == ("backsweep._checks", "Array")
        else:
            assert root in {*sys.stdlib_module_names, "numpy", "backsweep"}


def test_modules_import_one_another_in_no_circle():
    graph = {name: of_the_package(tree, at_start=True) & MODULES.keys() for name, tree in MODULES.items()}
    done = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for other in graph[name] - {"backsweep"}:
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


HEAVY = ("tqdm", "safetensors", "argparse", "sklearn", "scipy", "matplotlib", "pandas", "onnx", "mpi4py", "torch",
         "hypothesis", "pytest", "multiprocessing", "subprocess", "unittest")  # fmt: skip


def test_import_brings_in_nothing_heavy():
    script = """
import sys, numpy
before = set(sys.modules)
import backsweep
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    brought = set(done.stdout.split())
    assert "backsweep" in brought
    assert not brought & set(HEAVY)


# Names that stand in two places


def test_functional_and_reference_have_the_same_names_and_signatures():
    assert bs.functional.__all__ == bs.reference.__all__ == sorted(bs.functional.__all__)
    for name in bs.functional.__all__:
        compiled, numpy = getattr(bs.functional, name), getattr(bs.reference, name)
        assert inspect.signature(compiled) == inspect.signature(numpy), name


def test_every_activation_loss_and_optimizer_has_its_functions():
    pairs = [f"{name}{ending}" for name in (*_core.activations, *_core.losses) for ending in ("", "_backward")]
    updates = [f"{name}_update" for name in _core.optimizers]
    layers = [f"{name}{ending}" for name in _core.layers for ending in ("", "_backward")]
    assert sorted([*pairs, *updates, *layers, "softmax"]) == bs.functional.__all__
    kinds = {thing.kind for thing in vars(bs).values() if isinstance(thing, type) and hasattr(thing, "kind")}
    assert kinds == set(_core.optimizers)


def lists_of_names(text, names):
    """Every run of at least four of the names in a text, however they are set apart."""
    word = "|".join(sorted(names, key=len, reverse=True))
    runs = re.findall(rf"(?:(?<![\w])(?:{word})(?![\w])[\s,`'\"|]*){{4,}}", text)
    return [tuple(re.findall(rf"(?<![\w])(?:{word})(?![\w])", run)) for run in runs]


@pytest.mark.parametrize("names", [_core.activations, _core.losses], ids=["activations", "losses"])
def test_lists_of_names_in_the_docs_are_the_cores(names):
    texts = {"Network": bs.Network.__doc__, "Dense": bs.Dense.__doc__, "fit": bs.Network.fit.__doc__}
    texts["README"] = (ROOT / "README.md").read_text()
    found = {where: lists_of_names(text, names) for where, text in texts.items()}
    assert found["Network"] == [names]
    for where, lists in found.items():
        assert set(lists) <= {names}, where


# The stub of the compiled module

STUB = ast.parse((PYTHON / "_core.pyi").read_text())


def parameters(function):
    arguments = function.args
    assert not arguments.defaults
    assert not arguments.kwonlyargs
    return [argument.arg for argument in arguments.posonlyargs + arguments.args if argument.arg != "self"]


def signatures(thing, name):
    """The parameters of each overload, from the text that pybind11 writes."""
    lines = re.findall(rf"^(?:\d+\. )?{name}\((.*)\) -> ", thing.__doc__, re.MULTILINE)
    assert lines, f"{name} has no signature in its docstring"
    found = []
    for line in lines:
        while (inner := re.sub(r"\[[^\[\]]*\]|\([^()]*\)", "", line)) != line:  # annotations have commas of their own
            line = inner
        names = [part.split(":")[0].strip() for part in line.split(",") if part.strip()]
        found.append([name for name in names if name != "self"])
    return found


def stub_of(kind):
    return {node.name: node for node in STUB.body if isinstance(node, kind)}


# What two of them share stands in a base that the module does not have.
REAL_CLASSES = {name: node for name, node in stub_of(ast.ClassDef).items() if node.bases}


def is_property(function):
    return any(ast.unparse(decorator) == "property" for decorator in function.decorator_list)


def test_the_stub_lists_what_the_module_has():
    attributes = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}
    listed = attributes | REAL_CLASSES.keys() | stub_of(ast.FunctionDef).keys()
    assert listed == {name for name in vars(_core) if not name.startswith("__")} | {"__version__"}


@pytest.mark.parametrize("name", stub_of(ast.FunctionDef))
def test_the_stubs_functions_have_the_modules_parameters(name):
    for found in signatures(getattr(_core, name), name):
        assert found == parameters(stub_of(ast.FunctionDef)[name])


@pytest.mark.parametrize("name", REAL_CLASSES)
def test_the_stubs_classes_have_the_modules_methods(name):
    members = {}
    for node in [*(stub_of(ast.ClassDef)[base.id] for base in REAL_CLASSES[name].bases), REAL_CLASSES[name]]:
        members |= {member.name: member for member in node.body if isinstance(member, ast.FunctionDef)}
    real = getattr(_core, name)
    assert {m for m in members if not m.startswith("__")} == {m for m in vars(real) if not m.startswith("_")}
    for member, node in members.items():
        if is_property(node):
            assert isinstance(vars(real)[member], property)
        else:
            for found in signatures(getattr(real, member), member):
                assert found == parameters(node), member


# The rest of the house rules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_there_is_one_version():
    assert PROJECT["version"] == bs.__version__ == _core.__version__ == importlib.metadata.version("backsweep")


def test_every_script_has_its_function():
    for script in PROJECT.get("scripts", {}).values():
        module, _, function = script.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def written_files():
    for folder in ("src", "tests", "benchmarks", "examples"):
        yield from sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".pyi", ".cpp", ".hpp"))


def test_files_have_at_most_300_lines_or_say_why_not():
    long = []
    for path in written_files():
        lines = path.read_text().splitlines()
        if len(lines) > 300 and "300 lines" not in " ".join(lines[:30]):
            long.append(f"{path.relative_to(ROOT)}: {len(lines)}")
    assert not long, "\n".join(long)


def test_nothing_is_left_to_do():
    marks = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
    left = [str(path.relative_to(ROOT)) for path in written_files() if marks.search(path.read_text())]
    assert not left, "\n".join(left)


def public_things():
    """Every function, class, method and property that a user can reach by public names."""
    modules = [bs, bs.functional, bs.reference, bs.calculus]
    for module in modules:
        yield module.__name__, module
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                for member, value in vars(thing).items():
                    value = getattr(value, "__func__", value)
                    if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                        yield f"{module.__name__}.{name}.{member}", value


def test_everything_public_has_a_docstring():
    silent = [name for name, thing in public_things() if not inspect.getdoc(thing)]
    assert not silent, "\n".join(silent)
