# SPDX-License-Identifier: Apache-2.0
"""A message arrives as it was sent, and bytes that are none are refused with a sentence."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physgen_policy.peer.framing import MAGIC, FramingError, Message, read_message, write_message

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
arrays = st.one_of(
    [
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
        for dtype in (np.uint8, np.float32)
    ]
)
messages = st.builds(
    Message,
    st.text(max_size=20),
    st.dictionaries(st.text(), values, max_size=4),
    st.dictionaries(st.text(), arrays, max_size=4),
)


class Trickle(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self._step = step

    def read(self, count: int | None = -1) -> bytes:
        assert count is not None
        return super().read(min(count, self._step))


def bytes_of(*sent: Message) -> bytes:
    stream = io.BytesIO()
    for message in sent:
        write_message(stream, message)
    return stream.getvalue()


@settings(max_examples=40, deadline=None)
@given(st.lists(messages, max_size=3), st.integers(1, 64))
def test_messages_arrive_as_they_were_sent(sent, step):
    stream = Trickle(bytes_of(*sent), step)
    for message in sent:
        found = read_message(stream)
        assert found is not None
        assert (found.kind, found.fields) == (message.kind, message.fields)
        assert list(found.arrays) == list(message.arrays)
        for name, array in message.arrays.items():
            assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)
            assert found.arrays[name].tobytes() == array.tobytes()
            assert found.arrays[name].flags.writeable
    assert read_message(stream) is None


@settings(max_examples=40, deadline=None)
@given(messages, st.data())
def test_a_cut_message_is_never_taken_for_a_whole_one(message, data):
    whole = bytes_of(message)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(FramingError, match="ended"):
        read_message(io.BytesIO(whole[:cut]))


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_other_bytes_are_refused(noise):
    """Never another error, whatever the bytes, with and without our mark before them."""
    for data in (noise, MAGIC + noise, MAGIC + struct.pack("<I", len(noise)) + noise):
        with pytest.raises(FramingError):
            read_message(io.BytesIO(data))


def test_what_would_not_arrive_is_not_sent():
    with pytest.raises(FramingError, match="float64"):
        write_message(io.BytesIO(), Message("x", arrays={"a": np.zeros(2)}))
    header = (
        b'{"kind": "x", "fields": {}, "arrays": [{"name": "a", "dtype": "float32", "shape": [%d]}]}' % 10**12
    )
    with pytest.raises(FramingError, match="larger"):
        read_message(io.BytesIO(MAGIC + struct.pack("<I", len(header)) + header))
    view = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    found = read_message(io.BytesIO(bytes_of(Message("x", arrays={"a": view}))))
    assert found is not None
    np.testing.assert_array_equal(found.arrays["a"], view)
