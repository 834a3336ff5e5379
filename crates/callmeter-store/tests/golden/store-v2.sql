PRAGMA application_id = 1668050290;
PRAGMA user_version = 2;
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
CREATE TABLE reprice_runs (
  rev INTEGER NOT NULL, hi INTEGER NOT NULL, lo INTEGER NOT NULL, old_rev INTEGER NOT NULL,
  PRIMARY KEY (rev, hi, lo)
) WITHOUT ROWID, STRICT;
CREATE TABLE reprice_sums (
  rev INTEGER NOT NULL, day INTEGER NOT NULL, is_plan INTEGER NOT NULL,
  provider TEXT NOT NULL, model TEXT NOT NULL, old_rev INTEGER NOT NULL,
  n INTEGER NOT NULL, changed INTEGER NOT NULL,
  old_microusd INTEGER NOT NULL, old_picousd INTEGER NOT NULL,
  new_microusd INTEGER NOT NULL, new_picousd INTEGER NOT NULL,
  old_unpriced INTEGER NOT NULL, new_unpriced INTEGER NOT NULL,
  PRIMARY KEY (rev, day, is_plan, provider, model, old_rev)
) WITHOUT ROWID, STRICT;
CREATE TABLE reprices (
  rev INTEGER PRIMARY KEY,
  undoes INTEGER, is_all INTEGER NOT NULL,
  since INTEGER, until INTEGER,
  caller TEXT, provider TEXT, model TEXT, status TEXT, project TEXT, team TEXT,
  closed_until INTEGER,
  asked_by TEXT NOT NULL,
  began_at INTEGER NOT NULL, ended_at INTEGER,
  at_hi INTEGER NOT NULL, at_lo INTEGER NOT NULL,
  looked_at INTEGER NOT NULL, changed INTEGER NOT NULL
) STRICT;
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
CREATE INDEX calls_reported ON calls (hi) WHERE cost_source = 2;
CREATE INDEX calls_unpriced ON calls (unpriced_reason) WHERE unpriced_reason IS NOT NULL;
CREATE UNIQUE INDEX scope_by_words ON scopes (
  ifnull(project, 0), ifnull(team, 0), ifnull(cost_center, 0), ifnull(service, 0),
  ifnull(environment, 0), ifnull(billing, 0)
);
INSERT INTO about VALUES (1, 2, 1, 1, 'Europe/Berlin', 1775174400000000, 'callmeter 0.1.0', 0);
INSERT INTO book_revisions VALUES (1, 'legacy', '1', 'ff56e2bb33069860', X'4B4ECCC9C94D2D492D52C8494D4F4CAE542828CA4C4E5548CACFCF56300400', 1775174400000000);
INSERT INTO calls VALUES (7267575402496004, 81985529216486895, 1, 9, 10, 11, 2, NULL, 7, 8, NULL, 39, 1234567, 200000, 1200, 340, 1000, NULL, NULL, 0, NULL, NULL, NULL, 0, NULL, NULL, 3, 19, 5, 1, -154267035997681519, NULL, NULL, X'0101010B057265712D313B066770742D346F690473746F7077157B2263616D706169676E223A22737072696E67227D');
INSERT INTO calls VALUES (7267575406592000, 2, 2, 13, 14, 15, 4, 12, NULL, NULL, NULL, 59, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 6, 504, 0, NULL, NULL, 3, 20, 1, 1, NULL, NULL, NULL, X'010100');
INSERT INTO calls VALUES (7267575410688000, 3, 2, 16, 17, 18, 2, NULL, NULL, NULL, NULL, 32, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, 3, 21, 5, 1, NULL, NULL, NULL, X'010100');
INSERT INTO names VALUES (1, 0, '~other');
INSERT INTO names VALUES (2, 4, 'ok');
INSERT INTO names VALUES (3, 4, 'error');
INSERT INTO names VALUES (4, 4, 'fallback');
INSERT INTO names VALUES (5, 4, 'cancelled');
INSERT INTO names VALUES (6, 4, 'aborted');
INSERT INTO names VALUES (7, 7, 'src/sales.rs:42');
INSERT INTO names VALUES (8, 8, 'web-1');
INSERT INTO names VALUES (9, 1, 'sales_copy');
INSERT INTO names VALUES (10, 2, 'openai');
INSERT INTO names VALUES (11, 3, 'gpt-4o-2024-08-06');
INSERT INTO names VALUES (12, 5, 'gemini');
INSERT INTO names VALUES (13, 1, 'größe');
INSERT INTO names VALUES (14, 2, 'gcp_ollama');
INSERT INTO names VALUES (15, 3, 'hermes3:latest');
INSERT INTO names VALUES (16, 1, 'unknown');
INSERT INTO names VALUES (17, 2, 'unknown');
INSERT INTO names VALUES (18, 3, 'unknown');
INSERT INTO names VALUES (19, 6, 'legacy/gpt-4o-2024-08-06');
INSERT INTO names VALUES (20, 6, 'legacy/hermes3:latest');
INSERT INTO names VALUES (21, 6, 'legacy/unknown');
INSERT INTO rejected VALUES (7090628198400000, 4, 1, 0, 'older than the dedup horizon', 1775174400000000, X'0101930E387000700080000000000000040100');
INSERT INTO roll_day VALUES (1, 20536, 9, 10, 11, 2, 0, 1, 1, 1200, 340, 1000, 0, 0, 0, 0, 0, 0, 0, 1, 1234567, X'C30201');
INSERT INTO roll_day VALUES (2, 20536, 13, 14, 15, 4, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X'');
INSERT INTO roll_day VALUES (2, 20536, 16, 17, 18, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X'');
INSERT INTO roll_hour VALUES (1, 492864, 10, 11, 2, 1, 1, 1200, 340, 1000, 0, 0, 0, 0, 0, 0, 0, 1, 1234567, X'C30201');
INSERT INTO roll_hour VALUES (2, 492864, 14, 15, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X'');
INSERT INTO roll_hour VALUES (2, 492864, 17, 18, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X'');
INSERT INTO roll_names VALUES (1, 20536, 1, 9);
INSERT INTO roll_names VALUES (1, 20536, 2, 10);
INSERT INTO roll_names VALUES (1, 20536, 3, 11);
INSERT INTO roll_names VALUES (1, 20536, 4, 2);
INSERT INTO roll_names VALUES (2, 20536, 1, 13);
INSERT INTO roll_names VALUES (2, 20536, 1, 16);
INSERT INTO roll_names VALUES (2, 20536, 2, 14);
INSERT INTO roll_names VALUES (2, 20536, 2, 17);
INSERT INTO roll_names VALUES (2, 20536, 3, 15);
INSERT INTO roll_names VALUES (2, 20536, 3, 18);
INSERT INTO roll_names VALUES (2, 20536, 4, 2);
INSERT INTO roll_names VALUES (2, 20536, 4, 4);
INSERT INTO roll_names VALUES (2, 20536, 5, 12);
INSERT INTO scopes VALUES (1, 'shop', 'growth', NULL, NULL, NULL, 1);
INSERT INTO scopes VALUES (2, NULL, NULL, NULL, NULL, NULL, NULL);
