"""What the edges tell: a value that says nothing of anybody by default, and a watcher that may be left out."""

import inspect

from fusionnode.flow.observing import NOBODY, ExchangeObserver, IntakeObserver, StoreAnswer, Subject, Unobserved


def test_nobody_is_named_unless_somebody_is_known() -> None:
    assert StoreAnswer("1.2", "1.3", 0xA700, 0.1).subject == NOBODY == Subject("", "", "", "")


def test_the_one_who_tells_nobody_fulfils_both_protocols() -> None:
    for protocol in (IntakeObserver, ExchangeObserver):
        for name, method in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_"):
                assert inspect.signature(method) == inspect.signature(getattr(Unobserved, name))
