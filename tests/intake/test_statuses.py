import pytest
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from fusionnode.intake.statuses import Status


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.PROCESSING_FAILURE])
def test_every_status_is_one_a_storage_provider_may_answer_with(status: Status) -> None:
    assert int(status) in STORAGE_SERVICE_CLASS_STATUS


def test_only_success_means_success() -> None:
    assert [s for s in Status if s == 0] == [Status.SUCCESS]
