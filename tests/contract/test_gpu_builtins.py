"""Every built-in method and variant keeps the rules of `vhbench.testing.gpu_rules` on a simulated GPU."""

from __future__ import annotations

import pytest
from built_ins import built_ins

from vhbench.testing.gpu_rules import GPU_RULES, GpuSubject
from vhbench.testing.simulated_gpu import unavailable
from vhbench.testing.subject import one_thread

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in built_ins()])
def test_a_method_keeps_every_rule_on_a_simulated_gpu(entry):
    subject = GpuSubject(entry.make)
    with one_thread():
        for rule in GPU_RULES.values():
            rule(subject)
