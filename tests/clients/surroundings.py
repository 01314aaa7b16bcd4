"""What every suite starts with, as a plugin: nothing of the surroundings but what a test gives, and nothing skipped."""

import os

import pytest

pytest.register_assert_rewrite("contract", "harness", "wire")

# No client may find other credentials, endpoints or proxies than the ones a test gives it.
for name in [
    name
    for name in os.environ
    if name.upper().startswith(("AWS_", "AZURE_", "CEPH_", "CLOUDFLARE_", "RCLONE_")) or name.upper().endswith("_PROXY")
]:
    del os.environ[name]
os.environ |= {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that skips has not tested: it fails."""
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid} skipped: {report.longrepr}"
    return report
