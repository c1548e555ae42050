"""Whether the parts of a data set go together, told from all its videos: what `vhbench data verify` says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vhbench.datasets.casting import taken
from vhbench.datasets.choices import chosen_frames, digest_of_choice
from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.datasets.opening import Opening
from vhbench.datasets.problems import equal_rows, faults_of, label_problems, not_found, video_problems
from vhbench.features import Header, content_digest
from vhbench.features.beside import digests_beside
from vhbench.features.verify import Findings, rounded_equals
from vhbench.protocol import Part, Relevance
from vhbench.videos import VideoSet


@dataclass(frozen=True)
class Role:
    """All videos of one role.

    Attributes:
        sets: what each of its files holds, in their order: those of `features`, then those beside them.
        part: the videos with digests and without features.
        digests: of the videos, uint8 (videos, 32).
        sketches: of the videos, as in `Findings`; those of features side by side one behind the other.
    """

    sets: Sequence[Sequence[Findings]]
    part: Part
    digests: np.ndarray
    sketches: np.ndarray

    @property
    def zeros(self) -> int:
        """Videos that are zero throughout."""
        assert self.part.row_digests is not None
        return int((~self.part.row_digests.any(axis=1)).sum())


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


def role_of(protocol: ManifestProtocol, opening: Opening, role: str, found: Mapping[Header, Findings]) -> Role:
    """Put what was found in a role's files together; the part's digest is the one that records name.

    Args:
        protocol: the manifest.
        opening: its files.
        role: train, query or database.
        found: what each file holds.
    """
    sets = [[found[header] for header in headers] for headers in opening.sets(role)]
    rows = opening.rows(role)
    digests = [np.concatenate([findings.digests for findings in among]) for among in sets]
    joined = digests_beside(digests) if len(sets) > 1 else digests[0]
    zero = np.all([np.concatenate([_is_zero(findings) for findings in among]) for among in sets], axis=0)
    sketches = np.hstack([np.concatenate([findings.sketches for findings in among]) for among in sets])
    first = sets[0][0].header
    dtype = np.result_type(*(among[0].header.dtype for among in sets)) if len(sets) > 1 else first.dtype
    shape = (len(joined), first.shape[1], sum(among[0].header.shape[2] for among in sets))
    frames = chosen_frames(protocol.keep_frames, shape[1])
    digest = digest_of_choice(content_digest(dtype, shape, joined), frames, rows)
    distinct = np.where(zero[:, None], np.uint8(0), joined)
    videos = VideoSet(np.broadcast_to(np.zeros((), dtype), shape), rows)
    part = Part(videos, digest, taken(distinct, rows), names=opening.names(role), groups=opening.groups(role))
    return Role(sets, part, taken(joined, rows), taken(sketches, rows))


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
