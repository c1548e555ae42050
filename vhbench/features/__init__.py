"""The field's files in: frame features read where they lie, labels as arrays.

`open_features(paths)` presents one or more feature files (HDF5 or `.npy`) as one object that satisfies
`vhbench.videos.Frames`; `read_labels(paths)` reads label files (MATLAB 5, MATLAB 7.3 or `.npy`). Both raise DataError.
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
from vhbench.features.labels import LABEL_KEYS, drop_extra_column, match_forms, read_labels

__all__ = [
    "LABEL_KEYS",
    "Features",
    "Header",
    "SampledFrames",
    "check_alike",
    "content_digest",
    "drop_extra_column",
    "match_forms",
    "open_features",
    "open_headers",
    "read_header",
    "read_labels",
]
