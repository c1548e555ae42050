"""Whether the parts of a data set go together, told from all its videos: what `vhbench data verify` says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.datasets.opening import Opening, digest_of_choice, kept_frames
from vhbench.datasets.problems import equal_rows, faults_of, label_problems, not_found, video_problems
from vhbench.features import content_digest
from vhbench.features.verify import Findings, rounded_equals
from vhbench.protocol import Part, Relevance
from vhbench.videos import VideoSet


@dataclass(frozen=True)
class Role:
    """All videos of one role.

    Attributes:
        findings: what each of its files holds, in their order.
        part: the videos with digests and without features.
    """

    findings: Sequence[Findings]
    part: Part

    @property
    def sketches(self) -> np.ndarray:
        """Of all videos, as in `Findings`."""
        return np.concatenate([found.sketches for found in self.findings])

    @property
    def digests(self) -> np.ndarray:
        """Of all videos, uint8 (videos, 32)."""
        return np.concatenate([found.digests for found in self.findings])


@dataclass(frozen=True)
class Verdict:
    """What there is to say of a data set's parts.

    Attributes:
        labels: what labels were read, in a few words.
        faults: why no sound number is possible, a sentence each.
        problems: what every record and table would say, a sentence each.
    """

    labels: str
    faults: list[str]
    problems: list[str]


def role_of(protocol: ManifestProtocol, findings: Sequence[Findings]) -> Role:
    """Put what was found in a role's files together; the part's digest is the one that records name."""
    header = findings[0].header
    digests = np.concatenate([found.digests for found in findings])
    shape = (len(digests), *header.shape[1:])
    frames = kept_frames(shape[1], protocol.keep_frames) if protocol.keep_frames else None
    digest = digest_of_choice(content_digest(header.dtype, shape, digests), frames)
    rows = digests.copy()
    rows[np.concatenate([_is_zero(found) for found in findings])] = 0
    return Role(findings, Part(VideoSet(np.broadcast_to(np.zeros((), header.dtype), shape)), digest, rows))


def judge(protocol: ManifestProtocol, opening: Opening, roles: Mapping[str, Role]) -> Verdict:
    """Compare the parts of a data set with each other.

    Args:
        protocol: the manifest.
        opening: its files.
        roles: train, query and database.

    Raises:
        DataError: the label files do not go together.
    """
    query, database = roles["query"], roles["database"]
    relevance = protocol.relevance(opening, query.digests, database.digests)
    index = relevance.self_index
    parts = (roles["train"].part, query.part, database.part)
    faults = faults_of(relevance)
    if index is not None and (text := not_found(index, query.part, database.part)):
        faults.insert(0, text)
    problems = {
        **opening.notes().get("problems", {}),
        **video_problems(*parts, index),
        **label_problems(relevance),
    }
    if faults:
        problems.pop("not_found", None)
    return Verdict(relevance.summary(), faults, [*problems.values(), *_rounded(roles, relevance)])


def _rounded(roles: Mapping[str, Role], relevance: Relevance) -> list[str]:
    """Say how many queries equal other videos but for rounding, which digests cannot tell."""
    found = []
    query = roles["query"]
    others = {"database": roles["database"], "training": roles["train"]}
    for name, other in others.items():
        if name == "training" and other.part.digest == roles["database"].part.digest:
            continue
        near = rounded_equals(query.sketches, other.sketches)
        if query.part.row_digests is not None and other.part.row_digests is not None:
            near &= ~equal_rows(query.part.row_digests, other.part.row_digests)
        if count := int(near.sum()):
            text = f"{count} of {len(near)} queries equal {name} videos but for rounding"
            if name == "database" and relevance.self_index is not None:
                text += ": store both alike, so that each query's own video is found"
            found.append(text)
    return found


def _is_zero(found: Findings) -> np.ndarray:
    zero = np.zeros(len(found.digests), dtype=bool)
    zero[found.zero] = True
    return zero
