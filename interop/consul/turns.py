"""Checks expectations that build on each other, of a program that is no client of a pair."""


def in_turn(title, expectations, report):
    failed = None
    for expectation in expectations:
        name = f"{title}: {expectation.__name__.replace('_', ' ')}"
        if failed is None:
            try:
                expectation()
                report(f"ok     {name}", True)
                continue
            except Exception as error:
                failed = error
        report(f"FAILED {name}: {failed}", False)
        failed = "not tried after the failure before"
