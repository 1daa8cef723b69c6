"""What may be done, by whom, to what. Pure: policy text in, decisions out; the clock is an argument.

``load`` reads the YAML, ``check`` finds what is pointless or undefined, ``compile`` makes a Decider, ``explain`` says
why.
"""

from kproxy.policy.check import check
from kproxy.policy.decide import Decider, compile
from kproxy.policy.explain import Explanation, explain
from kproxy.policy.load import load

__all__ = ["Decider", "Explanation", "check", "compile", "explain", "load"]
