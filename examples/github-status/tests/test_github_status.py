"""What the plugin has to live through."""

import pytest
from github_status import GithubStatus

from hydra_notify_sim.testing import call, retry


@pytest.fixture
def github(hydra, httpserver):
    httpserver.expect_request("/statuses").respond_with_data(status=201)
    return hydra.install(GithubStatus(httpserver.url_for("/")))


def posted(httpserver):
    return [(request.json["context"], request.json["state"]) for request, _ in httpserver.log]


def test_it_posts_what_happened(hydra, github):
    iso = hydra.build(hydra.queue(job="iso.x86_64-linux"), status="failed")
    assert hydra.calls(plugin=github) == [
        call.build_queued(iso),
        call.build_started(iso),
        call.build_finished(iso, status="failed"),
    ]


def test_a_502_is_retried(hydra, github, httpserver):
    iso = hydra.start(hydra.queue())
    httpserver.expect_oneshot_request("/statuses").respond_with_data(status=502)
    hydra.finish(iso)
    assert hydra.retries() == [retry(github, "build_finished", attempts=1, due_in=2)]
    httpserver.expect_request("/statuses").respond_with_data(status=201)
    hydra.advance("until due")
    assert [c.ended for c in hydra.calls(plugin=github, hook="build_finished")] == ["raised", "returned"]


def test_a_deploy_between_two_plugins_loses_nothing(hydra, github):
    hydra.install(hydra.plugin("other", hooks=["build_finished"]))
    with hydra.at("after_call", 1, hook="build_finished").crash():
        iso = hydra.build(hydra.queue())
    hydra.dispatcher.start()
    assert hydra.calls(plugin=github)[-1] == call.build_finished(iso, status="succeeded")


@pytest.mark.usefixtures("github")
def test_a_failure_is_posted_once_for_each_build_that_it_takes_along(hydra, httpserver):
    kernel = hydra.queue("kernel")
    hydra.queue("iso", needs=[kernel])
    hydra.start(kernel)
    httpserver.clear_log()
    hydra.finish(kernel, status="failed")
    assert posted(httpserver) == [("nixpkgs:trunk:kernel", "failure"), ("nixpkgs:trunk:iso", "failure")]


def test_a_restart_while_the_red_status_is_posted_ends_green(hydra, github, httpserver):
    iso = hydra.queue("iso")
    with hydra.at("inside_call", github, hook="build_finished").restart(iso):
        hydra.build(iso, status="failed")
    hydra.build(iso)
    assert posted(httpserver)[-1] == ("nixpkgs:trunk:iso", "success")
