"""Clocks that are set forward and back."""

from serving import outcome


def listed(lease):
    return outcome(lease.boto3().list_objects_v2, Bucket="lake")[:2]


def end(server, caller) -> None:
    who = {"caller": f"{caller.account}/{caller.name}"}
    assert server.call("POST", "/api/v1/revocations", server.admin_token, who).status == 200


class TestAClockThatStepsBack:
    def test_makes_no_credentials_that_are_dead_at_birth(self, server):
        """What was ended stays ended, and what comes after the end is good, whatever the clock says."""
        caller = server.caller()
        ended = server.vend(caller)
        end(server, caller)
        assert listed(ended) == (400, "ExpiredToken")
        server.faults.step_clock(-600)
        for _ in range(3):
            assert listed(server.vend(caller)) == (200, None)
            assert listed(ended) == (400, "ExpiredToken")
        server.restart()
        assert listed(server.at(ended)) == (400, "ExpiredToken")
        assert listed(server.vend(caller)) == (200, None)

    def test_keeps_nothing_alive_that_was_opened_before_it(self, server):
        """Opened by the later time, ended by the earlier one."""
        caller = server.caller()
        lease = server.vend(caller)
        server.faults.step_clock(-600)
        end(server, caller)
        assert listed(lease) == (400, "ExpiredToken")
        assert listed(server.vend(caller)) == (200, None)

    def test_lets_what_came_after_an_end_be_ended_too(self, server):
        caller = server.caller()
        server.vend(caller)
        end(server, caller)
        server.faults.step_clock(-600)
        fresh = server.vend(caller)
        assert listed(fresh) == (200, None)
        end(server, caller)
        assert listed(fresh) == (400, "ExpiredToken")

    def test_revives_nothing_that_was_ended_one_by_one(self, server):
        caller = server.caller()
        lease = server.vend(caller)
        lease.revoke()
        for step in (-600, 300, 600):
            server.faults.step_clock(step)
            assert listed(lease) == (400, "ExpiredToken")
        server.faults.wall_ns = 0


class TestAClockThatStepsForward:
    def test_ends_what_is_over_and_only_that(self, server):
        caller = server.caller()
        short, long = server.vend(caller, ttl=60), server.vend(caller, ttl=4000)
        assert listed(short) == listed(long) == (200, None)
        server.faults.step_clock(61)
        assert listed(short) == (400, "ExpiredToken")
        assert listed(long) == (200, None)
        server.faults.wall_ns = 0
