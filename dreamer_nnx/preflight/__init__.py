"""`--mode=check`: what of a run would fail later, looked at before it begins.

First what needs no compiling, then the compiled programs. Each is looked at by
the function that the run itself calls.
"""

from dreamer_nnx.preflight.report import report
from dreamer_nnx.preflight.request import Request

__all__ = ['Request', 'report']
