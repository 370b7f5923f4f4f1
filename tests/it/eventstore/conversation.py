"""Uses every feature of a foreign EventStoreDB client against the server at a given
address. Ends with an error at the first surprise."""

import sys
import threading
import uuid

from esdbclient import CaughtUp, Checkpoint, EventStoreDBClient, NewEvent, StreamState
from esdbclient.exceptions import (
    AccessDeniedError,
    DeadlineExceeded,
    GrpcError,
    MaximumAppendSizeExceededError,
    NotFound,
    StreamIsDeleted,
    WrongCurrentVersion,
)

address, stranger, root = sys.argv[1], sys.argv[2], open(sys.argv[3]).read()
client = EventStoreDBClient(uri=address, root_certificates=root)


def stream():
    return f"foreign-{uuid.uuid4()}"


def event(kind="Foreign", data=b'{"n": 1}', **more):
    return NewEvent(type=kind, data=data, **more)


def fails(expected, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except expected as error:
        return error
    raise AssertionError(f"{call} did not fail")


def positions(events):
    return [event.stream_position for event in events]


# Appends with each expected revision, and repeats them.
name, events = stream(), [event() for _ in range(5)]
first = client.append_to_stream(name, current_version=StreamState.NO_STREAM, events=events[:2])
client.append_to_stream(name, current_version=1, events=events[2])
client.append_to_stream(name, current_version=StreamState.EXISTS, events=events[3])
client.append_to_stream(name, current_version=StreamState.ANY, events=events[4])
again = client.append_to_stream(name, current_version=StreamState.NO_STREAM, events=events[:2])
assert again == first, "a repetition is answered as before"
client.append_event(name, current_version=4, event=event())
for version in [StreamState.NO_STREAM, 0, 9]:
    fails(WrongCurrentVersion, client.append_to_stream, name, current_version=version, events=event())
    fails(WrongCurrentVersion, client.append_event, name, current_version=version, event=event())
fails(WrongCurrentVersion, client.append_to_stream, stream(), current_version=StreamState.EXISTS, events=event())

# Reads of a stream.
assert [e.id for e in client.get_stream(name)][:5] == [e.id for e in events]
assert positions(client.get_stream(name, backwards=True, limit=2)) == [5, 4]
assert positions(client.get_stream(name, stream_position=1, limit=2)) == [1, 2]
assert positions(client.get_stream(name, stream_position=1, backwards=True)) == [1, 0]
assert client.get_current_version(name) == 5
assert client.get_current_version(stream()) is StreamState.NO_STREAM
fails(NotFound, client.get_stream, stream())

# The content of an event.
binary = event("Ünïcode ✓", bytes(range(256)), metadata=b'{"k": "v"}', content_type="application/octet-stream")
odd = f"with spaces/ünï-{uuid.uuid4()}"
client.append_to_stream(odd, current_version=StreamState.ANY, events=binary)
back = client.get_stream(odd)[0]
assert (back.type, back.data, back.metadata, back.content_type, back.stream_name) == (
    binary.type, binary.data, binary.metadata, binary.content_type, odd,
)
large = event(data=b"x" * 1_000_000, content_type="application/octet-stream")
client.append_to_stream(odd, current_version=StreamState.ANY, events=large)
assert client.get_stream(odd)[1].data == large.data
larger = event(data=b"x" * 1_100_000, content_type="application/octet-stream")
fails(MaximumAppendSizeExceededError, client.append_to_stream, odd, current_version=StreamState.ANY, events=[larger])
fails(GrpcError, client.append_to_stream, odd, current_version=StreamState.ANY, events=larger)
fails(GrpcError, client.append_to_stream, odd, current_version=StreamState.ANY, events=event(data=b"x" * 20_000_000))

# Reads of the log, filtered.
kinds = stream()
of_kinds = [event(f"Kind{n}-{kinds}") for n in range(10)]
client.append_to_stream(kinds, current_version=StreamState.ANY, events=of_kinds)
by_name = {"filter_include": [kinds], "filter_by_stream_name": True}
assert positions(client.read_all(backwards=True, limit=3)) == [9, 8, 7]
assert positions(client.read_all(filter_include=[f"Kind[12]-{kinds}"])) == [1, 2]
assert positions(client.read_all(**by_name, limit=4)) == [0, 1, 2, 3]
assert positions(client.read_all(**by_name, limit=2, backwards=True)) == [9, 8]
eighth = list(client.read_all(**by_name))[8].commit_position
assert positions(client.read_all(**by_name, commit_position=eighth)) == [8, 9]
assert positions(client.read_all(**by_name, commit_position=eighth, backwards=True, limit=1)) == [7]
assert all(not e.type.startswith(("$", "Kind")) for e in client.read_all(filter_exclude=[r"\$.+", r"Kind.+"]))
fails(GrpcError, list, client.read_all(filter_include=["("]))


# Subscriptions: history and then new events; from the end; checkpoints.
def later(kind):
    threading.Timer(0.2, client.append_to_stream, (kinds,), {
        "current_version": StreamState.ANY, "events": event(kind),
    }).start()


with client.subscribe_to_all(**by_name, include_caught_up=True) as coming:
    seen = [next(coming) for _ in range(11)]
    assert sum(isinstance(e, CaughtUp) for e in seen) <= 1
    later("Live")
    while getattr(seen[-1], "type", None) != "Live":
        seen.append(next(coming))
    assert positions(e for e in seen if not isinstance(e, CaughtUp)) == list(range(11))
with client.subscribe_to_all(from_end=True) as coming:
    later("FromEnd")
    assert next(coming).type == "FromEnd"
checkpoints = {"include_checkpoints": True, "window_size": 1, "checkpoint_interval_multiplier": 1}
with client.subscribe_to_all(filter_include=["Nothing"], **checkpoints) as coming:
    assert isinstance(next(coming), Checkpoint)
with client.subscribe_to_stream(kinds, stream_position=8, include_caught_up=True) as coming:
    seen = [next(coming) for _ in range(4)]
    assert positions(seen[:3]) == [9, 10, 11] and isinstance(seen[3], CaughtUp)
with client.subscribe_to_stream(stream(), timeout=1) as coming:
    fails(DeadlineExceeded, next, coming)
stopped = client.subscribe_to_stream(kinds, from_end=True)
threading.Timer(0.2, stopped.stop).start()
fails(StopIteration, next, stopped)

# Links.
links = stream()
targets = [event("$>", f"{n}@{kinds}".encode(), content_type="application/octet-stream") for n in (3, 99)]
client.append_to_stream(links, current_version=StreamState.ANY, events=targets)
followed = client.get_stream(links, resolve_links=True)
assert [(e.stream_name, e.stream_position, e.link.stream_name) for e in followed] == [(kinds, 3, links)]
assert [e.type for e in client.get_stream(links)] == ["$>", "$>"]

# Metadata.
assert client.get_stream_metadata(name) == ({}, StreamState.NO_STREAM)
described = {"$maxCount": 2, "$acl": {"$r": ["$all"], "$w": "ada"}, "ours": {"a": [1]}}
client.set_stream_metadata(name, metadata=described, current_version=StreamState.NO_STREAM)
assert client.get_stream_metadata(name) == (described, 0)
assert positions(client.get_stream(name)) == [4, 5]
fails(WrongCurrentVersion, client.set_stream_metadata, name, metadata={}, current_version=5)
for metadata, visible in [({"$tb": 5}, 1), ({"$tb": 6}, 0), ({"$maxAge": 1000}, 6), ({}, 6)]:
    client.set_stream_metadata(name, metadata=metadata)
    assert len(client.get_stream(name)) == visible, metadata

# A stream that is deleted, started again, and deleted for good.
fails(WrongCurrentVersion, client.delete_stream, name, current_version=9)
client.delete_stream(name, current_version=5)
fails(NotFound, client.get_stream, name)
client.append_to_stream(name, current_version=StreamState.NO_STREAM, events=event())
assert positions(client.get_stream(name)) == [6]
client.tombstone_stream(name, current_version=StreamState.ANY)
for call in [client.delete_stream, client.tombstone_stream]:
    fails(StreamIsDeleted, call, name, current_version=StreamState.ANY)
fails(StreamIsDeleted, client.get_stream, name)
fails(StreamIsDeleted, client.get_stream_metadata, name)
fails(StreamIsDeleted, client.append_to_stream, name, current_version=StreamState.ANY, events=[event()])

# Unsupported calls are refused with a clear error, and break nothing.
for call in [
    lambda: client.create_subscription_to_all("group"),
    lambda: client.create_projection(query="fromAll()", name="none"),
]:
    assert "UNIMPLEMENTED" in str(fails(GrpcError, call))

# A client with a wrong password is refused. The right one may also be given with each call.
for user in ["admin:wrong@", "root:changeit@"]:
    other = EventStoreDBClient(uri=stranger.replace("//", f"//{user}", 1), root_certificates=root)
    fails((AccessDeniedError, GrpcError), other.append_to_stream, kinds, current_version=StreamState.ANY, events=event())
    fails((AccessDeniedError, GrpcError), list, other.read_all(limit=1))
    known = other.construct_call_credentials("admin", "changeit")
    assert positions(other.get_stream(kinds, limit=1, credentials=known)) == [0]
    other.close()

assert client.get_stream(kinds)[-1].type == "FromEnd"
client.close()
print("well served")
