"""The pages: snippets run and print what stands beside them, quoted lines and links lead somewhere, examples run."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from backsweep.diagnosis import FAULTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

if not DOCS.is_dir():
    pytest.skip("needs the pages", allow_module_level=True)

NOTES = sorted((DOCS / "notes").glob("*.md"))
PAGES = [*NOTES, DOCS / "gradients.md"]  # whose snippets are run
LINKED = [*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md", *(ROOT / "examples").glob("*.md")]

SNIPPET = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(r"^\|(?:[^|]*\|)? \[[^\]]*\]\(([^)]+)\) \| `(.*)` \|$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(#[^)\s]*)?\)")


def title(path):
    return path.relative_to(ROOT).as_posix()


def snippets(path):
    return SNIPPET.findall(path.read_text())


@pytest.mark.parametrize("path", PAGES, ids=title)
def test_snippets_print_what_stands_beside_them(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for code, expected in snippets(path):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, title(path), "exec", dont_inherit=True), namespace)
        assert printed.getvalue() == expected, code


def test_the_readmes_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ((code, _),) = snippets(ROOT / "README.md")
    namespace = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "README.md", "exec", dont_inherit=True), namespace)
    assert namespace["net"].evaluate(namespace["X_test"], namespace["y_test"])["accuracy"] > 0.85


def test_every_section_has_snippets():
    sections = [path for path in NOTES if path.name != "README.md"]
    assert [path.name[:3] for path in sections] == ["3.0", "3.1", "3.2", "3.3"]
    for path in [*sections, DOCS / "gradients.md"]:
        assert len([1 for _, expected in snippets(path) if expected]) >= 3, path.name
        assert path.read_text().count("```python") == len(snippets(path)), path.name


@pytest.mark.parametrize("path", [path for path in NOTES if path.name != "README.md"], ids=title)
def test_quoted_lines_stand_in_their_files(path):
    """A formula is quoted from the reference and from C++, so that changing either shows here."""
    quotes = QUOTE.findall(path.read_text())
    assert path.read_text().count("](../../src/") == len(quotes), "a row that is not read as a quotation"
    for file, line in quotes:
        lines = [written.strip() for written in (path.parent / file).read_text().splitlines()]
        assert line in lines, f"{title(path)} quotes from {file} what does not stand there: {line}"
    kinds = {Path(file).suffix in (".cpp", ".hpp") for file, _ in quotes}
    assert kinds == {True, False}


@pytest.mark.parametrize("path", LINKED, ids=title)
def test_links_lead_somewhere(path):
    prose = re.sub(r"^```.*?^```$|`[^`]*`", "code", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in LINK.findall(prose):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{title(path)}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{title(path)}: {target}{anchor}"


def test_every_fault_that_is_recognised_is_listed():
    listed = re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "gradients.md").read_text(), re.MULTILINE)
    assert dict(listed) == FAULTS


# Examples

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MNIST = ROOT.parent / "shared" / "data" / "mnist"


def run(path, folder, *arguments):
    command = [sys.executable, "-W", "error", path, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("path", EXAMPLES, ids=title)
def test_examples_run(path, tmp_path):
    if path.name == "homework.py" and not MNIST.is_dir():
        pytest.skip(f"needs MNIST in {MNIST}")
    if path.name == "drop_in.py":
        pytest.importorskip("sklearn", "1.9")
    done = run(path, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_homework_says_what_to_do_without_its_data(tmp_path):
    done = run(ROOT / "examples" / "homework.py", tmp_path, tmp_path / "nowhere")
    assert done.returncode == 1
    assert "four files of MNIST: train-images-idx3-ubyte.gz" in done.stderr
    assert "homework.py FOLDER" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_example_is_listed():
    listed = re.findall(r"^\| `(\w+\.py)` \|", (ROOT / "examples" / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.name for path in EXAMPLES]
