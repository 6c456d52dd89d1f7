"""The forms in which flows of CICFlowMeter circulate: which column of a file is what.

Names are compared by their letters and digits alone, in lower case: blanks, underscores and the `.1`
that some tools append to a name they met before make no difference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from capture.columns import COLUMNS, FEATURES, IDENTITY_NAMES
from models.errors import TrainingError

#: With fewer known features a file is something else, whatever its other columns say.
_FEWEST = 10

#: Spellings beyond those of `capture.columns`: CICFlowMeter 3 and re-published Parquet files.
_MORE_NAMES = {
    "Init Win Bytes Fwd": "fwd_init_win_bytes",
    "Init Win Bytes Bwd": "bwd_init_win_bytes",
    "Init Fwd Win Bytes": "fwd_init_win_bytes",
    "Init Bwd Win Bytes": "bwd_init_win_bytes",
    "Act Data Pkt Fwd": "fwd_act_data_pkts",
    "Fwd Act Data Packets": "fwd_act_data_pkts",
    "Min Seg Size Fwd": "fwd_seg_size_min",
    "Fwd Packets Length Total": "total_length_of_fwd_packet",
    "Bwd Packets Length Total": "total_length_of_bwd_packet",
    "Avg Packet Size": "average_packet_size",
}

#: What a column that is no feature is for.
_ROLES = {
    "label": ("Label", "Attack Type", "Class", "ClassLabel"),
    "attempted": ("Attempted Category",),
    "protocol": ("Protocol",),
    "time": ("Timestamp", "minute_local"),
    "source": ("Source IP", "Src IP", "Source IP code"),
    "destination": ("Destination IP", "Dst IP", "Destination IP code"),
    "port": ("Destination Port", "Dst Port"),
}

#: Known, and of no use here.
_PASSED_OVER = (
    "id",
    "Flow ID",
    "Flow ID code",
    "Source Port",
    "Src Port",
    "Timestamp code",
    "row",
    "row_in_file",
    "source_file",
    "Unnamed: 0",
)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\.\d+$", "", name.strip()).lower())


_FEATURE_OF = {
    _key(name): column.field
    for column in COLUMNS
    for name in (column.field, column.name, column.name_2017, column.name_2018, column.name_python)
    if name
} | {_key(name): field for name, field in _MORE_NAMES.items()}
_ROLE_OF = {_key(name): role for role, names in _ROLES.items() for name in names}
_KNOWN = {_key(name) for name in _PASSED_OVER}


@dataclass(frozen=True, slots=True)
class Form:
    """What the columns of one file are, by their places."""

    name: str  #: what the form is called
    width: int  #: columns in all
    features: tuple[str, ...]  #: fields of `capture.columns`, in its order
    places: tuple[int, ...]  #: the column of each
    roles: dict[str, int]  #: the column of label, attempted, protocol, time, source, destination, port
    absent: tuple[str, ...]  #: features that the file lacks, by CICFlowMeter's names
    double: tuple[str, ...]  #: columns met before under the same name: the first counts
    unknown: tuple[str, ...]  #: columns that mean nothing here

    @property
    def numbers(self) -> dict[int, str]:
        """Columns that must hold numbers: place and what for."""
        named = {
            place: role for role, place in self.roles.items() if role in ("attempted", "protocol", "port")
        }
        return dict(zip(self.places, self.features)) | named

    @property
    def texts(self) -> dict[int, str]:
        """Columns that are read as they are: place and what for."""
        wanted = ("label", "time", "source", "destination")
        return {place: role for role, place in self.roles.items() if role in wanted}


def form_of(file: str, header: Sequence[str]) -> Form:
    """Understand a file by its header; TrainingError when it is no file of flows."""
    _refuse_records(file, header)
    places: dict[str, int] = {}
    roles: dict[str, int] = {}
    double, unknown = [], []
    for place, name in enumerate(header):
        key = _key(name)
        if key in _FEATURE_OF:
            if places.setdefault(_FEATURE_OF[key], place) != place:
                double.append(name.strip())
        elif key in _ROLE_OF:
            if roles.setdefault(_ROLE_OF[key], place) != place:
                double.append(name.strip())
        elif key not in _KNOWN:
            unknown.append(name.strip() or f"column {place + 1}")
    if len(places) < _FEWEST:
        raise TrainingError(_strange(file, header, len(places)))
    features = tuple(name for name in FEATURES if name in places)
    return Form(
        name=_called(header, roles, len(features)),
        width=len(header),
        features=features,
        places=tuple(places[name] for name in features),
        roles=roles,
        absent=tuple(column.name for column in COLUMNS if column.field not in places),
        double=tuple(double),
        unknown=tuple(unknown),
    )


def _called(header: Sequence[str], roles: dict[str, int], known: int) -> str:
    """The name of a form, by what only its files have."""
    keys = {_key(name) for name in header}
    if "attempted" in roles:
        return "corrected"
    if _key("Attack Type") in keys:
        return "cleaned"
    if "totlenfwdpkts" in keys:
        return "CSE-CIC-IDS2018" if "source" not in roles else "CICFlowMeter, short names"
    if "totalfwdpacket" in keys:
        return "CICFlowMeter 4"
    if "initwinbytesfwd" in keys:
        return "CICFlowMeter 3"
    if "source" in roles:
        return "GeneratedLabelledFlows"
    return "MachineLearningCSV" if "port" in roles and known > 70 else "a part of MachineLearningCSV"


def _refuse_records(file: str, header: Sequence[str]) -> None:
    if set(IDENTITY_NAMES) <= set(header):
        raise TrainingError(
            f"{file}: flow records of our own meter, which have no labels in them:"
            " give their folder as --records and the labels as --labels"
        )


def _strange(file: str, header: Sequence[str], known: int) -> str:
    names = [name.strip() for name in header if name.strip()]
    shown = ", ".join(name[:24] for name in names[:4]) + (", ..." if len(names) > 4 else "")
    what = "no file of flows" if known == 0 else "not flows as CICFlowMeter writes them"
    return (
        f"{file}: {what}: {known} of its {len(header)} columns are features of it ({shown or 'no names'});"
        " give files of CICIDS2017 or CSE-CIC-IDS2018, or CICFlowMeter's with a label column"
    )
