CREATE TABLE about (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  format INTEGER NOT NULL,
  min_reader INTEGER NOT NULL,
  min_writer INTEGER NOT NULL,
  accounting_zone TEXT NOT NULL,
  made_at INTEGER NOT NULL,
  made_by TEXT NOT NULL,
  kept_from INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE book_revisions (
  rev INTEGER PRIMARY KEY,
  name TEXT NOT NULL, version TEXT NOT NULL, content_id TEXT NOT NULL,
  body BLOB NOT NULL,
  made_at INTEGER NOT NULL
) STRICT;
CREATE TABLE calls (
  hi INTEGER NOT NULL,
  lo INTEGER NOT NULL,
  scope INTEGER NOT NULL,
  caller INTEGER NOT NULL,
  provider INTEGER NOT NULL,
  model INTEGER NOT NULL,
  status INTEGER NOT NULL,
  fallback_to INTEGER,
  call_site INTEGER,
  host_name INTEGER,
  sdk INTEGER,
  given INTEGER NOT NULL,
  duration_us INTEGER,
  ttft_us INTEGER,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_write_tokens INTEGER,
  reasoning_tokens INTEGER,
  cache_hit INTEGER,
  rag_hit INTEGER,
  error_kind INTEGER,
  http_status INTEGER,
  cost_picousd INTEGER,
  computed_cost_picousd INTEGER,
  unpriced_reason INTEGER,
  cost_source INTEGER,
  price INTEGER,
  price_match INTEGER,
  book_rev INTEGER,
  request_key INTEGER,
  response_key INTEGER,
  trace_key INTEGER,
  ext BLOB NOT NULL,
  PRIMARY KEY (hi, lo)
) WITHOUT ROWID, STRICT;
CREATE TABLE names (
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  name TEXT NOT NULL,
  UNIQUE (kind, name)
) STRICT;
CREATE TABLE rejected (
  hi INTEGER NOT NULL, lo INTEGER NOT NULL, layer INTEGER NOT NULL, rev INTEGER NOT NULL,
  reason TEXT NOT NULL, rejected_at INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (hi, lo, layer, rev)
) WITHOUT ROWID, STRICT;
CREATE TABLE roll_day (
  scope INTEGER NOT NULL, day INTEGER NOT NULL, caller INTEGER NOT NULL,
  provider INTEGER NOT NULL, model INTEGER NOT NULL, status INTEGER NOT NULL,
  fallback_to INTEGER NOT NULL,
  n INTEGER NOT NULL, with_usage INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cost_microusd INTEGER NOT NULL, cost_picousd INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  cache_hits INTEGER NOT NULL, rag_hits INTEGER NOT NULL,
  timed INTEGER NOT NULL, duration_us INTEGER NOT NULL, durations BLOB NOT NULL,
  PRIMARY KEY (day, scope, caller, provider, model, status, fallback_to)
) WITHOUT ROWID, STRICT;
CREATE TABLE roll_hour (
  scope INTEGER NOT NULL, hour INTEGER NOT NULL, provider INTEGER NOT NULL,
  model INTEGER NOT NULL, status INTEGER NOT NULL,
  n INTEGER NOT NULL, with_usage INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cost_microusd INTEGER NOT NULL, cost_picousd INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  cache_hits INTEGER NOT NULL, rag_hits INTEGER NOT NULL,
  timed INTEGER NOT NULL, duration_us INTEGER NOT NULL, durations BLOB NOT NULL,
  PRIMARY KEY (hour, scope, provider, model, status)
) WITHOUT ROWID, STRICT;
CREATE TABLE roll_names (
  scope INTEGER NOT NULL, day INTEGER NOT NULL, kind INTEGER NOT NULL, name INTEGER NOT NULL,
  PRIMARY KEY (day, scope, kind, name)
) WITHOUT ROWID, STRICT;
CREATE TABLE scopes (
  id INTEGER PRIMARY KEY,
  project TEXT, team TEXT, cost_center TEXT, service TEXT, environment TEXT,
  billing INTEGER
) STRICT;
CREATE INDEX calls_by_caller ON calls (caller, model);
CREATE INDEX calls_by_request ON calls (hi / 353894400000, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX calls_by_response ON calls (hi / 353894400000, response_key) WHERE response_key IS NOT NULL;
CREATE INDEX calls_by_trace ON calls (hi / 353894400000, trace_key) WHERE trace_key IS NOT NULL;
CREATE INDEX calls_by_trouble ON calls (status, hi) WHERE status <> 2;
CREATE INDEX calls_unpriced ON calls (unpriced_reason) WHERE unpriced_reason IS NOT NULL;
CREATE UNIQUE INDEX scope_by_words ON scopes (
  ifnull(project, 0), ifnull(team, 0), ifnull(cost_center, 0), ifnull(service, 0),
  ifnull(environment, 0), ifnull(billing, 0)
);
