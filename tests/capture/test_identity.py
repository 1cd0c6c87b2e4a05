from hypothesis import given
from hypothesis import strategies as st

from fusionnode.capture.identity import FusedIdentity, derive_device_uid
from fusionnode.domain.uids import parse_uid

JOB_IDS = st.text("0123456789abcdef", min_size=24, max_size=24)


def list_uids(identity: FusedIdentity) -> list[str]:
    slices = [str(uid(index)) for index in range(300) for uid in (identity.slice_uid, identity.resampled_uid)]
    series = [identity.series_uid, identity.registration_series_uid, identity.resampled_series_uid]
    others = [identity.sheet_series_uid, identity.blending_series_uid, identity.sheet_uid, identity.blending_uid]
    return [*series, *others, identity.registration_uid, identity.stack_uid, *slices]


@given(JOB_IDS)
def test_the_same_job_has_the_same_uids_so_that_a_resend_is_no_second_series(job_id: str) -> None:
    assert list_uids(FusedIdentity(job_id)) == list_uids(FusedIdentity(job_id))


@given(JOB_IDS, JOB_IDS)
def test_no_uid_is_used_twice_within_or_across_jobs(one: str, other: str) -> None:
    uids = [uid for job_id in {one, other} for uid in list_uids(FusedIdentity(job_id))]
    assert len(set(uids)) == len(uids)


@given(JOB_IDS)
def test_every_uid_is_one_the_standard_allows(job_id: str) -> None:
    for uid in list_uids(FusedIdentity(job_id)):
        assert parse_uid(uid) == uid


def test_each_model_version_is_a_device_of_its_own() -> None:
    versions = ["laplacian@1.0", "laplacian@1.1", "unet@1.0"]
    assert len({derive_device_uid(model) for model in versions}) == 3
    assert derive_device_uid(versions[0]) == derive_device_uid("laplacian@1.0")
