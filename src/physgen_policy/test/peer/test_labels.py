# SPDX-License-Identifier: Apache-2.0
"""What a demonstration flags as no label is no target of lerobot either."""

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physgen_policy.peer.labels import not_shown, with_labels


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=30),
    st.data(),
    st.lists(st.integers(-40, 40), max_size=10),
)
def test_targets_end_before_the_next_disturbance(labels, data, deltas):
    index = data.draw(st.integers(0, len(labels) - 1))
    found = not_shown(np.array(labels), index, deltas)
    assert found.shape == (len(deltas),)
    for delta, left_out in zip(deltas, found, strict=True):
        if delta >= 0:
            assert left_out == (not all(labels[index : index + delta + 1]))
        else:
            assert left_out == (index + delta >= 0 and not labels[index + delta])


class Table(dict[str, Any]):
    """Columns as the datasets library gives them."""

    def select_columns(self, names):
        return Table({name: self[name] for name in names})

    def with_format(self, kind):
        assert kind == "numpy"
        return self

    def __getitem__(self, key):
        return dict(self) if isinstance(key, slice) else super().__getitem__(key)


class Rows:
    """What of lerobot's dataset class is used."""

    features = ("action", "is_label")
    delta_indices = {"action": [0, 1, 2]}  # noqa: RUF012
    hf_dataset = Table(index=np.arange(4), is_label=np.array([[True], [False], [True], [True]]), action=None)
    meta = type("Meta", (), {"total_frames": 4})

    def __getitem__(self, index):
        return {"index": torch.tensor(index), "action_is_pad": torch.tensor([False, False, index == 2])}


def test_disturbances_count_as_beyond_the_end():
    rows = with_labels(Rows)()
    assert rows[0]["action_is_pad"].tolist() == [False, True, True]
    assert rows[1]["action_is_pad"].tolist() == [True, True, True]
    assert rows[2]["action_is_pad"].tolist() == [False, False, True]
