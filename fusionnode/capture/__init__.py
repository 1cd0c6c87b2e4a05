"""Capture (middle): pictures and motion become DICOM objects that any PACS takes and any viewer places rightly."""
