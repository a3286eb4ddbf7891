"""What all tests share: the real kernels that a developer or CI has at hand."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from deep import is_deep
from hypothesis import HealthCheck, settings

# What a test says does not depend on how busy the machine is.
settings.register_profile("emu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("emu")

_HOW = {
    "EMU_KERNEL_612": "Debian's linux-image-6.12*-cloud-arm64-unsigned, its vmlinuz: tools/fetch-kernels 612",
    "EMU_KERNEL_61": "Debian's linux-image-6.1*-cloud-arm64-unsigned, its vmlinuz: tools/fetch-kernels 61",
    "EMU_KERNEL_618": "Debian's linux-image-6.18*-cloud-arm64, its vmlinuz: tools/fetch-kernels 618",
    "EMU_KERNEL_NEWEST": "Debian's newest linux-binary-*-cloud-arm64: tools/fetch-kernels newest",
    "EMU_KERNEL_16K": "Debian's linux-image-6.12*-arm64-16k-unsigned, its vmlinuz: tools/fetch-kernels 16k",
    "EMU_KERNEL_SMALL": "a tree of Linux 6.12, tinyconfig with SMP and KALLSYMS: tools/fetch-kernels small",
    "EMU_KERNEL_NO_HOTPLUG": "that tree without CPU hotplug: .ci/small-kernel CACHE no-hotplug HOTPLUG_CPU=n",
    "EMU_KERNEL_SPLIT": "that tree with split startup: .ci/small-kernel CACHE split.diff",
    "EMU_KERNEL_NAIVE": "as EMU_KERNEL_SPLIT, of a split.diff that selects HOTPLUG_PARALLEL",
    "EMU_KERNEL_RFC": "that tree with the RFC's parallel look-up: .ci/small-kernel CACHE rfc.diff",
}


class _SkipsAreFailures:
    """Ends a run in which anything was skipped or expected to fail with a non-zero status, and says what."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "wasxfail"):
            self._found.append(f"{report.nodeid}: xfail {report.wasxfail}".rstrip())
        elif report.skipped:
            self._found.append(f"{report.nodeid}: {_reason(report)}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._found.append(f"{report.nodeid}: {_reason(report)}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._found:
            terminalreporter.section("skips are failures")
            for line in self._found:
                terminalreporter.line(line)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--skips-are-failures``, which CI gives: there every test has what it needs."""
    parser.addoption(
        "--skips-are-failures", action="store_true", help="fail when a test is skipped or xfails"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register what the options ask for; let Ctrl-C do what it does."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what goes to the background, and every program of a test would ignore Ctrl-C too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--skips-are-failures"):
        config.pluginmanager.register(_SkipsAreFailures(), "skips-are-failures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the deep tests."""
    for item in items:
        if is_deep(item.nodeid):
            item.add_marker(pytest.mark.deep)


def pytest_collection_finish() -> None:
    """Leave the tests themselves, which live as long as the process, out of each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_kernel() -> Callable[[str], Path]:
    """Return the path that an environment variable names, or skip the test with what to put there."""

    def path(variable: str) -> Path:
        value = os.environ.get(variable)
        if not value:
            pytest.skip(f"set {variable} to {_HOW[variable]}")
        found = Path(value)
        assert found.exists(), f"{variable}={value}: no such file"
        return found

    return path
