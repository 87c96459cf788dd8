"""What is expected of a server, as Consul's clients see it. Every line is true of Consul itself, which is
what `interop/run --consul PATH` shows.

Each expectation is a sentence and a function that takes the pair: `reader` looks, `other` registers and
writes. They are checked in this order, for every pair; what comes later builds on what came before.
"""


def equal(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def knows_the_agent(pair):
    about = pair.reader.do("agent_self")["Config"]
    assert about["NodeName"] and about["Datacenter"], f"found {about}"
    members = {member["Name"]: member["Status"] for member in pair.reader.do("agent_members")}
    alive = 1
    assert members.get(about["NodeName"]) == alive, f"found {members}"


def knows_the_cluster(pair):
    about = pair.reader.do("agent_self")["Config"]
    leader, peers = pair.reader.do("leader"), pair.reader.do("peers")
    assert leader and leader in peers, f"{leader!r} leads {peers}"
    assert about["Datacenter"] in pair.reader.do("datacenters")
    nodes = [node["Node"] for node in pair.read("nodes")]
    assert about["NodeName"] in nodes, f"found {nodes}"


def finds_nothing_where_nobody_is(pair):
    for command in ["health_service", "catalog_service", "health_checks"]:
        found = pair.reader.do(command, service=pair.service)
        assert found["value"] == [], f"{command}: found {found['value']}"
        assert found["index"] > 0, f"{command}: an index of {found['index']} blocks nobody"
    equal(pair.read("node", node="nobody"), None)
    equal(pair.read("health_node", node="nobody"), [])


def is_woken_when_the_first_instance_registers(pair):
    pair.is_woken("health_service", pair.register, lambda found: found, service=pair.service)


def sees_all_that_it_registered(pair):
    about = pair.registered
    [found] = pair.eventually(pair.instances, lambda found: len(found) == 1)
    seen, node = found["Service"], found["Node"]
    expected = {
        "ID": about["id"],
        "Service": about["service"],
        "Tags": about["tags"],
        "Meta": about["meta"],
        "Address": about["address"],
        "Port": about["port"],
        "Weights": {"Passing": 1, "Warning": 1},
        "EnableTagOverride": False,
    }
    told = {key: seen[key] for key in expected}
    assert told == expected, f"found {seen}"
    agent = pair.reader.do("agent_self")["Config"]
    assert node["Node"] == agent["NodeName"] and node["Datacenter"] == agent["Datacenter"], (
        f"{node}"
    )


def finds_it_in_the_catalog(pair):
    about = pair.registered
    listed = pair.read("catalog_service", service=pair.service)
    assert len(listed) == 1, f"found {listed}"
    found = listed[0]
    expected = {
        "ServiceID": about["id"],
        "ServiceName": about["service"],
        "ServiceTags": about["tags"],
        "ServiceMeta": about["meta"],
        "ServiceAddress": about["address"],
        "ServicePort": about["port"],
    }
    assert {key: found[key] for key in expected} == expected, f"found {found}"
    services = pair.read("services")
    assert pair.service in services, f"found {services}"
    equal(sorted(services[pair.service]), sorted(about["tags"]))
    services = pair.read("node", node=found["Node"])["Services"]
    ports = {id: service.get("Port") for id, service in services.items()}
    assert ports.get(about["id"]) == about["port"], f"found {ports}"


def finds_it_at_the_agent(pair):
    about = pair.registered
    services = pair.reader.do("agent_services")
    assert about["id"] in services, f"found {list(services)}"
    found = services[about["id"]]
    expected = {"Service": about["service"], "Port": about["port"], "Address": about["address"]}
    assert {key: found[key] for key in expected} == expected, f"found {found}"
    checks = pair.reader.do("agent_checks")
    assert pair.check in checks, f"found {list(checks)}"
    check = checks[pair.check]
    assert check["ServiceID"] == about["id"] and check["Status"] == "critical", f"found {check}"


def finds_it_by_its_tags_alone(pair):
    for tag in pair.registered["tags"]:
        assert len(pair.instances(tag=tag)) == 1, f"not by {tag}"
        assert len(pair.read("catalog_service", service=pair.service, tag=tag)) == 1, (
            f"not by {tag}"
        )
    equal(pair.instances(tag="secondary"), [])
    equal(pair.read("catalog_service", service=pair.service, tag="secondary"), [])


def takes_it_for_critical_until_it_passes(pair):
    assert pair.status() == "critical", f"found {pair.status()}"
    equal(pair.instances(passing=True), [])
    pair.other.do("pass", check=pair.check, note="all is well")
    pair.eventually_is(pair.noted, ("passing", "all is well"))
    equal(len(pair.instances(passing=True)), 1)


def sees_it_warn_and_fail_and_why(pair):
    pair.other.do("warn", check=pair.check, note="disk: 90 % & rising")
    pair.eventually_is(pair.noted, ("warning", "disk: 90 % & rising"))
    equal(pair.instances(passing=True), [])
    pair.other.do("fail", check=pair.check, note="disk voll: größe")
    pair.eventually_is(pair.noted, ("critical", "disk voll: größe"))
    pair.other.do("pass", check=pair.check)
    pair.eventually_is(pair.status, "passing")


def finds_its_check_by_service_and_node_and_state(pair):
    def ids(checks):
        return [check["CheckID"] for check in checks]

    equal(ids(pair.read("health_checks", service=pair.service)), [pair.check])
    [found] = pair.instances()
    assert pair.check in ids(pair.read("health_node", node=found["Node"]["Node"]))
    for state, expected in {"any": True, "passing": True, "critical": False}.items():
        found = pair.check in ids(pair.read("health_state", state=state))
        assert found == expected, f"{state}: {found}"


def is_woken_when_it_fails(pair):
    def failing(found):
        return [
            check["Status"] for check in found[0]["Checks"] if check["CheckID"] == pair.check
        ] == ["critical"]

    pair.is_woken(
        "health_service",
        lambda: pair.other.do("fail", check=pair.check),
        failing,
        service=pair.service,
    )
    pair.other.do("pass", check=pair.check)
    pair.eventually_is(pair.status, "passing")


def is_not_woken_by_another_service(pair):
    def register_another():
        pair.register(id=f"{pair.service}:other", service=f"{pair.service}-other", checks=[])
        pair.other.do("deregister", id=f"{pair.service}:other")

    pair.waits(2, register_another, "health_service", service=pair.service)


def sees_two_instances_and_then_one(pair):
    second = f"{pair.service}:8081"
    pair.register(id=second, port=8081, checks=[])
    pair.eventually(pair.instances, lambda found: len(found) == 2)
    # The second is not checked, so it passes.
    equal(len(pair.instances(passing=True)), 2)
    pair.other.do("deregister", id=second)
    pair.eventually(pair.instances, lambda found: len(found) == 1)


def finds_an_instance_as_soon_as_it_is_registered(pair):
    about = {"id": f"{pair.service}:soon", "service": f"{pair.service}-soon"}
    pair.register(**about, checks=[])
    equal(len(pair.instances(service=about["service"])), 1)
    equal(len(pair.read("catalog_service", service=about["service"])), 1)
    pair.other.do("deregister", id=about["id"])
    equal(pair.instances(service=about["service"]), [])


def sees_an_id_that_is_registered_under_another_name_move(pair):
    id, names = f"{pair.service}:moving", [f"{pair.service}-{name}" for name in ["before", "after"]]
    for name in names:
        pair.register(id=id, service=name, checks=[])
    pair.eventually_is(lambda: [len(pair.instances(service=name)) for name in names], [0, 1])
    pair.other.do("deregister", id=id)


def sees_it_pass_still_when_it_registers_again(pair):
    pair.register(tags=["again"])
    pair.eventually(lambda: pair.instances(tag="again"), lambda found: len(found) == 1)
    equal(pair.status(), "passing")
    pair.register()
    pair.eventually_is(lambda: pair.instances(tag="again"), [])
    equal(pair.status(), "passing")


def reads_it_from_the_cache_too(pair):
    def cached():
        found = pair.reader.do("health_service", service=pair.service, cached=True)
        return found["hit"], found["value"]

    # What is cached may be late.
    pair.eventually(cached, lambda found: found == (True, pair.instances()))
    pair.other.do("warn", check=pair.check)
    pair.eventually_is(lambda: pair.status(cached=True), "warning")
    pair.other.do("pass", check=pair.check)
    pair.eventually_is(lambda: pair.status(cached=True), "passing")
    pair.eventually_is(pair.status, "passing")


def sees_another_check_of_it_come_and_go(pair):
    about = {"id": f"{pair.service}-memory", "name": "memory", "service_id": pair.registered["id"]}
    pair.other.do("register_check", **about, ttl="60s")
    pair.eventually_is(lambda: pair.status(about["id"]), "critical")
    equal(pair.instances(passing=True), [])
    pair.other.do("deregister_check", id=about["id"])
    pair.eventually_is(lambda: pair.status(about["id"]), None)


def sees_it_in_maintenance_and_why(pair):
    about = pair.registered["id"]
    reason = "moving house & garden"

    def reasons():
        checks = [check for entry in pair.instances() for check in entry["Checks"]]
        return [
            (check["Status"], check["Notes"])
            for check in checks
            if check["CheckID"] == f"_service_maintenance:{about}"
        ]

    pair.other.do("maintain", id=about, enable=True, reason=reason)
    pair.eventually_is(reasons, [("critical", reason)])
    equal(pair.instances(passing=True), [])
    pair.other.do("maintain", id=about, enable=False)
    pair.eventually_is(reasons, [])
    equal(len(pair.instances(passing=True)), 1)


def sees_it_critical_when_its_time_to_live_is_over(pair):
    about = {"id": f"{pair.service}:ttl", "service": f"{pair.service}-ttl"}
    check = f"service:{about['id']}"
    pair.register(checks=[{"ttl": "2s"}], **about)
    pair.other.do("pass", check=check)
    look = {"check": check, "service": about["service"]}
    pair.eventually_is(lambda: pair.status(**look), "passing")
    pair.eventually_is(lambda: pair.status(**look), "critical")
    pair.other.do("deregister", id=about["id"])


def sees_what_becomes_of_its_http_check(pair):
    about = {"id": f"{pair.service}:http", "service": f"{pair.service}-http"}
    url = pair.probed.url(about["id"])
    # Two checks of a service are counted, and named by their number.
    check = f"service:{about['id']}:2"
    http = {"http": url, "interval": "1s", "timeout": "5s"}
    pair.register(checks=[{"ttl": "60s"}, http], **about)
    for answers, status in [
        (200, "passing"),
        (429, "warning"),
        (503, "critical"),
        (204, "passing"),
    ]:
        pair.probed.answers(about["id"], answers)
        pair.eventually_is(lambda: pair.status(check, service=about["service"]), status)
    pair.other.do("deregister", id=about["id"])


def hears_of_its_services_by_watching(pair):
    service, id = f"{pair.service}-watched", f"{pair.service}:watched"
    pair.reader.do("watch_service", service=service)
    pair.eventually(lambda: pair.reader.do("watched"), lambda told: told and told[-1] == [])
    pair.register(id=id, service=service, checks=[])
    pair.eventually(
        lambda: pair.reader.do("watched"),
        lambda told: [entry["Service"]["ID"] for entry in told[-1]] == [id],
    )
    pair.other.do("deregister", id=id)
    told = pair.eventually(lambda: pair.reader.do("watched"), lambda told: told[-1] == [])
    assert len(told) < 10, f"it was told {len(told)} times"


def reads_a_key_as_it_was_put(pair):
    key, value = f"{pair.keys}a key/größe", "Zürich 中 🍞"
    equal(pair.read("kv_get", key=key), None)
    equal(pair.other.do("kv_put", key=key, value=value, flags=42), True)
    found = pair.read("kv_get", key=key)
    expected = {"Key": key, "Value": value, "Flags": 42, "LockIndex": 0}
    assert {each: found[each] for each in expected} == expected, f"found {found}"
    assert found["CreateIndex"] == found["ModifyIndex"] > 0, f"found {found}"
    equal(pair.other.do("kv_put", key=key, value=""), True)
    again = pair.read("kv_get", key=key)
    assert not again["Value"] and again["Flags"] == 0, f"found {again}"
    assert again["ModifyIndex"] > again["CreateIndex"] == found["CreateIndex"], f"found {again}"


def lists_keys_below_a_prefix(pair):
    below = f"{pair.keys}list/"
    for name in ["b", "a", "d/f", "d/e", "c"]:
        pair.other.do("kv_put", key=below + name, value=f"value of {name}")
    found = {each["Key"]: each["Value"] for each in pair.read("kv_list", prefix=below)}
    names = ["a", "b", "c", "d/e", "d/f"]
    assert found == {below + name: f"value of {name}" for name in names}, f"found {found}"
    assert list(found) == [below + name for name in names], f"not in order: {found}"
    keys = pair.read("kv_keys", prefix=below)
    assert keys == [below + name for name in names], f"found {keys}"
    keys = pair.read("kv_keys", prefix=below, separator="/")
    assert keys == [below + name for name in ["a", "b", "c", "d/"]], f"found {keys}"
    equal(pair.read("kv_list", prefix=f"{pair.keys}nothing/"), None)
    equal(pair.read("kv_keys", prefix=f"{pair.keys}nothing/"), None)


def reads_what_was_put_only_if_nobody_was_faster(pair):
    key = f"{pair.keys}cas"
    equal(pair.other.do("kv_put", key=key, value="first", cas=0), True)
    equal(pair.other.do("kv_put", key=key, value="not new", cas=0), False)
    index = pair.read("kv_get", key=key)["ModifyIndex"]
    equal(pair.other.do("kv_put", key=key, value="stale", cas=index - 1), False)
    equal(pair.read("kv_get", key=key)["Value"], "first")
    equal(pair.other.do("kv_put", key=key, value="second", cas=index), True)
    equal(pair.read("kv_get", key=key)["Value"], "second")
    equal(pair.other.do("kv_delete", key=key, cas=index), False)
    index = pair.read("kv_get", key=key)["ModifyIndex"]
    equal(pair.other.do("kv_delete", key=key, cas=index), True)
    equal(pair.read("kv_get", key=key), None)


def is_woken_when_a_key_is_put(pair):
    key = f"{pair.keys}blocking"
    pair.other.do("kv_put", key=key, value="first")
    pair.is_woken(
        "kv_get",
        lambda: pair.other.do("kv_put", key=key, value="second"),
        lambda found: found["Value"] == "second",
        key=key,
    )


def is_not_woken_by_another_key(pair):
    key = f"{pair.keys}blocking"
    pair.waits(1, lambda: pair.other.do("kv_put", key=f"{key}-not", value=""), "kv_get", key=key)


def hears_of_a_key_by_watching(pair):
    key = f"{pair.keys}watched"
    pair.reader.do("watch_key", key=key)
    for value in ["first", "second"]:
        pair.other.do("kv_put", key=key, value=value)
        pair.eventually(
            lambda: pair.reader.do("watched"),
            lambda told: told and told[-1] and told[-1]["Value"] == value,
        )
    pair.other.do("kv_delete", key=key)
    pair.eventually(lambda: pair.reader.do("watched"), lambda told: told[-1] is None)


def reads_keys_no_more_when_they_are_deleted(pair):
    below = f"{pair.keys}list/"
    equal(pair.other.do("kv_delete", key=f"{below}a"), True)
    equal(pair.read("kv_get", key=f"{below}a"), None)
    equal(pair.other.do("kv_delete", key=f"{below}a"), True)
    equal(len(pair.read("kv_keys", prefix=below)), 4)
    equal(pair.other.do("kv_delete", key=below, recurse=True), True)
    equal(pair.read("kv_list", prefix=below), None)


def is_told_what_the_upstream_tells(pair):
    """The same client asks both."""
    node = pair.reader.do("agent_self")["Config"]["NodeName"]
    service = {"service": pair.service}
    pair.other.do("kv_put", key=f"{pair.keys}same/a", value="1", flags=7)
    pair.other.do("kv_put", key=f"{pair.keys}same/b", value="2")
    asked = [
        ("health_service", service),
        ("health_service", service | {"passing": True}),
        ("health_service", service | {"tag": "primary"}),
        ("health_service", {"service": "nobody"}),
        ("health_checks", service),
        ("health_node", {"node": node}),
        ("health_state", {"state": "any"}),
        ("health_state", {"state": "critical"}),
        ("catalog_service", service),
        ("catalog_service", service | {"tag": "secondary"}),
        ("services", {}),
        ("nodes", {}),
        ("node", {"node": node}),
        ("node", {"node": "nobody"}),
        ("kv_get", {"key": f"{pair.keys}same/a"}),
        ("kv_get", {"key": f"{pair.keys}same/nothing"}),
        ("kv_list", {"prefix": f"{pair.keys}same"}),
        ("kv_keys", {"prefix": f"{pair.keys}", "separator": "/"}),
        ("agent_services", {}),
        ("agent_checks", {}),
        ("agent_members", {}),
        ("datacenters", {}),
        ("leader", {}),
        ("peers", {}),
    ]

    def value(told):
        return told["value"] if isinstance(told, dict) and "index" in told else told

    for command, arguments in asked:
        # Other pairs register meanwhile: two answers can differ once.
        pair.eventually(
            lambda: [value(at.do(command, **arguments)) for at in [pair.reader, pair.beyond]],
            lambda told: told[0] == told[1],
        )
    told = [at.do("agent_self") for at in [pair.reader, pair.beyond]]
    for part in ["Config", "Member", "Meta"]:
        assert told[0][part] == told[1][part], f"{part}: {told[0][part]}, not {told[1][part]}"


def sees_it_no_more_after_it_deregistered(pair):
    pair.other.do("deregister", id=pair.registered["id"])
    pair.eventually_is(pair.instances, [])
    equal(pair.read("catalog_service", service=pair.service), [])
    equal(pair.read("health_checks", service=pair.service), [])
    pair.eventually(lambda: pair.read("services"), lambda found: pair.service not in found)
    assert pair.registered["id"] not in pair.reader.do("agent_services")
    assert pair.check not in pair.reader.do("agent_checks")


def sees_what_is_unknown_refused(pair):
    pair.refuses(pair.other, "deregister", id=pair.registered["id"])
    pair.refuses(pair.other, "pass", check=pair.check)
    pair.refuses(pair.other, "deregister_check", id=pair.check)
    pair.refuses(pair.other, "maintain", id=pair.registered["id"], enable=True)
    about = {"id": "x", "name": "x", "service_id": pair.registered["id"]}
    pair.refuses(pair.other, "register_check", **about, ttl="60s")


def sees_a_lock_held_by_the_first_alone(pair):
    key = f"{pair.keys}lock"
    mine, other = pair.reader.do("session", ttl="60s"), pair.other.do("session", ttl="60s")
    equal(pair.other.do("lock", key=key, value="other", session=other), True)
    equal(pair.reader.do("lock", key=key, value="mine", session=mine), False)
    found = pair.read("kv_get", key=key)
    equal((found["Value"], found["LockIndex"]), ("other", 1))
    pair.other.do("kv_delete", key=key)
    equal(pair.reader.do("lock", key=key, value="mine", session=mine), True)
    for session in [mine, other]:
        pair.other.do("destroy_session", session=session)


def sees_a_transaction_put_both_keys(pair):
    keys = [f"{pair.keys}transaction/{name}" for name in ["a", "b"]]
    operations = [{"KV": {"Verb": "set", "Key": key, "Value": "dmFsdWU="}} for key in keys]
    results = pair.other.do("transact", operations=operations)
    equal([result["KV"]["Key"] for result in results], keys)
    found = pair.read("kv_list", prefix=f"{pair.keys}transaction/")
    equal([each["Value"] for each in found], ["value", "value"])


def hears_of_an_event(pair):
    name = f"event-{pair.service}"
    fired = pair.other.do("fire", name=name, payload="größe")
    pair.eventually_is(
        lambda: [(each["ID"], each["Payload"]) for each in pair.read("events", name=name)],
        [(fired, "größe")],
    )


def sees_no_instance_pass_while_the_node_is_in_maintenance(pair):
    """Nobody else registers meanwhile: it is the node that all share."""
    pair.register(checks=[])
    pair.eventually(lambda: pair.instances(passing=True), lambda found: len(found) == 1)
    pair.other.do("maintain_node", enable=True, reason="moving house")
    pair.eventually_is(lambda: pair.instances(passing=True), [])
    [found] = pair.instances()
    # Consul says so of the node, Larder of each of its services.
    reasons = [check["Notes"] for check in found["Checks"] if check["Status"] == "critical"]
    equal(reasons, ["moving house"])
    pair.other.do("maintain_node", enable=False)
    pair.eventually(lambda: pair.instances(passing=True), lambda found: len(found) == 1)
    pair.other.do("deregister", id=pair.registered["id"])
    pair.eventually_is(pair.instances, [])


#: What only some clients can do: who of the pair must be able to, and the property of clients.Client that
#: says so. The run tells where an expectation does not apply.
NEEDS = {
    reads_it_from_the_cache_too: [("reader_client", "reads_cached")],
    hears_of_its_services_by_watching: [("reader_client", "watches")],
    hears_of_a_key_by_watching: [("reader_client", "watches")],
}

EXPECTATIONS = [
    knows_the_agent,
    knows_the_cluster,
    finds_nothing_where_nobody_is,
    is_woken_when_the_first_instance_registers,
    sees_all_that_it_registered,
    finds_it_in_the_catalog,
    finds_it_at_the_agent,
    finds_it_by_its_tags_alone,
    takes_it_for_critical_until_it_passes,
    sees_it_warn_and_fail_and_why,
    finds_its_check_by_service_and_node_and_state,
    is_woken_when_it_fails,
    is_not_woken_by_another_service,
    sees_two_instances_and_then_one,
    finds_an_instance_as_soon_as_it_is_registered,
    sees_an_id_that_is_registered_under_another_name_move,
    sees_it_pass_still_when_it_registers_again,
    reads_it_from_the_cache_too,
    sees_another_check_of_it_come_and_go,
    sees_it_critical_when_its_time_to_live_is_over,
    sees_what_becomes_of_its_http_check,
    hears_of_its_services_by_watching,
    reads_a_key_as_it_was_put,
    lists_keys_below_a_prefix,
    reads_what_was_put_only_if_nobody_was_faster,
    is_woken_when_a_key_is_put,
    is_not_woken_by_another_key,
    hears_of_a_key_by_watching,
    reads_keys_no_more_when_they_are_deleted,
    sees_it_in_maintenance_and_why,
    sees_it_no_more_after_it_deregistered,
    sees_what_is_unknown_refused,
]

#: What Larder leaves to Consul, and passes on to it.
PASSED_ON = [
    sees_a_lock_held_by_the_first_alone,
    sees_a_transaction_put_both_keys,
    hears_of_an_event,
]

#: Through a Larder, what is told is also compared, while there is something to tell.
THROUGH = list(EXPECTATIONS)
THROUGH.insert(THROUGH.index(sees_it_in_maintenance_and_why), is_told_what_the_upstream_tells)

#: One pair at a time.
ALONE = [sees_no_instance_pass_while_the_node_is_in_maintenance]
