"""Whoever fulfils a port has its methods, with its parameters."""

import inspect

import pytest

from fusionnode.delivery.outbox import SpoolOutbox
from fusionnode.delivery.router import Router
from fusionnode.delivery.sender import AssociationSender
from fusionnode.delivery.stow import StowSender
from fusionnode.flow import ports
from fusionnode.index.source import SpoolSeriesSource
from fusionnode.index.store import SqlLedger
from fusionnode.intake.reports import ReportFolder
from fusionnode.intake.spool import Spool
from fusionnode.workbench.prepared import PreparedFolder

FULFILLED = [
    (ports.Arrivals, Spool),
    (ports.Ledger, SqlLedger),
    (ports.SeriesSource, SpoolSeriesSource),
    (ports.PreparedStore, PreparedFolder),
    (ports.Outbox, SpoolOutbox),
    (ports.Reports, ReportFolder),
    (ports.Sender, AssociationSender),
    (ports.Sender, StowSender),
    (ports.Sender, Router),
]


@pytest.mark.parametrize(("port", "edge"), FULFILLED, ids=lambda one: one.__name__)
def test_the_edge_fulfils_its_port(port: type, edge: type) -> None:
    for name, method in inspect.getmembers(port, inspect.isfunction):
        if name.startswith("_"):
            continue
        assert hasattr(edge, name), f"{edge.__name__} lacks {name}"
        expected = list(inspect.signature(method).parameters)
        found = inspect.signature(getattr(edge, name)).parameters
        assert list(found)[: len(expected)] == expected
        extra = list(found.values())[len(expected) :]
        assert all(parameter.default is not parameter.empty for parameter in extra)


def test_every_port_is_fulfilled_by_somebody() -> None:
    protocols = {
        one for _, one in inspect.getmembers(ports, inspect.isclass) if getattr(one, "_is_protocol", False)
    } - {ports.HeaderReader}
    protocols = {one for one in protocols if one.__module__ == ports.__name__}
    assert protocols == {port for port, _ in FULFILLED}
