"""The field's files in: frame features read where they lie, labels as arrays.

`open_features(paths)` presents one or more feature files (HDF5 or `.npy`) as one object that satisfies
`vhbench.videos.Frames`; `read_labels(paths)` reads label files (MATLAB, HDF5, `.npy`, `.npz` or text). Both raise
DataError.
"""

from vhbench.features.frames import (
    Features,
    SampledFrames,
    check_alike,
    content_digest,
    open_features,
    open_headers,
)
from vhbench.features.headers import Header, read_header
from vhbench.features.label_arrays import number_names, read_array
from vhbench.features.labels import LABEL_KEYS, check_same_form, drop_extra_column, match_forms, read_labels
from vhbench.features.reading import digest_rows

__all__ = [
    "LABEL_KEYS",
    "Features",
    "Header",
    "SampledFrames",
    "check_alike",
    "check_same_form",
    "content_digest",
    "digest_rows",
    "drop_extra_column",
    "match_forms",
    "number_names",
    "open_features",
    "open_headers",
    "read_array",
    "read_header",
    "read_labels",
]
