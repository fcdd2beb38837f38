"""A hook that does not return fails its test with the line at which it stands."""

import signal

import pytest

HOOKS = """
import threading, time
import pytest

class Sleeps:
    def build_finished(self, build, dependents):
        time.sleep(3600)

class Catches:
    def build_finished(self, build, dependents):
        while True:
            try:
                threading.Event().wait()
            except BaseException:
                return

class Spins:
    def build_finished(self, build, dependents):
        while True:
            pass

@pytest.mark.parametrize("plugin", [Sleeps, Catches, Spins])
@pytest.mark.hydra(hook_timeout=0.2)
def test_it(hydra, plugin):
    hydra.install(plugin())
    hydra.build(hydra.queue("iso"))

def test_while_another_holds_its_call(hydra):
    held = hydra.install(hydra.plugin("held", hooks=["build_started"], holds=True))
    hydra.install(Spins())
    iso = hydra.start(hydra.queue("iso"))
    hydra.release(held)
    hydra.finish(iso)

@pytest.mark.hydra(dispatcher="reference-process", hook_timeout=0.2)
def test_under_a_process(hydra):
    hydra.install(Sleeps())
    hydra.build(hydra.queue("iso"))

def test_one_that_is_quick(hydra):
    hydra.install(hydra.plugin("quick"))
    hydra.build(hydra.queue("iso"))
"""


def test_a_hook_that_never_returns_fails_its_test_at_its_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_hooks=HOOKS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--hydra-hook-timeout", "0.3")
    result.assert_outcomes(failed=5, passed=1)
    stands = r"E +hydra_notify_sim\S*HookTimeoutError: {} had not returned after {} s, .* test_hooks.py:{}, in build_finished: {}"
    result.stdout.re_match_lines(
        [
            stands.format(r"Sleeps\.build_finished", "0.2", 6, r"time\.sleep\(3600\)"),
            stands.format(r"Catches\.build_finished", "0.2", 12, r"threading\.Event\(\)\.wait\(\)"),
            stands.format(r"Spins\.build_finished", "0.2", r"\d+", ".*"),
            stands.format(r"Spins\.build_finished", "0.3", r"\d+", ".*"),
            stands.format(r"Sleeps\.build_finished", "0.2", 6, r"time\.sleep\(3600\)"),
        ]
    )


def test_a_timer_of_somebody_elses_goes_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        class Quick:
            def build_finished(self, build, dependents):
                pass

        def test_it(hydra):
            hydra.install(Quick())
            hydra.build(hydra.queue("iso"))
        """
    )
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1000)
        pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 0 < left <= 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("said", ["soon", "0", "inf"])
def test_a_limit_that_is_no_number_of_seconds_is_refused(pytester: pytest.Pytester, said: str) -> None:
    pytester.makepyfile("def test_it(hydra):\n    hydra.queue('iso')\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", f"--hydra-hook-timeout={said}")
    result.stdout.re_match_lines([r".*--hydra-hook-timeout is a number of seconds above 0, not"])
