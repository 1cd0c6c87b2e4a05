"""What an object that stands for the whole job begins with: class, patient, study, series, maker (middle)."""

from dataclasses import dataclass

from pydicom import Dataset

from fusionnode.capture.equipment import list_contributors
from fusionnode.capture.inherit import inherit_body_part, inherit_patient_and_study
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.stamp import make_file_meta, stamp_equipment, stamp_moment


@dataclass(frozen=True)
class Beginning:
    """Which object it is: one instance in a series of its own.

    Attributes:
        after: how far its Series Number lies after that of the fused series.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    modality: str
    description: str
    after: int


def begin_object(request: CaptureRequest, beginning: Beginning) -> Dataset:
    """Return the object with its Patient, Study, Series, Equipment and SOP Common modules, dated by the job.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    ds = Dataset()
    ds.file_meta = make_file_meta(beginning.sop_class_uid, beginning.sop_instance_uid, request.software_version)
    ds.SOPClassUID, ds.SOPInstanceUID = beginning.sop_class_uid, beginning.sop_instance_uid
    inherit_patient_and_study(ds, request.head)
    inherit_body_part(ds, request.head)
    stamp_equipment(ds, request.software_version)
    stamp_moment(ds, request.moment)
    ds.Modality = beginning.modality
    ds.SeriesInstanceUID = beginning.series_instance_uid
    ds.SeriesNumber = request.pipeline.output.series_number + beginning.after
    ds.SeriesDescription = beginning.description
    ds.InstanceNumber = 1
    ds.ContributingEquipmentSequence = list_contributors(request, ds, request.moment)
    return ds
