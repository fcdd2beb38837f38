-- Hydra's tables as its notifications need them, at schema version 87; PostgreSQL 14 to 18.
-- Written for this project from docs/reference/hydra.md (section "Schema"), not taken from Hydra.
-- Names fold to lower case, as Hydra's own do. `--schema FILE` loads a Hydra checkout's hydra.sql instead.

CREATE TABLE schemaversion (
  version integer NOT NULL
);
INSERT INTO schemaversion (version) VALUES (87);

-- People, projects, jobsets ------------------------------------------------------------------------

CREATE TABLE users (
  userName        text PRIMARY KEY,
  fullName        text,
  emailAddress    text NOT NULL,
  password        text NOT NULL,
  emailOnError    integer NOT NULL DEFAULT 0,
  type            text NOT NULL DEFAULT 'hydra',
  publicDashboard boolean NOT NULL DEFAULT false
);

CREATE TABLE projects (
  name        text PRIMARY KEY,
  displayName text NOT NULL,
  description text,
  enabled     integer NOT NULL DEFAULT 1,
  hidden      integer NOT NULL DEFAULT 0,
  owner       text NOT NULL REFERENCES users (userName) ON UPDATE CASCADE,
  homepage    text,
  declfile    text,
  decltype    text,
  declvalue   text,
  enable_dynamic_run_command boolean NOT NULL DEFAULT false
);

CREATE TABLE jobsets (
  name             text NOT NULL,
  id               serial NOT NULL UNIQUE,
  project          text NOT NULL REFERENCES projects (name) ON DELETE CASCADE ON UPDATE CASCADE,
  description      text,
  nixExprInput     text,
  nixExprPath      text,
  errorMsg         text,
  errorTime        integer,
  lastCheckedTime  integer,
  triggerTime      integer,
  enabled          integer NOT NULL DEFAULT 1,
  enableEmail      integer NOT NULL DEFAULT 1,
  hidden           integer NOT NULL DEFAULT 0,
  emailOverride    text NOT NULL,
  keepnr           integer NOT NULL DEFAULT 3,
  checkInterval    integer NOT NULL DEFAULT 300,
  schedulingShares integer NOT NULL DEFAULT 100,
  fetchErrorMsg    text,
  forceEval        boolean,
  startTime        integer,
  type             integer NOT NULL DEFAULT 0,
  flake            text,
  enable_dynamic_run_command boolean NOT NULL DEFAULT false,
  PRIMARY KEY (project, name),
  CONSTRAINT jobsets_shares_are_positive CHECK (schedulingShares > 0),
  CONSTRAINT jobsets_type_is_known CHECK (type IN (0, 1)),
  -- 0 is a Nix expression inside an input, 1 a flake: each has its own columns and only those.
  CONSTRAINT jobsets_expression_belongs_to_type_0
    CHECK ((type = 0) = (nixExprInput IS NOT NULL AND nixExprPath IS NOT NULL AND flake IS NULL)),
  CONSTRAINT jobsets_flake_belongs_to_type_1
    CHECK ((type = 1) = (nixExprInput IS NULL AND nixExprPath IS NULL AND flake IS NOT NULL))
);

-- Evaluations and builds ---------------------------------------------------------------------------

CREATE TABLE evaluationerrors (
  id        serial PRIMARY KEY,
  errorMsg  text,
  errorTime integer
);

CREATE TABLE jobsetevals (
  id                 serial PRIMARY KEY,
  jobset_id          integer NOT NULL REFERENCES jobsets (id) ON DELETE CASCADE,
  evaluationerror_id integer REFERENCES evaluationerrors (id) ON DELETE SET NULL,
  timestamp          integer NOT NULL,
  checkoutTime       integer NOT NULL,
  evalTime           integer NOT NULL,
  hasNewBuilds       integer NOT NULL,
  hash               text NOT NULL,
  nrBuilds           integer,
  nrSucceeded        integer,
  flake              text,
  nixExprInput       text,
  nixExprPath        text
);

CREATE TABLE builds (
  id             serial PRIMARY KEY,
  finished       integer NOT NULL,
  timestamp      integer NOT NULL,
  jobset_id      integer NOT NULL REFERENCES jobsets (id) ON DELETE CASCADE,
  job            text NOT NULL,
  nixName        text,
  description    text,
  drvPath        text NOT NULL,
  system         text NOT NULL,
  license        text,
  homepage       text,
  maintainers    text,
  maxsilent      integer DEFAULT 3600,
  timeout        integer DEFAULT 36000,
  isChannel      integer NOT NULL DEFAULT 0,
  isCurrent      integer DEFAULT 0,
  priority       integer NOT NULL DEFAULT 0,
  globalPriority integer NOT NULL DEFAULT 0,
  startTime      integer,
  stopTime       integer,
  isCachedBuild  integer,
  buildStatus    integer,
  size           bigint,
  closureSize    bigint,
  releaseName    text,
  keep           integer NOT NULL DEFAULT 0,
  -- Not null: no dispatcher has acknowledged this outcome yet.
  notificationPendingSince integer,
  CONSTRAINT builds_finished_has_times CHECK (
    finished = 0
    OR (startTime IS NOT NULL AND startTime <> 0 AND stopTime IS NOT NULL AND stopTime <> 0)
  )
);
CREATE INDEX builds_pending ON builds (notificationPendingSince) WHERE notificationPendingSince IS NOT NULL;
CREATE INDEX builds_unfinished ON builds (finished) WHERE finished = 0;

CREATE TABLE jobsetevalmembers (
  eval  integer NOT NULL REFERENCES jobsetevals (id) ON DELETE CASCADE,
  build integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  isNew integer NOT NULL,
  PRIMARY KEY (eval, build)
);

CREATE TABLE jobsetevalinputs (
  eval           integer NOT NULL REFERENCES jobsetevals (id) ON DELETE CASCADE,
  name           text NOT NULL,
  altNr          integer NOT NULL,
  type           text NOT NULL,
  uri            text,
  revision       text,
  shortRevLength smallint,
  value          text,
  dependency     integer REFERENCES builds (id),
  path           text,
  sha256hash     text,
  PRIMARY KEY (eval, name, altNr)
);

CREATE TABLE buildoutputs (
  build integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  name  text NOT NULL,
  path  text,
  PRIMARY KEY (build, name)
);

CREATE TABLE buildsteps (
  build            integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  stepnr           integer NOT NULL,
  type             integer NOT NULL,
  drvPath          text NOT NULL,
  busy             integer NOT NULL,
  status           integer,
  errorMsg         text,
  startTime        integer,
  stopTime         integer,
  machine          text NOT NULL DEFAULT '',
  system           text,
  propagatedFrom   integer REFERENCES builds (id) ON DELETE CASCADE,
  overhead         integer,
  timesBuilt       integer,
  isNonDeterministic boolean,
  resolvedDrvPath  text,
  PRIMARY KEY (build, stepnr),
  CONSTRAINT buildsteps_resolved_has_derivation CHECK (
    (status IS NOT DISTINCT FROM 13) = (resolvedDrvPath IS NOT NULL)
  )
);
CREATE INDEX buildsteps_busy ON buildsteps (busy) WHERE busy <> 0;

CREATE TABLE buildstepoutputs (
  build  integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  stepnr integer NOT NULL,
  name   text NOT NULL,
  path   text,
  PRIMARY KEY (build, stepnr, name),
  FOREIGN KEY (build, stepnr) REFERENCES buildsteps (build, stepnr) ON DELETE CASCADE
);

CREATE TABLE buildinputs (
  id               serial PRIMARY KEY,
  build            integer REFERENCES builds (id) ON DELETE CASCADE,
  name             text NOT NULL,
  type             text NOT NULL,
  uri              text,
  revision         text,
  value            text,
  emailResponsible integer NOT NULL DEFAULT 0,
  dependency       integer REFERENCES builds (id),
  path             text,
  sha256hash       text
);

CREATE TABLE buildproducts (
  build       integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  productnr   integer NOT NULL,
  type        text NOT NULL,
  subtype     text NOT NULL,
  fileSize    bigint,
  sha256hash  text,
  path        text,
  name        text NOT NULL,
  defaultPath text,
  PRIMARY KEY (build, productnr)
);

CREATE TABLE buildmetrics (
  build     integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  name      text NOT NULL,
  unit      text,
  value     double precision NOT NULL,
  project   text NOT NULL REFERENCES projects (name) ON DELETE CASCADE ON UPDATE CASCADE,
  jobset    text NOT NULL,
  job       text NOT NULL,
  timestamp integer NOT NULL,
  PRIMARY KEY (build, name),
  FOREIGN KEY (project, jobset) REFERENCES jobsets (project, name) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE aggregateconstituents (
  aggregate   integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  constituent integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  PRIMARY KEY (aggregate, constituent)
);

-- What the dispatcher and its plugins keep ---------------------------------------------------------

CREATE TABLE taskretries (
  id         serial PRIMARY KEY,
  channel    text NOT NULL,
  pluginname text NOT NULL,
  payload    text NOT NULL,
  attempts   integer NOT NULL,
  retry_at   integer NOT NULL
);
CREATE INDEX taskretries_due ON taskretries (retry_at);

CREATE TABLE runcommandlogs (
  id           serial PRIMARY KEY,
  uuid         uuid NOT NULL UNIQUE,
  job_matcher  text NOT NULL,
  build_id     integer NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  command      text NOT NULL,
  start_time   integer,
  end_time     integer,
  error_number integer,
  exit_code    integer,
  signal       integer,
  core_dumped  boolean,
  CONSTRAINT runcommandlogs_result_needs_start CHECK (
    start_time IS NOT NULL
    OR num_nonnulls(end_time, error_number, exit_code, signal, core_dumped) = 0
  )
);

CREATE TABLE failedpaths (
  path text PRIMARY KEY
);

CREATE TABLE nrbuilds (
  what  text PRIMARY KEY,
  count integer NOT NULL
);
INSERT INTO nrbuilds (what, count) VALUES ('finished', 0);

-- Rows kept by triggers ----------------------------------------------------------------------------

CREATE FUNCTION skip_known_failed_path() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM failedpaths WHERE path = NEW.path) THEN
    RETURN NULL;
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER failedpaths_skip_known BEFORE INSERT ON failedpaths
  FOR EACH ROW EXECUTE FUNCTION skip_known_failed_path();

CREATE FUNCTION count_finished_builds() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  change integer := 0;
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.finished = 1 THEN
    change := change - 1;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.finished = 1 THEN
    change := change + 1;
  END IF;
  IF change <> 0 THEN
    UPDATE nrbuilds SET count = count + change WHERE what = 'finished';
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER builds_count_new AFTER INSERT ON builds
  FOR EACH ROW WHEN (NEW.finished = 1) EXECUTE FUNCTION count_finished_builds();
CREATE TRIGGER builds_count_gone AFTER DELETE ON builds
  FOR EACH ROW WHEN (OLD.finished = 1) EXECUTE FUNCTION count_finished_builds();
CREATE TRIGGER builds_count_changed AFTER UPDATE ON builds
  FOR EACH ROW WHEN (OLD.finished <> NEW.finished) EXECUTE FUNCTION count_finished_builds();

-- Notifications sent by the tables themselves: the channel is the trigger's argument, the payload empty.

CREATE FUNCTION notify_channel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify(TG_ARGV[0], '');
  RETURN NULL;
END
$$;

-- Per statement: sent for a statement that touches no row, too.
CREATE TRIGGER jobsets_notify_added AFTER INSERT ON jobsets
  FOR EACH STATEMENT EXECUTE FUNCTION notify_channel('jobsets_added');
CREATE TRIGGER jobsets_notify_deleted AFTER DELETE ON jobsets
  FOR EACH STATEMENT EXECUTE FUNCTION notify_channel('jobsets_deleted');
CREATE TRIGGER builds_notify_deleted AFTER DELETE ON builds
  FOR EACH STATEMENT EXECUTE FUNCTION notify_channel('builds_deleted');

-- Per row.
CREATE TRIGGER builds_notify_restarted AFTER UPDATE ON builds
  FOR EACH ROW WHEN (OLD.finished = 1 AND NEW.finished = 0)
  EXECUTE FUNCTION notify_channel('builds_restarted');
CREATE TRIGGER builds_notify_cancelled AFTER UPDATE ON builds
  FOR EACH ROW WHEN (OLD.finished = 0 AND NEW.finished = 1 AND NEW.buildStatus = 4)
  EXECUTE FUNCTION notify_channel('builds_cancelled');
CREATE TRIGGER builds_notify_bumped AFTER UPDATE ON builds
  FOR EACH ROW WHEN (OLD.globalPriority <> NEW.globalPriority)
  EXECUTE FUNCTION notify_channel('builds_bumped');
CREATE TRIGGER jobsets_notify_shares AFTER UPDATE ON jobsets
  FOR EACH ROW WHEN (OLD.schedulingShares <> NEW.schedulingShares)
  EXECUTE FUNCTION notify_channel('jobset_shares_changed');
CREATE TRIGGER jobsets_notify_scheduling AFTER UPDATE ON jobsets
  FOR EACH ROW WHEN (
    OLD.checkInterval <> NEW.checkInterval
    OR OLD.enabled <> NEW.enabled
    OR (NEW.triggerTime IS NOT NULL AND OLD.triggerTime IS DISTINCT FROM NEW.triggerTime)
  )
  EXECUTE FUNCTION notify_channel('jobset_scheduling_changed');
