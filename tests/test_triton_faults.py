"""Triton while requests are bad, huge or abandoned, and its backend and itself are killed.

Half a minute of what `make triton-faults` does for ten.
"""

import pytest

WHY_SKIPPED = "the `triton` extra is not installed: `make test-triton` runs this"
pytest.importorskip("pytriton", reason=WHY_SKIPPED)
serving = pytest.importorskip("serving.server", reason=WHY_SKIPPED)
if not serving.EXAMPLE.exists():
    pytest.skip("the example is only in the checkout", allow_module_level=True)

from serving.faults import Run  # noqa: E402

SECONDS = 30


def test_no_request_is_lost(tmp_path):
    # Without clients of gRPC that leave, which Triton 2.51 does not survive for long.
    report = Run(tmp_path, SECONDS, cancel=False)()
    print(report)
    counts = report.counts
    assert not report.faults, report
    assert counts["good: answered"] == counts["good: sent"] >= 100
    assert [what for what, _ in report.outages] == [
        "A backend has ended",
        "The server has ended with status -9",
    ]
    # The faults did happen.
    assert counts["good: sent again"] > 0
    assert counts["bad: told what is wrong"] > 10
    assert counts["bad: answered, as it may be"] > 0
    assert counts["no request: told what is wrong"] > 10
    assert counts["abandoned"] > 10
    assert set(report.growths) == {"server", serving.BOX_CLASSIFIER, serving.ROI_ALIGN}
