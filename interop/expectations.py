"""What is expected of every client, as a reader of the registry, about every client that registers.

Each expectation is a sentence and a function that takes the pair: `reader` looks, `other` is looked
at. They are checked in this order, for every pair of clients; the last ones end the other's life.
"""

import time

#: Seconds. The other promises a heartbeat each second, and is forgotten after six without.
INTERVAL, DURATION = 1, 6


def finds_it_by_application(pair):
    pair.eventually(lambda: pair.seen() is not None)


def sees_all_that_it_registered(pair):
    seen = pair.seen()
    for field in ["id", "host", "ip", "port", "vip"]:
        expected, found = pair.registered[field], seen[field]
        assert found == expected, f"{field}: expected {expected!r}, found {found!r}"
    assert seen["status"] == "UP", f"found {seen['status']!r}"
    assert seen["app"].upper() == pair.registered["app"].upper(), f"found {seen['app']!r}"


def sees_its_metadata(pair):
    seen = pair.seen()
    keeps = pair.other_client.registers_empty_values
    expected = {key: value for key, value in pair.registered["metadata"].items() if value or keeps}
    # Some clients add keys of their own.
    metadata = {key: seen["metadata"].get(key) for key in expected}
    assert metadata == expected, f"found {seen['metadata']!r}"


def finds_it_by_virtual_address(pair):
    pair.eventually(lambda: pair.seen("by_vip", vip=pair.registered["vip"]) is not None)


def is_found_by_it(pair):
    pair.eventually(lambda: pair.seen_the_other_way() is not None)


def sees_it_beyond_two_leases_while_it_lives(pair):
    pair.always(2 * DURATION + 1, lambda: pair.seen() is not None)


def sees_what_an_operator_does_to_it_whatever_its_heartbeats_say(pair):
    pair.operator("PUT", value="OUT_OF_SERVICE")
    pair.eventually(lambda: pair.status_seen() == "OUT_OF_SERVICE")
    pair.always(2.5 * INTERVAL, lambda: pair.status_seen() == "OUT_OF_SERVICE")
    pair.operator("DELETE", value="UP")
    pair.eventually(lambda: pair.status_seen() == "UP")


def sees_it_go_out_of_service_and_come_back(pair):
    pair.other.do("set_status", status="OUT_OF_SERVICE")
    pair.eventually(lambda: pair.status_seen() == "OUT_OF_SERVICE")
    # Lifted without a word on what comes after: its next heartbeat is refused, so it registers again.
    pair.other.do("lift_status")
    lifted = time.monotonic()
    pair.eventually(lambda: pair.status_seen() == "UP")
    took = time.monotonic() - lifted
    assert took < 15 * INTERVAL, f"not its heartbeat brought it back: it took {took:.1f} s"


def sees_it_no_more_after_it_stopped(pair):
    pair.other.do("stop")
    stopped = time.monotonic()
    pair.eventually(lambda: pair.seen() is None)
    took = time.monotonic() - stopped
    assert took < pair.lease - 2 * INTERVAL, f"its lease ran out instead, after {took:.1f} s"


def sees_it_no_more_after_it_was_killed(pair):
    pair.start_another()
    pair.eventually(lambda: pair.seen() is not None)
    pair.eventually(pair.renewed)  # A renewed lease is no longer than a new one.
    pair.other.kill()
    killed = time.monotonic()
    pair.eventually(lambda: pair.seen() is None)
    took = time.monotonic() - killed
    assert took >= DURATION - 2 * INTERVAL, f"it was forgotten after {took:.1f} s"
    assert took < 1.5 * DURATION, f"it was forgotten only after {took:.1f} s"


#: What only some clients can do: who of the pair must be able to, and the property of
#: clients.Client that says so. The run tells where an expectation does not apply.
NEEDS = {
    sees_its_metadata: [("reader_client", "sees_metadata")],
    sees_it_go_out_of_service_and_come_back: [
        ("other_client", "sets_status"),
        ("reader_client", "notices_registering_again"),
    ],
}

EXPECTATIONS = [
    finds_it_by_application,
    sees_all_that_it_registered,
    sees_its_metadata,
    finds_it_by_virtual_address,
    is_found_by_it,
    sees_it_beyond_two_leases_while_it_lives,
    sees_what_an_operator_does_to_it_whatever_its_heartbeats_say,
    sees_it_go_out_of_service_and_come_back,
    sees_it_no_more_after_it_stopped,
    sees_it_no_more_after_it_was_killed,
]
