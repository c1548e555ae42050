"""Runs that never took place but were really scored: made-up labels and codes, and all the files of a record."""

import json

import numpy as np

from vhbench.codes import pack
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.runs.record import SCHEMA
from vhbench.runs.spec import RunSpec, budget_name
from vhbench.runs.store import Store
from vhbench.scoring.splits import score_splits
from vhbench.videos import VideoSet

NAMES = ("cats", "dogs", "<script>document.title='hacked'</script>", "birds & bees")
ENVIRONMENT = {
    "python": "3.11.7", "packages": {"numpy": "2.0"}, "git": "0123456789ab", "cpu": "a processor", "threads": 2,
    "device": "cpu", "gpu": None, "deterministic": True,
}  # fmt: skip


class Made(Protocol):
    """Labels, class names and pictures without any features behind them.

    Videos have names where `named` says so. Some queries have no relevant item where `lonely` says so: their class is
    not in the database.
    """

    title = "made up"
    ks = (5, 20)

    def __init__(self, name="made", queries=40, items=70, in_database=False, pictures=True, lonely=0, named=False):
        self.name = name
        self.in_database = in_database
        self._pictures = pictures
        self._named = named
        self._database = np.arange(items) % (len(NAMES) - 1 if lonely else len(NAMES))
        self._query = self._database[:queries].copy()
        if lonely:
            self._query[:lonely] = len(NAMES) - 1

    def load(self, data, *, allow_counts=False):
        sets = [self._query, self._database] if not self.in_database else [self._database] * 2
        parts = [Part(VideoSet(np.zeros((len(y), 1, 1))), f"{self.name} {len(y)}", names=self._names(y)) for y in sets]
        own = np.arange(len(self._database)) if self.in_database else None
        relevance = Relevance.from_labels(*sets, own, class_names=NAMES)
        return [Split(self.name, parts[1], parts[0], parts[1], relevance)]

    def _names(self, labels):
        return np.array([f"v_{label}_g{row:03}.avi" for row, label in enumerate(labels)]) if self._named else None

    def pictures(self, split, role, rows):
        """Videos of 8 colour frames of 6 x 4 pixels; frame f of row r has the brightness 10 f + r % 100."""
        if not self._pictures:
            return None
        light = 10 * np.arange(8) + rows[:, None] % 100
        return np.broadcast_to(light[..., None, None, None], (len(rows), 8, 4, 6, 3)).astype(np.uint8)


def made_split(number, **changes):
    """One of the three splits of `own`, with 30 queries and its number, and what records of its runs say of it."""
    name = f"own-fold{number}"
    note = {name: {"fold": {"of": "own", "number": number, "count": 3}}}
    return Made(name=name, queries=30 + number, **changes), note


def made_study(method, name):
    """What records say of a setting that a study of 9 trials has chosen."""
    return {"method": method, "study": name, "judge": "loss", "trials": 9, "held_out": 5, "space": "0" * 64,
            "params": {"x": 1}}  # fmt: skip


def make_run(root, protocol, method="itq", bits=16, seed=0, noise=0.2, epochs=(), **changes):
    """Write a finished run's record and files; further keywords change entries of the record.

    A code is its class's random code, with `noise` of the bits flipped.
    """
    rng = np.random.default_rng([bits, seed, len(method), int(100 * noise)])
    splits = protocol.load(None)
    centres = rng.random((len(NAMES), bits)) < 0.5
    codes = {}
    for split in splits:
        for part, labels in (
            (split.database, split.relevance.database_labels),
            (split.query, split.relevance.query_labels),
        ):
            codes[part.digest] = centres[labels] ^ (rng.random((len(labels), bits)) < noise)
    scored = score_splits(splits, codes, protocol.ks)
    spec = RunSpec(
        method=method, params=changes.pop("params", {}), bits=bits, seed=seed,
        budget={"epochs": len(epochs) or None, "videos": None}, precision="float32", protocol=protocol.name,
        version=protocol.version, splits={split.name: split.digests() for split in splits},
    )  # fmt: skip
    fingerprint = changes.pop("fingerprint", "0" * 64)
    record = {
        "schema": SCHEMA, "id": spec.id, "spec": spec.to_json(), "status": "done", "reason": None,
        "budget": budget_name(spec.budget["epochs"], None, len(epochs) or None), "synthetic": False, "data": {},
        "changed": {}, "method": {"origin": "built-in", "fingerprint": fingerprint}, "vhbench": "0.1.0",
        "scores": scored.scores, "audit": scored.audit, "queries": scored.queries,
        "timing": {"fit_s": 1.0 + seed, "encode_s": 0.5, "score_s": 0.1, "videos_per_s": 260.0},
        "memory": {"peak_rss_mb": 100.0 + seed, "peak_gpu_mb": None}, "selection": "none",
        "environment": {**ENVIRONMENT, "finished": "2026-01-02T03:04:05+00:00"},
    }  # fmt: skip
    arrays = {
        f"{s.name}/{role}": pack(codes[getattr(s, role).digest]) for s in splits for role in ("query", "database")
    }
    with Store(root).claim(spec) as folder:
        if epochs:
            lines = [{"epoch": n, "loss": loss, "kl": loss / 2, "seconds": 1.0} for n, loss in enumerate(epochs, 1)]
            folder.path.mkdir(parents=True, exist_ok=True)
            (folder.path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        folder.publish(
            {**record, **changes},
            arrays={"codes.npz": arrays, "per_query.npz": scored.per_query},
            texts={"curves.json": scored.curves},
        )
        return folder.path
