#!/usr/bin/env python3
"""A dispatcher of Hydra's notifications: a listening connection with a thread and a queue, a working connection.

stranger.py            the correct one
stranger.py --bug NAME the same with one mistake
stranger.py --list     the mistakes, "ROUND NAME"
"""
import itertools, json, math, os, queue, re, select, signal, socket, sys, threading, time
import psycopg
from psycopg.rows import dict_row

ROUNDS = {
    1: ["scan-mark-eq-stop", "queue-bounded", "parse-in-listener", "one-per-wakeup", "store-at-end",
        "snapshot-per-drain", "refused-load-dropped", "jobset-cache", "dependents-generator", "wrap32",
        "trace-strip", "requeue-in-hand", "worker-reconnect-no-scan", "retry-ignores-interest",
        "ladder-cap-attempts", "head-of-line", "merge-by-head", "clear-by-status", "stop-skips-clear",
        "unfinished-by-status"],
    2: ["priority-queue", "slow-is-done", "skip-locked", "prepared-star", "ladder-in-memory", "int-lenient",
        "unfinished-task-dropped", "scan-swallows-next", "reconnect-scan-first", "reconnect-old-channels",
        "delete-by-payload", "retry-clears", "task-log-none", "clear-unfinished-dependent", "cached-clears",
        "member-join", "circuit-breaker", "stop-ignored-while-connecting", "read-only-fatal",
        "scan-as-dependents"],
}
BUG = None

FORMATS = {  # t: text, l: log path, i: id, *: any number of ids
    "build_queued": "i", "build_started": "i", "build_finished": "i*", "step_finished": "iil",
    "cached_build_finished": "ii", "cached_build_queued": "ii", "eval_started": "ti", "eval_failed": "ti",
    "eval_added": "tii", "eval_cached": "tii",
}
BUILD = ("select id, finished, buildstatus, starttime, stoptime, notificationpendingsince, job, jobset_id, drvpath"
         " from builds where id = any(%s)")
NO_ROW = -1


class Lost(Exception):
    """A connection is gone, or takes no writes."""


class Stop(Exception):
    """SIGTERM, and nothing in hand."""


class Missing(Exception):
    """The payload names a row that is not there."""
    def __init__(self, main=None):
        self.main = main


class Failed(Exception):
    """A hook failed."""


def number(text):
    if BUG == "int-lenient":  # int() takes "+5", " 5", "1_0", "-1" and Unicode digits too: P-malformed
        return int(text)
    if not re.fullmatch("[0-9]+", text):
        raise ValueError("not an id")
    text = text.lstrip("0") or "0"
    if BUG == "wrap32" and len(text) < 20:  # wide ids wrap around as in C, and name another row: P-missing-row, P-arguments
        return (int(text) + 2**31) % 2**32 - 2**31
    return int(text) if len(text) <= 10 and int(text) < 2**31 else NO_ROW


def parse(channel, payload):
    if BUG == "trace-strip":  # blanks around a trace or a log path are lost, and around an id they pass: P-arguments, P-malformed
        fields = [f.strip() for f in payload.split("\t")]
    else:
        fields = payload.split("\t")
    kinds = FORMATS.get(channel)
    if kinds is None:
        raise ValueError("unknown channel")
    if kinds.endswith("*"):
        kinds = "i" * max(1, len(fields))
    if len(fields) != len(kinds) or "" in fields:
        raise ValueError("wrong fields")
    return [number(f) if k == "i" else None if k == "l" and f == "-" else f for k, f in zip(kinds, fields)]


class Plugin:
    """A recorder."""
    def __init__(self, name):
        self.name, self.lock, self.failures = name, threading.Lock(), 0
        self.connect()

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["HYDRA_NOTIFY_SIM_SOCKET"])
        self.file, self.calls = self.sock.makefile("rb"), 0
        self.send({"hello": 1, "plugin": self.name, "pid": os.getpid(), "payloads": ["2026-08"]})
        self.hooks = set(json.loads(self.file.readline())["hooks"])

    def send(self, message):
        self.sock.sendall(json.dumps(message, default=list).encode() + b"\n")

    def call(self, hook, args):
        with self.lock:
            try:
                if select.select([self.sock], [], [], 0)[0] and not self.sock.recv(1, socket.MSG_PEEK):
                    raise ConnectionError
            except OSError:
                self.connect()
            self.calls += 1
            try:
                self.send({"call": self.calls, "hook": hook, "args": args})
                answer = json.loads(self.file.readline())
            except (OSError, ValueError) as e:
                raise Failed(str(e)) from e
        if answer.get("do") != "return":
            raise Failed(answer.get("message", ""))


class Dispatcher:
    def __init__(self):
        self.stop = False
        signal.signal(signal.SIGTERM, self.on_term)
        names = [n for n in os.environ["HYDRA_NOTIFY_SIM_PLUGINS"].split(",") if n]
        self.plugins = {n: Plugin(n) for n in dict.fromkeys(names)}
        self.again, self.carry, self.scanned, self.jobsets, self.tries = False, None, set(), {}, {}
        self.rd = None

    def on_term(self, *_):
        self.stop = True

    # -- connections ------------------------------------------------------------------------------------------

    def connect(self, **more):
        conn = psycopg.connect(os.environ["HYDRA_NOTIFY_SIM_DSN"], autocommit=True, row_factory=dict_row,
                               prepare_threshold=5 if BUG == "prepared-star" else None, connect_timeout=10, **more)
        try:
            conn.execute("set client_encoding to utf8")
            conn.execute("set lock_timeout to '3s'")
            if BUG != "read-only-fatal" and self.read_only(conn):
                raise Lost
        except BaseException:
            conn.close()
            raise
        return conn

    @staticmethod
    def read_only(conn):
        return conn.execute("select current_setting('transaction_read_only') ro").fetchone()["ro"] != "off"

    def run(self, work, idle=False, tx=True):
        """Do work on the working connection; what the database refuses is repeated until it lets us."""
        # read-only-fatal: a refusal that is no OperationalError (read-only is an InternalError) ends us: L-lives, L-reconnect
        caught = psycopg.OperationalError if BUG == "read-only-fatal" else psycopg.Error
        while True:
            try:
                if not tx:
                    return work(self.conn)
                with self.conn.transaction():
                    return work(self.conn)
            except caught as e:
                if self.conn.closed or self.conn.broken or isinstance(e, psycopg.errors.ReadOnlySqlTransaction):
                    raise Lost from e
                if idle and self.stop:
                    raise Stop from e
                if BUG == "refused-load-dropped" and not tx and not idle:
                    raise  # refused (lock timeout, statement timeout): the event is dropped, see handle: E-live, B-live, C-live
                time.sleep(0.05)

    def listen(self):
        channels = list(FORMATS)
        if BUG == "reconnect-old-channels" and self.again:
            channels.remove("cached_build_queued")  # the reconnecting path has an older list of channels: L-reconnect, C-live
        self.queue = (queue.PriorityQueue() if BUG == "priority-queue" else
                      queue.Queue(16 if BUG == "queue-bounded" else 0))
        self.sequence, self.alive, self.deaf = itertools.count(), True, False
        self.ears = self.connect()
        self.ears.add_notify_handler(lambda n: self.put(n.channel, n.payload))
        self.ears.execute("; ".join("listen " + c for c in channels))
        self.thread = threading.Thread(target=self.hear, args=(self.ears,), daemon=True)
        self.thread.start()

    def put(self, channel, payload):
        if BUG == "parse-in-listener":
            parse(channel, payload)  # a malformed payload ends the listening, and we reconnect: P-malformed, L-lives
        # priority-queue: what finishes overtakes what waits: E-order
        urgent = 0 if BUG != "priority-queue" or channel == "build_finished" else 1
        try:
            self.queue.put_nowait((urgent, next(self.sequence), channel, payload))
        except queue.Full:
            pass  # queue-bounded: more than 16 waiting behind a slow plugin are thrown away: E-live, B-live, C-live, L-split

    def hear(self, ears):
        pg = ears.pgconn
        try:
            while self.alive:
                pg.consume_input()
                while n := pg.notifies():
                    self.put(n.relname.decode(), n.extra.decode("utf-8", "replace"))
                    if BUG == "one-per-wakeup":
                        break  # of two that come together the second waits for the next one: L-no-stall, E-live, B-live
                select.select([pg.socket], [], [], 3600 if BUG == "one-per-wakeup" else 0.2)
        except Exception:
            pass
        self.deaf = self.deaf or ears is self.ears

    def hang_up(self):
        self.alive = False
        if getattr(self, "thread", None) and BUG != "one-per-wakeup":
            self.thread.join()
        self.thread = None
        for name in ("ears", "conn", "rd"):
            conn = getattr(self, name, None)
            setattr(self, name, None)
            if conn is not None:
                try:
                    conn.close()
                except psycopg.Error:
                    pass

    # -- rows -------------------------------------------------------------------------------------------------

    def rows(self, sql, *params):
        if self.rd:  # one snapshot (repeatable read) for as long as the queue is not empty: B-fresh, B-at-least-once, B-live
            try:
                found = self.rd.execute(sql, params).fetchall()
                if self.queue.empty():
                    self.rd.commit()
                return found
            except psycopg.Error as e:
                raise Lost from e
        if BUG == "prepared-star" and sql == BUILD:
            # after a migration that adds a column the plan "must not change result type", until the next rollback: B-live, E-live, C-live
            return self.run(lambda c: c.execute("select * from builds where id = any(%s)", params, prepare=True).fetchall(), tx=False)
        return self.run(lambda c: c.execute(sql, params).fetchall(), tx=False)

    def one(self, sql, *params):
        found = self.rows(sql, *params)
        if not found:
            raise Missing
        return found[0]

    def builds(self, ids):
        found = {r["id"]: r for r in self.rows(BUILD, ids)}
        if any(i not in found for i in ids):
            raise Missing(found.get(ids[0]))
        return [found[i] for i in ids]

    def jobset(self, i):
        if BUG == "jobset-cache" and i in self.jobsets:
            return self.jobsets[i]  # a jobset that was renamed is handed over under its old name: B-fresh
        self.jobsets[i] = self.one("select id, project, name from jobsets where id = %s", i)
        return self.jobsets[i]

    def evaluation(self, i):
        return self.one("select id, jobset_id from jobsetevals where id = %s", i)

    def load(self, channel, fields):
        """The arguments of the hook, and the builds among them."""
        if channel == "build_finished":
            rows = self.builds(fields)
            dependents = rows[1:]
            if BUG == "dependents-generator":
                dependents = (r for r in rows[1:])  # used up by the first plugin, empty for the second: P-arguments, B-live, B-at-least-once
            return {"build": rows[0], "dependents": dependents}, rows
        if channel in ("build_queued", "build_started"):
            return {"build": self.builds(fields)[0]}, []
        if channel == "step_finished":
            step = self.one("select build, stepnr, type, drvpath, status, errormsg, starttime, stoptime, machine"
                            " from buildsteps where build = %s and stepnr = %s", fields[0], fields[1])
            return {"step": step, "log_path": fields[2]}, []
        if channel.startswith("cached_"):
            args = {"evaluation": self.evaluation(fields[0]), "build": self.builds(fields[1:])[0]}
            if BUG == "member-join" and not self.rows(
                    "select 1 from jobsetevalmembers where eval = %s and build = %s", *fields):
                return None, []  # an evaluation without new builds has no members, its cached builds are not announced: C-live
            return args, [args["build"]]
        args = {"trace_id": fields[0], "jobset": self.jobset(fields[1])}
        if len(fields) > 2:
            args["evaluation"] = self.evaluation(fields[2])
        return args, []

    # -- events -----------------------------------------------------------------------------------------------

    def unfinished(self, build):
        if BUG == "unfinished-by-status":
            return build["buildstatus"] is None  # a restart leaves the old status in the row: B-unfinished
        return not build["finished"]

    def invoke(self, plugin, channel, args):
        if BUG == "slow-is-done":  # after half a second a call counts as done, whatever comes of it: B-clear-after, R-stored, E-live
            result = []

            def target():
                try:
                    plugin.call(channel, args)
                except Failed as e:
                    result.append(e)
            thread = threading.Thread(target=target, daemon=True)
            thread.start()
            thread.join(0.5)
            if result:
                raise result[0]
            return
        plugin.call(channel, args)

    def handle(self, channel, payload):
        try:
            fields = parse(channel, payload)
        except ValueError as e:
            print(f"malformed {channel} {payload!r}: {e}", file=sys.stderr)
            return
        wanted = [p for p in self.plugins.values() if channel in p.hooks]
        if not wanted and channel != "build_finished":
            return
        try:
            args, builds = self.load(channel, fields)
        except Missing:
            for p in wanted:
                self.store(p, channel, payload, fields, time.time())
            return
        except psycopg.Error:  # only with refused-load-dropped
            return
        if args is None or channel == "build_finished" and self.unfinished(args["build"]):
            return
        later = []
        for p in wanted:
            if BUG == "circuit-breaker" and p.failures >= 3:
                continue  # after three failures on end a plugin is spared until a retry succeeds, and nothing is stored for it: E-live, B-live, B-clear-after, B-at-least-once
            try:
                self.invoke(p, channel, args)
                p.failures = 0
            except Failed:
                p.failures += 1
                now = time.time()
                if BUG == "store-at-end":
                    later.append((p, now))  # stored only when every plugin has been called: R-stored
                else:
                    self.store(p, channel, payload, fields, now)
        for p, now in later:
            self.store(p, channel, payload, fields, now)
        if BUG == "stop-skips-clear" and self.stop:
            return  # SIGTERM in the last plugin: the event is not acknowledged: L-stop
        if channel == "build_finished" or BUG == "cached-clears" and channel == "cached_build_finished":
            # cached-clears: the mark of a build is cleared that build_finished has not shown yet: B-clear-after, B-at-least-once
            self.clear(builds)

    def store(self, plugin, channel, payload, fields, now):
        if BUG == "task-log-none":
            payload = "\t".join(map(str, fields))  # no log becomes a log path "None" in the retry: P-arguments, R-stored
        if BUG == "merge-by-head" and channel == "build_finished" and self.run(lambda c: c.execute(
                "select 1 from taskretries where channel = %s and pluginname = %s and split_part(payload, E'\\t', 1) = %s",
                (channel, plugin.name, payload.split("\t")[0])).fetchone()):
            return  # "this build is retried already", but with the dependents of another part: L-split, R-stored, B-at-least-once
        self.run(lambda c: c.execute(
            "insert into taskretries (channel, pluginname, payload, attempts, retry_at) values (%s, %s, %s, 1, %s)",
            (channel, plugin.name, payload, math.ceil(now) + 2)))

    def clear(self, builds):
        shown = {b["id"]: b for b in builds if b["finished"] or BUG == "clear-unfinished-dependent"}

        def work(c):
            for i in sorted(shown):
                b = shown[i]
                if BUG == "clear-by-status":  # two failures in a row are not told apart: B-clear-own, B-at-least-once
                    c.execute("update builds set notificationpendingsince = null where id = %s and finished = 1"
                              " and buildstatus is not distinct from %s::int", (i, b["buildstatus"]))
                    continue
                # clear-unfinished-dependent: a restarted dependent still shows that outcome, and loses its mark: B-dependents
                done = "" if BUG == "clear-unfinished-dependent" else " and finished = 1"
                # skip-locked: who holds the row at this moment makes its mark stay: B-clear
                here = ("id in (select id from builds where id = %s for update skip locked)" if BUG == "skip-locked"
                        else "id = %s")
                c.execute(f"update builds set notificationpendingsince = null where {here}{done}"
                          " and notificationpendingsince is not null and buildstatus is not distinct from %s::int"
                          " and starttime is not distinct from %s::int and stoptime is not distinct from %s::int",
                          (i, b["buildstatus"], b["starttime"], b["stoptime"]))
        self.run(work)

    # -- retries ----------------------------------------------------------------------------------------------

    def due(self):
        def look(c):
            if BUG != "read-only-fatal" and self.read_only(c):
                raise Lost
            now = int(time.time())
            if BUG == "head-of-line":
                row = c.execute("select * from taskretries order by id limit 1").fetchone()
                return row if row and row["retry_at"] <= now else None  # the oldest task, not yet due, holds up the others: R-backoff
            return c.execute("select id, channel, pluginname, payload, attempts from taskretries"
                             " where retry_at <= %s order by retry_at, id limit 1", (now,)).fetchone()
        return self.run(look, idle=True, tx=False)

    def retry(self, task):
        same = " where id = %(id)s and channel = %(channel)s and pluginname = %(pluginname)s and payload = %(payload)s"
        drop = lambda: self.run(lambda c: c.execute("delete from taskretries" + same, task))
        plugin = self.plugins.get(task["pluginname"])
        channel = task["channel"]
        try:
            fields = parse(channel, task["payload"])
        except ValueError:
            return drop()
        if plugin is None:
            return drop()
        if channel not in plugin.hooks and BUG != "retry-ignores-interest":
            return drop()  # retry-ignores-interest: a hook that the plugin has no longer is called all the same: R-gone-plugin
        try:
            args, builds = self.load(channel, fields)
            main = args["build"] if channel == "build_finished" else None
        except Missing as e:
            args, main = None, e.main if channel == "build_finished" else None
        except psycopg.Error:  # only with refused-load-dropped
            return
        if main is not None and self.unfinished(main):
            if BUG == "unfinished-task-dropped":
                return drop()  # "its next end will send its own", but the dependents' will not: B-unfinished, B-at-least-once
            later = math.ceil(time.time()) + 2 ** min(10, max(1, task["attempts"]))
            self.run(lambda c: c.execute("update taskretries set retry_at = %(later)s" + same, {**task, "later": later}))
            return
        try:
            if args is None:
                raise Failed("missing row")
            self.invoke(plugin, channel, args)
        except Failed:
            n = max(1, min(task["attempts"], 1000) + 1)
            if BUG == "ladder-in-memory":  # attempts are counted in the process, and begin again with each: R-backoff
                n = self.tries[task["id"]] = self.tries.get(task["id"], 1) + 1
            if n > 101:
                return drop()
            due = math.ceil(time.time()) + 2 ** min(10, n)
            if BUG == "ladder-cap-attempts":
                n = min(10, n)  # the count is capped with the exponent, so the task is never dropped: R-backoff
            self.run(lambda c: c.execute("update taskretries set attempts = %(n)s, retry_at = %(due)s" + same,
                                         {**task, "n": n, "due": due}))
            return
        plugin.failures = 0
        if BUG == "delete-by-payload":  # the same build's task of another channel goes with it: R-stored, E-live, B-at-least-once
            self.run(lambda c: c.execute("delete from taskretries where pluginname = %(pluginname)s"
                                         " and payload = %(payload)s", task))
        else:
            drop()
        if BUG == "retry-clears" and channel == "build_finished":
            self.clear(builds)  # one plugin's retry clears the mark that the others still need: B-clear-after, B-at-least-once

    # -- life -------------------------------------------------------------------------------------------------

    def scan(self):
        # scan-mark-eq-stop: a cancelled build over a stale mark has another stop time than its mark: B-recover, B-at-least-once
        which = ("notificationpendingsince = stoptime" if BUG == "scan-mark-eq-stop"
                 else "notificationpendingsince is not null")
        ids = [r["id"] for r in self.run(lambda c: c.execute(
            f"select id from builds where finished = 1 and {which} order by id").fetchall(), idle=True)]
        if BUG == "scan-as-dependents" and ids:  # all marked builds as one event, the later ones as dependents: B-recover, E-no-phantom
            return self.handle("build_finished", "\t".join(map(str, ids)))
        for i in ids:
            if self.stop:
                raise Stop
            if self.deaf:
                raise Lost
            if BUG == "scan-swallows-next":
                self.scanned.add(str(i))
            self.handle("build_finished", str(i))

    def serve(self):
        """From connecting until a connection is lost."""
        self.deaf, self.thread = False, None
        if BUG == "snapshot-per-drain":
            self.rd = self.connect()
            self.rd.autocommit = False
            self.rd.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.conn = self.connect()
        if BUG == "reconnect-scan-first" and self.again:  # what finishes while the scan runs is in neither: B-listen-first, B-at-least-once
            self.scan()
            self.listen()
        else:
            self.listen()
            self.again = True
            self.scan()
        self.again = True
        if self.carry:  # requeue-in-hand: plugins that had taken the event before the loss get it again: E-once, C-at-most-once
            item, self.carry = self.carry, None
            self.handle(*item)
        wait = 0.2
        while not self.stop:
            try:
                self.turn(wait)
                task = None if self.stop else self.due()
                if task and not self.stop:
                    self.retry(task)
                wait = 0 if task else 0.2
            except Lost:
                if BUG != "worker-reconnect-no-scan" or self.deaf:
                    raise
                self.conn.close()  # only the working connection is replaced, nothing is scanned: L-reconnect, B-at-least-once
                self.conn = self.connect()

    def turn(self, wait):
        try:
            _, _, *item = self.queue.get(timeout=wait) if wait else self.queue.get_nowait()
        except queue.Empty:
            if self.deaf:
                raise Lost from None
            return
        if self.stop:
            return
        if item[0] == "build_finished" and item[1] in self.scanned:
            self.scanned.discard(item[1])  # scan-swallows-next: "this one the scan has announced", but it may be the next outcome: B-live, B-each-outcome
            return
        try:
            self.handle(*item)
        except Lost:
            if BUG == "requeue-in-hand":
                self.carry = item
            raise

    def main(self):
        while not self.stop or BUG == "stop-ignored-while-connecting":  # SIGTERM while the server is away is not looked at: L-stop
            try:
                self.serve()
                if self.stop:
                    break
            except Stop:
                break
            except (Lost, psycopg.OperationalError) as e:
                print(f"lost: {e!r} {e.__cause__!r}", file=sys.stderr)
            finally:
                self.hang_up()
            if not self.stop or BUG == "stop-ignored-while-connecting":
                time.sleep(0.1)
        return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        for number_, names_ in ROUNDS.items():
            for name_ in names_:
                print(number_, name_)
        sys.exit(0)
    if sys.argv[1:2] == ["--bug"]:
        BUG = sys.argv[2]
        if not any(BUG in names_ for names_ in ROUNDS.values()):
            sys.exit("no such bug: " + BUG)
    sys.exit(Dispatcher().main())
