"""Every malformed and hostile file of the public data, by DCMTK where it will send it and raw where it will not."""

import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.fuzz.targets import listening
from tests.support.robustness import (
    CLEAN,
    UNSENT,
    list_files,
    list_unkept,
    render_table,
    send_everything,
)
from tests.support.running import storescu

GOOD = Path(__file__).resolve().parents[2] / "dicom_samples" / "head" / "mr"


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(1800)
def test_every_odd_file_is_answered_and_good_series_pass_afterwards(tmp_path: Path, real_data: Path) -> None:
    paths = list_files(real_data)
    good = [str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for path in GOOD.glob("*.dcm")]
    assert len(paths) > 150
    with listening(tmp_path, patience_seconds=60) as target:
        target.require_life()
        answers = list(send_everything(target.listener.port, paths))
        assert list_unkept(target.spool, answers) == []
        [done] = storescu(target.listener.port, GOOD)
        assert done.returncode == 0
        assert target.spool.list_missing(good) == []
        assert target.escaped == []
        target.require_life()
    sys.stdout.write(render_table(answers) + "\n")
    odd = [one for one in answers if one.word not in CLEAN and (one.way, one.word) != ("DCMTK", UNSENT)]
    assert odd == []
    assert {one.path for one in answers if one.word in CLEAN} == set(paths)
