"""Testing methods: the contract kit, toy videos, fakes and small real files, for vhbench's tests and plugin authors'.

In a plugin's own test file::

    from vhbench.testing import parametrize_with_checks
    from my_package import MyHash

    @parametrize_with_checks([MyHash])
    def test_contract(check):
        check()

With `simulate_gpu=True` the method is also checked on a GPU that is simulated (`vhbench.testing.simulated_gpu`).
"""

from vhbench.testing.checks import CheckResult, check_method, parametrize_with_checks
from vhbench.testing.fakes import FakeMethod, make_protocol
from vhbench.testing.rules import RULES, BrokenRule
from vhbench.testing.subject import Subject
from vhbench.testing.toy import lopsided_videos, toy_videos

__all__ = [
    "RULES",
    "BrokenRule",
    "CheckResult",
    "FakeMethod",
    "Subject",
    "check_method",
    "lopsided_videos",
    "make_protocol",
    "parametrize_with_checks",
    "toy_videos",
]
