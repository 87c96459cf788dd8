"""What is expected of a ring of two Go processes and two Larders, whatever the family of the former.

Each expectation is a sentence and a function that takes the ring. They are checked in this order, with keys of
their own; the last ones kill a process.
"""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

from .line import Line, request
from .origin import ABSENT, FAILING, HELD, HUGE, LONG
from .outage import survives
from .ring import GO_ALONE, GROUP, LARDER_ALONE, path

#: What names and escapes get wrong.
ODD_KEYS = [
    b"a+b",
    b"100%",
    b"%2F",
    b"a%20b",
    b"a/b",
    b"/a",
    b"a/",
    b"a//b",
    b"//",
    b".",
    b"..",
    b"../a",
    b"a/../b",
    b"a/./b",
    b"?a=b&c#d",
    b"",
    "größe 🍞".replace(" ", "_").encode(),
    b"\xff\xfe\x00\x01",
    b"$&+:=@,;",
    b"a\r\nb",
    b"long" * 15_000,
]
SPACES = [b"a b", b" ", b"a b/c,d"]
#: Of a burst.
GETS = 10_000


def equal(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def at_once(work, arguments):
    """What comes of each, all at the same time."""
    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(work, arguments))


def all_have(ring, key, value, group=GROUP):
    for node in ring.nodes:
        found = node.value(key, group)
        assert found == value, f"{node.name}: expected {value[:80]!r}, found {found[:80]!r}"


def all_have_what_the_origin_has(ring, key, group=GROUP):
    all_have(ring, key, ring.origin.value(group, key), group)


def loaded_once_by_its_owner(ring, key, times=1):
    equal(ring.origin.loaded(GROUP, key), {ring.owner(key).name: times})


def loads_each_of_10_000_keys_once_for_all_four(ring):
    keys = [b"user:%d" % number for number in range(5_000)]
    keys += [b"%032x" % (number * 7919) for number in range(5_000)]

    def ask(node):
        mine = keys.copy()
        random.Random(node.name).shuffle(mine)
        line = Line(node.url)
        found = dict(zip(mine, line.get_all([path(key) for key in mine])))
        line.close()
        return found

    for node, found in zip(ring.nodes, at_once(ask, ring.nodes)):
        for key in keys:
            expected = ring.origin.value(GROUP, key)
            assert found[key] == expected, f"{node.name}: {found[key]!r} is not {expected!r}"
    loaded = {key: ring.origin.loaded(GROUP, key) for key in keys}
    often = {key: nodes for key, nodes in loaded.items() if sum(nodes.values()) != 1}
    assert not often, f"{len(often)} keys were loaded more than once, one of them by {often.popitem()}"
    for key, owner in zip(keys, ring.owners(keys)):
        [node] = loaded[key]
        assert node == owner.name, f"{node} has loaded {key!r}, and {owner.name} owns it"
    idle = {node.name for node in ring.nodes} - {node for [node] in loaded.values()}
    assert not idle, f"{idle} own nothing"


def agrees_on_odd_keys(ring):
    for key in ODD_KEYS:
        all_have_what_the_origin_has(ring, key)
        loaded_once_by_its_owner(ring, key)


def agrees_on_keys_with_spaces(ring):
    for key in SPACES:
        all_have_what_the_origin_has(ring, key)
        loaded_once_by_its_owner(ring, key)


def shares_values_of_any_length(ring):
    for owner in ring.nodes:
        for kind in [LONG, HUGE]:
            key = ring.key_of(owner, kind)
            all_have_what_the_origin_has(ring, key)
            loaded_once_by_its_owner(ring, key)


def loads_a_cold_key_once_for_10_000_who_ask_at_once(ring):
    each = GETS // len(ring.nodes)
    crowds = at_once(lambda node: [Line(node.url) for _ in range(each)], ring.larders)
    lines = [line for crowd in crowds for line in crowd]
    for owner in [ring.go[0], ring.larders[0]]:
        key = ring.key_of(owner, HELD)
        burst(ring, key, lines, each)
        loaded_once_by_its_owner(ring, key)
    for line in lines:
        line.close()


def burst(ring, key, lines, each):
    """A quarter of the gets at each node; the origin answers when all have been sent."""
    of_go = path(key).replace("/cache/", "/burst/") + f"?gets={each}"
    with ThreadPoolExecutor(len(ring.go)) as pool:
        answers_of_go = [pool.submit(node.ask, "POST", of_go) for node in ring.go]
        for line in lines:
            line.send(request(line.authority, "GET", path(key)))
        time.sleep(0.5)
        ring.origin.release(key)
        answers = [line.answer() for line in lines]
        answers += [answer.result() for answer in answers_of_go]
    expected = ring.origin.value(GROUP, key)
    wrong = [answer for answer in answers if (answer.status, answer.body) != (200, expected)]
    assert not wrong, f"{len(wrong)} wrong answers, the first one {wrong[0]}"


def says_what_is_not_there(ring):
    for owner in ring.nodes:
        key = ring.key_of(owner, ABSENT)
        for turn, node in enumerate(ring.nodes, 1):
            equal(node.get(key).status, 404)
            loaded_once_by_its_owner(ring, key, turn)


def takes_an_owners_failure_for_the_answer(ring):
    for owner in ring.nodes:
        key = ring.key_of(owner, FAILING)
        for turn, node in enumerate(ring.nodes, 1):
            answer = node.get(key)
            assert answer.status >= 500, f"{node.name}: {answer}"
            loaded_once_by_its_owner(ring, key, turn)


def loads_past_an_owner_that_fails(ring):
    """golang's clients cannot know that it was the loader: they load by themselves."""
    for kind in [ABSENT, FAILING]:
        for owner in ring.nodes:
            key = ring.key_of(owner, kind)
            for node in ring.nodes:
                before = sum(ring.origin.loaded(GROUP, key).values())
                assert node.get(key).status >= 400
                loads = sum(ring.origin.loaded(GROUP, key).values()) - before
                equal(loads, 1 if node is owner else 2)


def loads_past_an_owner_that_does_not_know_the_group(ring):
    for group, those, others in [
        (GO_ALONE, ring.go, ring.larders),
        (LARDER_ALONE, ring.larders, ring.go),
    ]:
        for owner in others:
            key = ring.key_of(owner)
            for node in those:
                equal(node.value(key, group), ring.origin.value(group, key))
            for node in those:
                assert node.name in ring.origin.loaded(group, key), f"{node.name} has not loaded"


def pairs(ring):
    """Who does something, and who owns what it does it to."""
    return [(one, owner) for one in ring.nodes for owner in ring.nodes]


def hears_what_any_of_them_sets(ring):
    for one, owner in pairs(ring):
        key = ring.key_of(owner)
        value = b"set by " + one.name.encode()
        one.set(key, value)
        all_have(ring, key, value)
        equal(ring.origin.loaded(GROUP, key), {})


def has_copies_replaced_by_what_a_larder_sets(ring):
    for one, owner in pairs(ring):
        if one.is_larder:
            replaces(ring, one, ring.key_of(owner))


def has_copies_replaced_by_what_go_sets(ring):
    for one, owner in pairs(ring):
        if not one.is_larder:
            replaces(ring, one, ring.key_of(owner))


def replaces(ring, one, key):
    all_have_what_the_origin_has(ring, key)
    for turn in range(2):
        value = b"set %d by " % turn + one.name.encode()
        one.set(key, value)
        all_have(ring, key, value)


def has_the_copy_that_go_kept_of_its_set_removed_by_a_larder(ring):
    for go in ring.go:
        key = ring.key_of(ring.larders[0])
        before = hot_entries(go)
        go.set(key, b"kept", hot=True)
        equal(hot_entries(go), before + 1)
        ring.larders[1].remove(key)
        equal(hot_entries(go), before)
        all_have_what_the_origin_has(ring, key)


def hot_entries(go):
    return json.loads(go.ask("GET", f"/stats/{GROUP}").body)["hot"]["Items"]


def forgets_what_any_of_them_removes(ring):
    for one, owner in pairs(ring):
        key = ring.key_of(owner)
        forgets(ring, one, key)


def forgets_odd_keys_that_were_set_or_removed(ring):
    for key in ODD_KEYS + SPACES:
        for one in [ring.go[0], ring.larders[0]]:
            if key:
                one.set(key, b"set")
                equal(ring.owner(key).value(key), b"set")
            one.remove(key)
            all_have_what_the_origin_has(ring, key)


def forgets(ring, one, key):
    all_have_what_the_origin_has(ring, key)
    ring.origin.change(GROUP, key)
    one.remove(key)
    all_have_what_the_origin_has(ring, key)
    loaded_once_by_its_owner(ring, key, 2)


def lets_values_and_their_copies_expire_when_the_origin_says(ring):
    keys = [ring.key_of(owner) for owner in ring.nodes]
    for key in keys:
        ring.origin.ages[GROUP, key] = 2
    began = time.monotonic()
    for key in keys:
        all_have_what_the_origin_has(ring, key)
        for larder in ring.larders:
            age = larder.get(key).headers["cache-control"]
            assert age in ("max-age=0", "max-age=1", "max-age=2"), f"{larder.name}: {age}"
    for key in keys:
        all_have_what_the_origin_has(ring, key)
    took = time.monotonic() - began
    assert took < 2, f"this machine is too slow to tell: it took {took:.1f} s"
    for key in keys:
        loaded_once_by_its_owner(ring, key)
        ring.origin.change(GROUP, key)
    time.sleep(began + took + 2.1 - time.monotonic())
    for key in keys:
        all_have_what_the_origin_has(ring, key)
        loaded_once_by_its_owner(ring, key, 2)


def lets_what_was_set_expire(ring):
    keys = {(one, owner): ring.key_of(owner) for one, owner in pairs(ring)}
    began = time.monotonic()
    for (one, _), key in keys.items():
        one.set(key, b"for a while", age=3)
    for key in keys.values():
        all_have(ring, key, b"for a while")
    took = time.monotonic() - began
    assert took < 3, f"this machine is too slow to tell: it took {took:.1f} s"
    time.sleep(began + took + 3.1 - time.monotonic())
    for key in keys.values():
        all_have_what_the_origin_has(ring, key)
        loaded_once_by_its_owner(ring, key)


def refuses_to_set_and_to_remove(ring):
    """golang's servers would take either for a get, and say that it was done."""
    for one in ring.nodes:
        for method in ["PUT", "DELETE"]:
            answer = one.ask(method, path(b"unset"), b"value")
            assert answer.status >= 400, f"{one.name}: {method}: {answer}"
    for larder in ring.larders:
        line = Line(f"http://127.0.0.1:{larder.port}")
        equal(line.ask("PUT", f"/_groupcache/{GROUP}/unset", b"value").status, 405)
        line.close()


def survives_the_death_of_a_go_process_and_its_return(ring):
    survives(ring, ring.go[1])


def survives_the_death_of_a_larder_and_its_return(ring):
    survives(ring, ring.larders[1])


#: What only some families can do, by the property of Family that says so; with `not ` in front, what only the
#: others do.
NEEDS = {
    agrees_on_keys_with_spaces: "writes",
    says_what_is_not_there: "writes",
    takes_an_owners_failure_for_the_answer: "writes",
    loads_past_an_owner_that_fails: "not writes",
    hears_what_any_of_them_sets: "writes",
    has_copies_replaced_by_what_a_larder_sets: "writes",
    has_copies_replaced_by_what_go_sets: "sets_everywhere",
    has_the_copy_that_go_kept_of_its_set_removed_by_a_larder: "keeps_copies",
    forgets_what_any_of_them_removes: "writes",
    forgets_odd_keys_that_were_set_or_removed: "writes",
    lets_values_and_their_copies_expire_when_the_origin_says: "writes",
    lets_what_was_set_expire: "writes",
    refuses_to_set_and_to_remove: "not writes",
}

EXPECTATIONS = [
    loads_each_of_10_000_keys_once_for_all_four,
    agrees_on_odd_keys,
    agrees_on_keys_with_spaces,
    shares_values_of_any_length,
    loads_a_cold_key_once_for_10_000_who_ask_at_once,
    says_what_is_not_there,
    takes_an_owners_failure_for_the_answer,
    loads_past_an_owner_that_fails,
    loads_past_an_owner_that_does_not_know_the_group,
    hears_what_any_of_them_sets,
    has_copies_replaced_by_what_a_larder_sets,
    has_copies_replaced_by_what_go_sets,
    has_the_copy_that_go_kept_of_its_set_removed_by_a_larder,
    forgets_what_any_of_them_removes,
    forgets_odd_keys_that_were_set_or_removed,
    lets_values_and_their_copies_expire_when_the_origin_says,
    lets_what_was_set_expire,
    refuses_to_set_and_to_remove,
    survives_the_death_of_a_go_process_and_its_return,
    survives_the_death_of_a_larder_and_its_return,
]
