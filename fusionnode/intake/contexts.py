"""What may be sent to this node: SOP classes and transfer syntaxes (edge)."""

from typing import Any

from pydicom import uid
from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

_UNCOMPRESSED: tuple[UID, ...] = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)

# The order matters: of the syntaxes a peer proposes in one context, the first of ours is taken.
# Those whose pixels nothing here can decode are not there: video, JPEG 2000 with components of its Part 2, and pixels
# that would have to be fetched from elsewhere (JPIP).
TRANSFER_SYNTAXES: tuple[UID, ...] = (
    *_UNCOMPRESSED,
    *uid.JPEGTransferSyntaxes,
    *uid.JPEGLSTransferSyntaxes,
    *(syntax for syntax in uid.JPEG2000TransferSyntaxes if syntax not in (uid.JPEG2000MCLossless, uid.JPEG2000MC)),
    uid.RLELossless,
)

_IMAGES: tuple[UID, ...] = (
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
    uid.EnhancedMRColorImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
    uid.PositronEmissionTomographyImageStorage,
    uid.EnhancedPETImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
    uid.NuclearMedicineImageStorage,
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
)

# Scanners send these along with the images; refusing them makes many of them report the whole study as failed.
_COMPANIONS: tuple[UID, ...] = (
    uid.MRSpectroscopyStorage,
    uid.RawDataStorage,
    uid.SpatialRegistrationStorage,
    uid.DeformableSpatialRegistrationStorage,
    uid.SpatialFiducialsStorage,
    uid.SegmentationStorage,
    uid.SurfaceSegmentationStorage,
    uid.RealWorldValueMappingStorage,
    uid.KeyObjectSelectionDocumentStorage,
    uid.GrayscaleSoftcopyPresentationStateStorage,
    uid.ColorSoftcopyPresentationStateStorage,
    uid.PseudoColorSoftcopyPresentationStateStorage,
    uid.BlendingSoftcopyPresentationStateStorage,
    uid.AdvancedBlendingPresentationStateStorage,
    uid.BasicTextSRStorage,
    uid.EnhancedSRStorage,
    uid.ComprehensiveSRStorage,
    uid.Comprehensive3DSRStorage,
    uid.XRayRadiationDoseSRStorage,
    uid.RadiopharmaceuticalRadiationDoseSRStorage,
    uid.EncapsulatedPDFStorage,
)

STORAGE_CLASSES: tuple[UID, ...] = (*_IMAGES, *_COMPANIONS)


class SharedContexts(list[PresentationContext]):
    """Contexts that all associations share; a copy for each would cost 15 ms per association and is never changed."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedContexts":
        return self


def build_contexts() -> list[PresentationContext]:
    """Return the presentation contexts the listener supports.

    Verification, every class of `STORAGE_CLASSES`, and storage commitment the other way round: who calls is its SCP and
    reports to us (PS3.4 section J.3.3), by role selection (PS3.7 section D.3.3.4).
    """
    syntaxes: list[str | UID] = list(TRANSFER_SYNTAXES)
    verification = build_context(Verification, list(_UNCOMPRESSED[:3]))
    commitment = build_context(StorageCommitmentPushModel, list(_UNCOMPRESSED[:3]))
    commitment.scu_role, commitment.scp_role = False, True
    return [verification, commitment, *(build_context(sop_class, syntaxes) for sop_class in STORAGE_CLASSES)]
