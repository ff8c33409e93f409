"""The list of known vulnerabilities: one that is known fails the check, one that is not there does not."""

import pytest

from tools.audit import UNREACHED, verdict

SAFE = {"name": "timm", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "own", "skip_reason": "not found"}
FLAWED = {"name": "pillow", "version": "9.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["9.1", "8.9"]}]}
OPEN = {"name": "torch", "version": "1.0", "vulns": [{"id": "CVE-2", "fix_versions": []}]}


@pytest.mark.parametrize(
    ("packages", "said", "code"),
    [
        ([SAFE, FLAWED], "pillow 9.0: PYSEC-1, fixed in 9.1, 8.9", 1),
        ([OPEN, UNKNOWN], "torch 1.0: CVE-2, fixed in no version yet", 1),
        ([SAFE, UNKNOWN], "No vulnerability is known in 1 of 2 packages; the others are not in the list.", 0),
        ([UNKNOWN], UNREACHED, 0),
        ([], UNREACHED, 0),
    ],
)
def test_what_is_known_is_named_and_fails(packages, said, code):
    assert verdict(packages) == (said, code)
