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
    assert seen["status"] == "UP"
    assert seen["app"].upper() == pair.registered["app"].upper()
    # Some clients add keys of their own.
    metadata = {key: seen["metadata"].get(key) for key in pair.registered["metadata"]}
    assert metadata == pair.registered["metadata"], f"found {seen['metadata']!r}"


def finds_it_by_virtual_address(pair):
    pair.eventually(lambda: pair.seen("by_vip", vip=pair.registered["vip"]) is not None)


def is_found_by_it(pair):
    pair.eventually(lambda: pair.seen_the_other_way() is not None)


def sees_it_beyond_two_leases_while_it_lives(pair):
    end = time.monotonic() + 2 * DURATION + 1
    while time.monotonic() < end:
        assert pair.seen() is not None, "it is gone although it sends heartbeats"
        time.sleep(0.2)


def sees_it_go_out_of_service_and_come_back(pair):
    pair.other.do("set_status", status="OUT_OF_SERVICE")
    pair.eventually(lambda: pair.seen()["status"] == "OUT_OF_SERVICE")
    # Lifted without a word on what comes after: the client must register again to be up.
    pair.other.do("lift_status")
    pair.eventually(lambda: pair.seen() is not None and pair.seen()["status"] != "OUT_OF_SERVICE")


def sees_it_no_more_after_it_stopped(pair):
    pair.other.do("stop")
    pair.other.kill()  # Python's client would send heartbeats, and so register again, until its end.
    stopped = time.monotonic()
    pair.eventually(lambda: pair.seen() is None)
    took = time.monotonic() - stopped
    assert took < DURATION - 2 * INTERVAL, f"its lease ran out instead, after {took:.1f} s"


def sees_it_no_more_after_it_was_killed(pair):
    pair.start_another()
    pair.eventually(lambda: pair.seen() is not None)
    pair.other.kill()
    killed = time.monotonic()
    pair.eventually(lambda: pair.seen() is None)
    took = time.monotonic() - killed
    assert took >= DURATION - 2 * INTERVAL, f"it was forgotten after {took:.1f} s"


#: What only some clients can do, by the property of clients.Client that says so.
NEEDS = {sees_it_go_out_of_service_and_come_back: "sets_status"}

EXPECTATIONS = [
    finds_it_by_application,
    sees_all_that_it_registered,
    finds_it_by_virtual_address,
    is_found_by_it,
    sees_it_beyond_two_leases_while_it_lives,
    sees_it_go_out_of_service_and_come_back,
    sees_it_no_more_after_it_stopped,
    sees_it_no_more_after_it_was_killed,
]
