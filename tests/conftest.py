"""Settings of the whole suite."""

import figures
from hypothesis import HealthCheck, settings

# The same examples on every machine and in every run: a red test is a fault, never luck.
settings.register_profile(
    "backsweep",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault either
)
settings.load_profile("backsweep")


def pytest_terminal_summary(terminalreporter):
    if figures.MEASURED:
        terminalreporter.section("figures")
    for line in figures.lines():
        terminalreporter.write_line(line)
