#!/usr/bin/env python3
"""A dispatcher of Hydra's notifications with recorder plugins inside (recorder protocol 1), by a stranger to the project.

One connection does everything: it listens, scans, loads, stores and clears. Whatever libpq takes in goes to `inbox`
through a handler, so nothing can hide in the library. A lost connection raises Lost, wherever it shows, and the main
loop connects again, listens again and scans again. What was heard before a loss stays in the inbox (it was emitted
while we listened); the event in hand is given up, its mark is still there.

  stranger.py                 the correct one
  stranger.py --bug NAME      (or STRANGER_BUG=NAME) with one mistake
  stranger.py --list          the mistakes: round, name
  stranger.py --check [...]   parse arguments, check the tables below, exit 0
"""
import json
import os
import re
import select
import signal
import socket
import sys
import time
from collections import deque

import psycopg
from psycopg.rows import dict_row

ROUNDS = {
    1: [
        "deps-sorted",            # P-arguments: dependents come in the order of their ids, not of the payload
        "mutable-default",        # P-arguments, E-no-phantom: the list of dependents is shared: earlier ones come again
        "log-dash",               # P-arguments: a step without a log is handed over with the path "-" instead of none
        "extra-fields",           # P-malformed: surplus fields are cut off and the event delivered
        "int4-malformed",         # P-missing-row: an id beyond int4 is thrown away as malformed, no failure is stored
        "missing-dep-dropped",    # P-missing-row, P-arguments: missing dependents are left out of the list for all
        "forgot-eval-cached",     # E-live: LISTENs on nine of the ten channels
        "same-as-last",           # E-live, C-live, B-live: a notification equal to the previous one is taken for an echo
        "finished-first",         # E-order: build_finished overtakes what waits in the inbox
        "resend-running",         # E-gone, E-no-phantom: announces build_started of all running builds at start-up
        "scan-first",             # B-listen-first: at start the marks are worked off before LISTEN
        "clear-by-mark",          # B-clear-own: clears if the mark has the same second, whatever the outcome
        "zero-is-false",          # B-clear: status 0 becomes NULL in the comparison, no success is ever cleared
        "limit-100",              # R-backoff: attempt 101 is the last one
        "only-finished-stored",   # R-stored, E-live, C-live: failures of other channels than build_finished are forgotten
        "ladder-from-zero",       # R-backoff: due times 1, 2, 4 ... instead of 2, 4, 8
        "task-main-only",         # R-stored, P-arguments, B-live: the stored payload of a build_finished lacks the dependents
        "term-drains",            # L-stop: SIGTERM works off the whole inbox first
        "recover-batched",        # B-recover, E-no-phantom: the scan makes one event, the first build with the rest as dependents
        "poison-postponed",       # R-poison: a task that can't be parsed is put off as any failed one, again and again
    ],
    2: [
        "step-latest",            # P-arguments: the newest step of the build instead of the one named
        "deps-iterator",          # P-arguments: dependents are an iterator, the second plugin gets an empty list
        "count-check",            # B-live, P-arguments: `5 5 6` has two rows for three ids, so "a row is missing"
        "int-accepts",            # P-malformed: int() also takes +5, " 5", 1_0, other scripts' digits
        "unfinished-task-dropped",  # B-unfinished: a task whose main build is running again is deleted, dependents or not
        "cached-not-stored",      # C-live, R-stored: "at most once" is read as "no retry" for the two cached channels
        "burst-cache",            # B-fresh, B-live: build rows are cached until the inbox is empty
        "queued-too-late",        # E-live: build_queued and build_started of a build that has finished by now are skipped
        "inbox-maxlen",           # E-live, C-live, B-live: the inbox holds 64, the oldest fall out
        "requeue-in-hand",        # E-once, C-at-most-once: a loss while storing puts the event back, for all its plugins
        "relisten-exhausted",     # L-reconnect: the channels are an iterator, the second connection LISTENs on none
        "coalesce-same-head",     # L-split, P-arguments, B-live: parts with the same main build are joined to one delivery
        "finished-by-stoptime",   # B-unfinished: "finished" is judged by stoptime, which a restart leaves in the row
        "deps-clear-by-id",       # B-clear-own, B-dependents: the outcome is compared for the main build only
        "lost-wakeup",            # L-no-stall: sleeps though a notification came in with the look for retries
        "claim-by-delete",        # R-stored, B-at-least-once: a task is deleted before its call, stored anew if that fails
        "oldest-task-first",      # R-backoff: looks at the oldest task only; one that is not due holds up the others
        "term-while-idle",        # L-stop: the flag is looked at after the next wake-up, and a signal is none
        "attempts-in-memory",     # R-backoff: counts attempts in memory: after a restart the ladder begins anew
        "closed-counts-as-return",  # R-stored, E-live: a connection closed during the call is taken for a return
    ],
    3: [
        "memo-without-table",     # P-arguments: rows of one event are remembered by id alone: evaluation 3 passes for build 3
        "regex-dot",              # P-arguments, E-live: a trace or path with a newline in it is malformed (`.` matches none)
        "reprinted-payload",      # R-stored, E-live: the task's payload is printed from the parsed: no log becomes an empty field
        "chunk-round",            # B-live, P-arguments: round() where ceil() is meant: 101 to 149 ids make one chunk of 100, the rest "is missing"
        "reload-per-plugin",      # B-clear-after: each plugin gets fresh rows, and the last one's outcome is cleared
        "retry-acks",             # B-clear-after: one plugin's successful retry clears the mark of the outcome it was shown
        "any-hook-acks",          # B-clear-after: every event with a build in it clears that build's mark
        "unfinished-still-acks",  # B-unfinished, B-clear-after: nobody is called, but the dependents' marks are cleared
        "last-failure-after-clear",  # R-stored, B-clear-after: the last plugin's failure is stored after the mark is cleared
        "percent-in-message",     # R-stored, L-lives: a `%` in the plugin's message breaks the log line, before it is stored
        "success-cancels-task",   # E-live, R-stored: a success deletes the plugin's stored task of an earlier equal emission
        "dedupe-tasks-at-start",  # R-stored, B-at-least-once: "duplicates" deleted at start are other plugins' tasks
        "scan-by-offset",         # B-recover: pages of ten by OFFSET over rows that are cleared meanwhile
        "rescan-then-relisten",   # B-listen-first, L-reconnect: after a loss the marks are worked off before LISTEN
        "rescan-skips-seen",      # L-reconnect, B-at-least-once: the scan after a loss leaves out builds begun before it
        "reconnect-budget",       # L-lives, L-reconnect: three losses in a life, however far apart, are its end
        "term-skips-ack",         # L-stop, B-clear: after SIGTERM the plugins are all called, but the mark stays
        "started-once",           # E-live: one build_started per build until it finishes, though each step sends one
        "hookless-counts",        # R-gone-plugin: a task of a loaded plugin without the hook climbs the ladder
        "recovered-swallows-next",  # B-live, B-each-outcome: the first notification of a build found by the scan is "its own"
    ],
}
KNOWN = {n for names in ROUNDS.values() for n in names}


def chosen(argv):
    return argv[argv.index("--bug") + 1] if "--bug" in argv else os.environ.get("STRANGER_BUG") or None


BUG = chosen(sys.argv)


def bug(name):
    assert name in KNOWN, name
    return BUG == name


def log(text):
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------ payloads

ID, TEXT, PATH = "id", "text", "path"
SHAPES = {  # channel: (argument, kind) in the payload's order; build_finished takes any number of ids more
    "build_queued": [("build", ID)],
    "build_started": [("build", ID)],
    "build_finished": [("build", ID)],
    "step_finished": [("build", ID), ("stepnr", ID), ("log_path", PATH)],
    "cached_build_finished": [("evaluation", ID), ("build", ID)],
    "cached_build_queued": [("evaluation", ID), ("build", ID)],
    "eval_started": [("trace_id", TEXT), ("jobset", ID)],
    "eval_failed": [("trace_id", TEXT), ("jobset", ID)],
    "eval_added": [("trace_id", TEXT), ("jobset", ID), ("evaluation", ID)],
    "eval_cached": [("trace_id", TEXT), ("jobset", ID), ("evaluation", ID)],
}
CACHED = ("cached_build_finished", "cached_build_queued")
INT4 = 2**31 - 1
NO_ROW = -1  # an id that no int4 holds; no row has it
SHARED = []


class Malformed(Exception):
    pass


def number(field):
    if bug("int-accepts"):
        try:
            return int(field) if abs(int(field)) <= INT4 else NO_ROW
        except ValueError:
            raise Malformed(field)
    if not re.fullmatch("[0-9]+", field):
        raise Malformed(field)
    digits = field.lstrip("0") or "0"
    if len(digits) > 10 or int(digits) > INT4:
        if bug("int4-malformed"):
            raise Malformed(field)
        return NO_ROW
    return int(digits)


def text(field):
    if not (re.fullmatch(".+", field) if bug("regex-dot") else field):
        raise Malformed("empty")
    return field


def parse(channel, payload):
    """The payload's fields by name; build_finished has `dependents` besides."""
    shape = SHAPES.get(channel)
    if shape is None:
        raise Malformed(channel)
    fields = payload.split("\t")
    rest = []
    if channel == "build_finished":
        fields, rest = fields[:1], fields[1:]
    if bug("extra-fields"):
        fields = fields[:len(shape)]
    if len(fields) != len(shape):
        raise Malformed(payload)
    parsed = {}
    for (name, kind), field in zip(shape, fields):
        parsed[name] = number(field) if kind == ID else text(field)
        if kind == PATH and field == "-" and not bug("log-dash"):
            parsed[name] = None
    if channel == "build_finished":
        deps = SHARED if bug("mutable-default") else []
        deps.extend([number(f) for f in rest])
        parsed["dependents"] = sorted(deps) if bug("deps-sorted") else list(deps)
    return parsed


# ------------------------------------------------------------------------------------------------ plugins

class PluginFailed(Exception):
    pass


class Recorder:
    def __init__(self, name):
        self.name = name
        self.open()

    def open(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(os.environ["HYDRA_NOTIFY_SIM_SOCKET"])
        self.lines = self.sock.makefile("rb")
        self.count = 0
        self.send({"hello": 1, "plugin": self.name, "pid": os.getpid(), "payloads": ["2026-08"]})
        answer = json.loads(self.lines.readline() or b'{"error": "closed"}')
        if "error" in answer:
            log(f"harness: {answer['error']}")
            raise PluginFailed(answer["error"])
        self.hooks = set(answer["hooks"])

    def send(self, message):
        self.sock.sendall(json.dumps(message, default=str).encode() + b"\n")

    def closed(self):
        if not select.select([self.sock], [], [], 0)[0]:
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def call(self, hook, args):
        if "dependents" in args:
            args = dict(args, dependents=list(args["dependents"]))
        try:
            if self.closed():
                self.open()
            for again in (False, True):
                try:
                    self.count += 1
                    self.send({"call": self.count, "hook": hook, "args": args})
                    break
                except OSError:
                    if again:
                        raise
                    self.open()
            line = self.lines.readline()
        except OSError as e:
            raise PluginFailed(str(e))
        if not line.endswith(b"\n"):
            if bug("closed-counts-as-return"):
                return
            raise PluginFailed("connection closed")
        answer = json.loads(line)
        if answer.get("do") != "return":
            raise PluginFailed(str(answer.get("message")))


# ------------------------------------------------------------------------------------------------ dispatcher

class Lost(Exception):
    """The connection is gone, or is good for nothing."""


class Missing(Exception):
    """The payload names a row that does not exist."""


BUILD = "id, finished, job, jobset_id, buildstatus, starttime, stoptime, notificationpendingsince"
ROW = {
    "evaluation": "select id, jobset_id, timestamp, hasnewbuilds, nrbuilds from jobsetevals where id = %s",
    "jobset": "select id, project, name, enabled, hidden from jobsets where id = %s",
}
STEP = "select build, stepnr, type, status, drvpath, starttime, stoptime from buildsteps where build = %s and stepnr = %s"
MARKED = "select id from builds where finished = 1 and notificationpendingsince is not null order by id"
CLEAR = """update builds b set notificationpendingsince = null
           from unnest(%s::int[], %s::int[], %s::int[], %s::int[], %s::int[]) as s(id, status, start, stop, mark)
           where b.id = s.id and b.finished = 1 and b.notificationpendingsince is not null and """
SAME_OUTCOME = """b.buildstatus is not distinct from s.status and b.starttime is not distinct from s.start
                  and b.stoptime is not distinct from s.stop"""
DUE = "select id, channel, pluginname, payload, attempts, retry_at from taskretries "
CHUNK = 100
LAST_ATTEMPT = 102


class Dispatcher:
    def __init__(self):
        self.stop = False
        self.conn = None
        self.connections = 0
        self.recovery = deque()  # events made from marks by the last scan
        self.inbox = deque(maxlen=64) if bug("inbox-maxlen") else deque()
        self.channels = [c for c in SHAPES if not (bug("forgot-eval-cached") and c == "eval_cached")]
        if bug("relisten-exhausted"):
            self.channels = iter(self.channels)
        self.last = None          # only some of the mistakes use these
        self.cache = {}
        self.seen = set()
        self.started = set()
        self.recovered = set()
        self.attempts = {}
        self.offset = 0
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_r, False)
        os.set_blocking(self.wake_w, False)
        signal.set_wakeup_fd(self.wake_w)
        signal.signal(signal.SIGTERM, self.on_term)
        self.plugins = [Recorder(n) for n in os.environ["HYDRA_NOTIFY_SIM_PLUGINS"].split(",") if n]

    def on_term(self, *_):
        self.stop = True

    # -- database

    def run(self, sql, *args):
        for left in (4, 3, 2, 1, 0):
            try:
                cursor = self.conn.execute(sql, args)
                return cursor.fetchall() if cursor.description else []
            except psycopg.errors.ReadOnlySqlTransaction:
                raise Lost("the server takes no writes")
            except psycopg.Error as e:
                if self.conn.closed or self.conn.broken or not left:
                    raise Lost(str(e))
                log(f"again: {e}")

    def hear(self, notify):
        if bug("finished-first") and notify.channel == "build_finished":
            self.inbox.appendleft((notify.channel, notify.payload))
        else:
            self.inbox.append((notify.channel, notify.payload))

    def pump(self):
        """Take in what the socket and the library hold, without waiting."""
        pg = self.conn.pgconn
        try:
            pg.consume_input()
        except psycopg.Error as e:
            raise Lost(str(e))
        finally:
            while n := pg.notifies():
                self.hear(psycopg.Notify(n.relname.decode(), n.extra.decode("utf-8", "replace"), n.be_pid))
        if pg.status != psycopg.pq.ConnStatus.OK:
            raise Lost("connection bad")

    def connect(self):
        try:
            self.conn = psycopg.connect(os.environ["HYDRA_NOTIFY_SIM_DSN"], autocommit=True, row_factory=dict_row,
                                        connect_timeout=5, client_encoding="UTF8", prepare_threshold=None)
        except psycopg.Error as e:
            raise Lost(str(e))
        if self.run("select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as ro")[0]["ro"]:
            raise Lost("the server takes no writes")
        self.conn.add_notify_handler(self.hear)
        self.connections += 1
        if bug("scan-first") and self.connections == 1 or bug("rescan-then-relisten") and self.connections > 1:
            self.scan()
            while self.recovery and not self.stop:
                self.handle(self.recovery)
        for channel in self.channels:
            self.run(f"listen {channel}")
        if bug("scan-first") and self.connections == 1 or bug("rescan-then-relisten") and self.connections > 1:
            return
        if bug("dedupe-tasks-at-start"):
            self.run("delete from taskretries a using taskretries b"
                     " where a.id > b.id and a.channel = b.channel and a.payload = b.payload")
        self.offset = 0
        self.scan()
        if bug("resend-running") and self.connections == 1:
            for row in self.run("select distinct b.id from builds b join buildsteps s on s.build = b.id"
                                " where b.finished = 0 and s.busy <> 0 order by b.id"):
                self.recovery.append(("build_started", str(row["id"])))

    def scan(self):
        self.recovery.clear()
        if bug("scan-by-offset"):
            rows = self.run(MARKED + " limit 10 offset %s", self.offset)
            self.offset = self.offset + 10 if rows else 0
        else:
            rows = self.run(MARKED)
        ids = [str(row["id"]) for row in rows]
        if bug("rescan-skips-seen"):
            ids = [i for i in ids if int(i) not in self.seen]
        if bug("recovered-swallows-next"):
            self.recovered.update(ids)
        if bug("recover-batched") and ids:
            ids = ["\t".join(ids)]
        self.recovery.extend(("build_finished", i) for i in ids)

    # -- rows

    def builds(self, ids):
        """The rows of these builds by id, as far as there are any."""
        found = {}
        wanted = list(dict.fromkeys(ids))
        chunks = max(1, round(len(wanted) / CHUNK)) if bug("chunk-round") else -(-len(wanted) // CHUNK)
        for i in range(chunks):
            part = wanted[i * CHUNK:(i + 1) * CHUNK]
            for row in self.run(f"select {BUILD} from builds where id = any(%s::int[])", part):
                found[row["id"]] = row
        if bug("burst-cache"):
            found.update({i: self.cache[i] for i in wanted if i in self.cache})
            self.cache.update(found)
        return found

    def load(self, channel, parsed):
        """The arguments of the hook, rows for ids; Missing if there is one that is not there."""
        args = dict(parsed)
        if channel == "step_finished":
            rows = self.run(STEP, parsed["build"], parsed["stepnr"])
            if bug("step-latest"):
                rows = self.run(STEP.split(" and stepnr")[0] + " order by stepnr desc limit 1", parsed["build"])
            if not rows:
                raise Missing("step")
            return {"step": rows[0], "log_path": parsed["log_path"]}
        memo = {}
        for table, sql in ROW.items():
            if table in parsed:
                rows = self.run(sql, parsed[table])
                if bug("memo-without-table") and parsed[table] in memo:
                    rows = memo[parsed[table]]
                if not rows:
                    raise Missing(table)
                memo[parsed[table]] = rows
                args[table] = rows[0]
        if "build" in parsed:
            ids = [parsed["build"]] + parsed.get("dependents", [])
            found = self.builds(ids)
            if bug("memo-without-table") and parsed["build"] in memo:
                found[parsed["build"]] = memo[parsed["build"]][0]
            if bug("missing-dep-dropped"):
                ids = ids[:1] + [i for i in ids[1:] if i in found]
            if bug("count-check") and len(found) != len(ids):
                raise Missing("builds")
            for i in ids:
                if i not in found:
                    raise Missing(f"build {i}")
            args["build"] = found[ids[0]]
            if "dependents" in parsed:
                args["dependents"] = [found[i] for i in ids[1:]]
        return args

    @staticmethod
    def unfinished(args):
        if bug("finished-by-stoptime"):
            return args["build"]["stoptime"] is None
        return args["build"]["finished"] != 1

    def ack(self, args):
        """Clear the marks of the outcomes that were shown, and of no other."""
        rows = [r for r in [args["build"], *args["dependents"]] if r["finished"] == 1]
        values = [[r[c] for r in rows] for c in ("id", "buildstatus", "starttime", "stoptime", "notificationpendingsince")]
        condition = SAME_OUTCOME
        if bug("zero-is-false"):
            values[1] = [status or None for status in values[1]]
        if bug("clear-by-mark"):
            condition = "b.notificationpendingsince = s.mark"
        if bug("deps-clear-by-id"):
            condition = f"(b.id <> {args['build']['id']} or {SAME_OUTCOME})"
        self.run(CLEAR + condition, *values)

    # -- failures

    @staticmethod
    def due_time(n):
        if bug("ladder-from-zero"):
            n -= 1
        return int(time.time()) + 2 ** min(10, n)

    def store(self, channel, plugin, payload):
        if bug("only-finished-stored") and channel != "build_finished":
            return
        if bug("cached-not-stored") and channel in CACHED:
            return
        if bug("task-main-only") and channel == "build_finished":
            payload = payload.split("\t")[0]
        if bug("reprinted-payload") and channel == "step_finished":
            payload = "\t".join(str(v) if v is not None else "" for v in parse(channel, payload).values())
        self.run("insert into taskretries (channel, pluginname, payload, attempts, retry_at) values (%s, %s, %s, 1, %s)",
                 channel, plugin.name, payload, self.due_time(1))

    # -- an event

    def handle(self, source):
        """Deliver the first event of `source`; if the connection is lost before anything was done, it stays there."""
        event = source.popleft()
        try:
            ready = self.prepare(*event)
        except Lost:
            source.appendleft(event)
            raise
        if ready:
            try:
                self.deliver(*event, *ready)
            except Lost:
                if bug("requeue-in-hand"):
                    source.appendleft(event)
                raise

    def prepare(self, channel, payload):
        """(interested plugins, arguments or None if a row is missing), or None if there is nothing to do."""
        try:
            parsed = parse(channel, payload)
        except Malformed:
            log(f"malformed: {channel} {payload!r}")
            return None
        plugins = [p for p in self.plugins if channel in p.hooks]
        if not plugins and channel != "build_finished":
            return None
        try:
            args = self.load(channel, parsed)
        except Missing as e:
            log(f"missing: {channel} {payload!r}: {e}")
            return plugins, None
        if bug("queued-too-late") and channel in ("build_queued", "build_started") and args["build"]["finished"]:
            return None
        if bug("started-once"):
            if channel == "build_started" and payload in self.started:
                return None
            if channel == "build_started":
                self.started.add(payload)
            elif channel == "build_finished":
                self.started.discard(payload.split("\t")[0])
        if channel == "build_finished" and self.unfinished(args):
            if bug("unfinished-still-acks"):
                return [], args
            return None
        return plugins, args

    def deliver(self, channel, payload, plugins, args):
        if args is None:
            for plugin in plugins:
                self.store(channel, plugin, payload)
            return
        if bug("deps-iterator") and "dependents" in args:
            shown, args = dict(args, dependents=iter(args["dependents"])), args
        else:
            shown = args
        if channel == "build_finished":
            self.seen.add(args["build"]["id"])
        late = None
        for i, plugin in enumerate(plugins):
            if bug("reload-per-plugin") and i and channel == "build_finished":
                fresh = self.load(channel, parse(channel, payload))
                shown = args = args if self.unfinished(fresh) else fresh
            try:
                plugin.call(channel, shown)
                if bug("success-cancels-task"):
                    self.run("delete from taskretries where channel = %s and pluginname = %s and payload = %s",
                             channel, plugin.name, payload)
            except PluginFailed as e:
                if bug("percent-in-message"):
                    log(("%s: " + str(e)) % plugin.name)
                if bug("last-failure-after-clear") and plugin is plugins[-1]:
                    late = plugin
                    continue
                self.store(channel, plugin, payload)
        if bug("term-skips-ack") and self.stop:
            return
        if channel == "build_finished":
            self.ack(args)
        elif bug("any-hook-acks") and "build" in args:
            self.ack(dict(args, dependents=[]))
        if late:
            self.store(channel, late, payload)

    # -- a retry

    def due(self):
        """The next task that is due, or None."""
        now = int(time.time())
        if bug("oldest-task-first"):
            rows = [t for t in self.run(DUE + "order by id limit 1") if t["retry_at"] <= now]
        else:
            rows = self.run(DUE + "where retry_at <= %s order by retry_at, id limit 1", now)
        return rows[0] if rows else None

    def failed_again(self, task):
        n = max(0, task["attempts"]) + 1
        if bug("attempts-in-memory"):
            n = self.attempts[task["id"]] = self.attempts.get(task["id"], 1) + 1
        if n >= (LAST_ATTEMPT - 1 if bug("limit-100") else LAST_ATTEMPT):
            log(f"dropped: {task}")
            self.run("delete from taskretries where id = %s", task["id"])
        elif bug("claim-by-delete"):
            self.run("delete from taskretries where id = %s", task["id"])
            self.run("insert into taskretries (channel, pluginname, payload, attempts, retry_at) values (%s, %s, %s, %s, %s)",
                     task["channel"], task["pluginname"], task["payload"], n, self.due_time(n))
        else:
            self.run("update taskretries set attempts = %s, retry_at = %s where id = %s", n, self.due_time(n), task["id"])

    def retry(self, task):
        channel, payload = task["channel"], task["payload"]
        try:
            parsed = parse(channel, payload)
        except Malformed:
            log(f"poison: {task}")
            if bug("poison-postponed"):
                return self.failed_again(task)
            self.run("delete from taskretries where id = %s", task["id"])
            return
        plugin = next((p for p in self.plugins if p.name == task["pluginname"]), None)
        if plugin is None or channel not in plugin.hooks:
            log(f"gone: {task}")
            if bug("hookless-counts") and plugin:
                return self.failed_again(task)
            self.run("delete from taskretries where id = %s", task["id"])
            return
        try:
            args = self.load(channel, parsed)
        except Missing:
            return self.failed_again(task)
        if channel == "build_finished" and self.unfinished(args):
            if bug("unfinished-task-dropped"):
                self.run("delete from taskretries where id = %s", task["id"])
                return
            later = self.due_time(max(1, task["attempts"]))
            self.run("update taskretries set retry_at = %s where id = %s", later, task["id"])
            return
        if bug("claim-by-delete"):
            self.run("delete from taskretries where id = %s", task["id"])
        try:
            plugin.call(channel, args)
        except PluginFailed:
            return self.failed_again(task)
        self.run("delete from taskretries where id = %s", task["id"])
        if bug("retry-acks") and channel == "build_finished":
            self.ack(args)

    # -- the loop

    def sleep(self, seconds, *more):
        """Until the time is over, one of `more` is readable, or a signal comes."""
        signals = [] if bug("term-while-idle") and more else [self.wake_r]
        ready = select.select([*signals, *more], [], [], seconds)[0]
        if self.wake_r in ready:
            os.read(self.wake_r, 512)

    def wait(self):
        self.cache.clear()
        rows = self.run(DUE + ("order by id limit 1" if bug("oldest-task-first") else "order by retry_at limit 1"))
        seconds = max(0.05, rows[0]["retry_at"] - time.time()) if rows else None
        if not bug("lost-wakeup"):
            self.pump()
            if self.inbox or self.stop:
                return
        self.sleep(seconds, self.conn.pgconn.socket)

    def echo(self, event):
        """Some of the mistakes: events that are taken for repetitions. True if the event is swallowed."""
        if bug("same-as-last"):
            same, self.last = event == self.last, event
            return same
        if bug("recovered-swallows-next") and event[0] == "build_finished" and event[1] in self.recovered:
            self.recovered.discard(event[1])
            return True
        return False

    def coalesce(self):
        head = self.inbox[0]
        while (len(self.inbox) > 1 and head[0] == self.inbox[1][0] == "build_finished"
               and head[1].split("\t")[0] == self.inbox[1][1].split("\t")[0]):
            head = (head[0], "\t".join([head[1], *self.inbox[1][1].split("\t")[1:]]))
            self.inbox.popleft()
            self.inbox[0] = head

    def turn(self):
        if self.conn is None:
            self.connect()
            return
        self.pump()
        if bug("scan-by-offset") and not self.recovery and self.offset:
            self.scan()
        if self.recovery:
            self.handle(self.recovery)
            return
        if self.inbox:
            if bug("coalesce-same-head"):
                self.coalesce()
            if self.echo(self.inbox[0]):
                self.inbox.popleft()
            else:
                self.handle(self.inbox)
            if self.stop:
                return
        idle = not self.inbox
        task = self.due()
        if task:
            if not self.stop:
                self.retry(task)
            return
        if not self.inbox and not self.stop or bug("lost-wakeup") and idle:
            self.wait()

    def main(self):
        losses = 0
        while not self.stop or bug("term-drains") and self.conn and (self.recovery or self.inbox):
            try:
                self.turn()
            except Lost as e:
                log(f"lost: {e}")
                if self.conn:
                    losses += 1
                    self.conn.close()
                self.conn = None
                if bug("reconnect-budget") and losses >= 3:
                    sys.exit("too many losses")
                if not self.stop:
                    self.sleep(0.1)
        return 0


if __name__ == "__main__":
    assert BUG is None or BUG in KNOWN, f"no bug {BUG}"
    if "--list" in sys.argv:
        for number_, names in ROUNDS.items():
            for name_ in names:
                print(number_, name_)
        sys.exit(0)
    if "--check" in sys.argv:
        source = open(__file__).read().split("KNOWN =")[1]
        used = set(re.findall(r'bug\("([a-z0-9-]+)"\)', source))
        assert used == KNOWN and len(KNOWN) == 60 and all(len(n) == 20 for n in ROUNDS.values()), used ^ KNOWN
        sys.exit(0)
    sys.exit(Dispatcher().main())
