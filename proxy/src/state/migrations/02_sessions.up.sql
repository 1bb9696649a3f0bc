CREATE TABLE transom.sessions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token_hash text COLLATE "C" NOT NULL UNIQUE CHECK (token_hash ~ '^[0-9a-f]{64}$'),
  username text NOT NULL,
  created_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  idle_ms bigint NOT NULL CHECK (idle_ms > 0),
  data json,
  CHECK (expires_at <= ends_at)
) WITH (fillfactor = 80);
CREATE INDEX sessions_username ON transom.sessions (username, id);
CREATE INDEX sessions_expires_at ON transom.sessions (expires_at);
COMMENT ON TABLE transom.sessions IS
  'the truth about sessions: may be deleted from and changed by SQL; of tokens there are only SHA-256 hashes';

-- What ended before its time, by whomever: nodes read it several times a second. `xid` says which of it a snapshot saw.
CREATE TABLE transom.revocations (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  xid bigint NOT NULL DEFAULT txid_current(),
  token_hash text COLLATE "C",
  told text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX revocations_xid ON transom.revocations (xid);
COMMENT ON COLUMN transom.revocations.token_hash IS 'null: all sessions';
COMMENT ON COLUMN transom.revocations.told IS 'the namespaces in which it was announced';

-- Beyond a thousand at a time it is all.
CREATE FUNCTION transom.note_revoked(hashes text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO transom.revocations (token_hash)
    SELECT hash FROM unnest(hashes) AS hash WHERE cardinality(hashes) <= 1000
    UNION ALL SELECT NULL WHERE cardinality(hashes) > 1000
$$;

CREATE FUNCTION transom.note_deleted_sessions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM transom.note_revoked(ARRAY(SELECT g.token_hash FROM gone AS g WHERE g.expires_at > clock_timestamp()));
  RETURN NULL;
END
$$;

-- Whatever a node may have stored of a session and is not true any more; to live longer than stored is no harm.
CREATE FUNCTION transom.note_changed_sessions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM transom.note_revoked(ARRAY(
    SELECT o.token_hash FROM before AS o LEFT JOIN after AS n ON n.id = o.id
    WHERE n.id IS NULL OR n.token_hash <> o.token_hash OR n.username <> o.username
      OR n.expires_at < o.expires_at OR n.ends_at < o.ends_at OR n.data::text IS DISTINCT FROM o.data::text));
  RETURN NULL;
END
$$;

CREATE FUNCTION transom.note_truncated_sessions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO transom.revocations (token_hash) VALUES (NULL);
  RETURN NULL;
END
$$;

CREATE TRIGGER note_deleted AFTER DELETE ON transom.sessions REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION transom.note_deleted_sessions();
CREATE TRIGGER note_changed AFTER UPDATE ON transom.sessions REFERENCING OLD TABLE AS before NEW TABLE AS after
  FOR EACH STATEMENT EXECUTE FUNCTION transom.note_changed_sessions();
CREATE TRIGGER note_truncated AFTER TRUNCATE ON transom.sessions
  FOR EACH STATEMENT EXECUTE FUNCTION transom.note_truncated_sessions();
ALTER TABLE transom.sessions ENABLE ALWAYS TRIGGER note_deleted;
ALTER TABLE transom.sessions ENABLE ALWAYS TRIGGER note_changed;
ALTER TABLE transom.sessions ENABLE ALWAYS TRIGGER note_truncated;

-- A standby may be behind: it must not say that a session is there.
CREATE FUNCTION transom.refuse_on_standby() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE SQLSTATE '25006' USING message = 'sessions are judged by the primary';
  END IF;
END
$$;

-- A session as nodes read it; times in milliseconds since 1970, and what is left of it by this server's clock.
CREATE FUNCTION transom.show_session(s transom.sessions) RETURNS json
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT json_build_object('id', s.id, 'hash', s.token_hash, 'user', s.username, 'idle_ms', s.idle_ms, 'data', s.data,
    'created_at', floor(extract(epoch FROM s.created_at) * 1000)::bigint,
    'last_seen_at', floor(extract(epoch FROM s.last_seen_at) * 1000)::bigint,
    'expires_at', floor(extract(epoch FROM s.expires_at) * 1000)::bigint,
    'ends_at', floor(extract(epoch FROM s.ends_at) * 1000)::bigint,
    'left_ms', floor(extract(epoch FROM s.expires_at - clock_timestamp()) * 1000)::bigint)
$$;

-- The lock makes sessions of one user one after the other, so that they are never more than `user_max`.
CREATE FUNCTION transom.create_session(
  token_hash text, username text, idle_ms bigint, lasts_ms bigint, user_max bigint, data text
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  present timestamptz;
  ends timestamptz;
  made transom.sessions;
  evicted json;
BEGIN
  PERFORM transom.refuse_on_standby();
  PERFORM pg_advisory_xact_lock(hashtextextended('transom.sessions ' || $2, 0));
  present := clock_timestamp();
  ends := present + $4 * interval '1 millisecond';
  INSERT INTO transom.sessions (token_hash, username, created_at, last_seen_at, expires_at, ends_at, idle_ms, data)
    VALUES ($1, $2, present, present, least(present + $3 * interval '1 millisecond', ends), ends, $3, nullif($6, '')::json)
    RETURNING * INTO made;
  WITH leaving AS (
    SELECT id FROM transom.sessions WHERE username = $2 AND expires_at > present ORDER BY id DESC OFFSET $5
  ), gone AS (
    DELETE FROM transom.sessions AS s USING leaving AS l WHERE s.id = l.id RETURNING s.token_hash
  ) SELECT coalesce(json_agg(g.token_hash), '[]') INTO evicted FROM gone AS g;
  PERFORM transom.commit_durably();
  RETURN json_build_object('session', transom.show_session(made), 'evicted', evicted);
END
$$;

CREATE FUNCTION transom.read_session(token_hash text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM transom.refuse_on_standby();
  RETURN (SELECT transom.show_session(s) FROM transom.sessions AS s
    WHERE s.token_hash = $1 AND s.expires_at > clock_timestamp());
END
$$;

-- Moves the end of those that were not moved a moment ago, in order, so that two nodes never wait for each other. Shows what
-- is there afterwards.
CREATE FUNCTION transom.touch_sessions(hashes text[]) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  present timestamptz := clock_timestamp();
BEGIN
  PERFORM FROM (SELECT FROM transom.sessions AS s WHERE s.token_hash = ANY (hashes) ORDER BY s.id FOR NO KEY UPDATE) AS l;
  UPDATE transom.sessions AS s SET last_seen_at = present,
      expires_at = greatest(s.expires_at, least(present + s.idle_ms * interval '1 millisecond', s.ends_at))
    WHERE s.token_hash = ANY (hashes) AND s.expires_at > clock_timestamp()
      AND present - s.last_seen_at > s.idle_ms / 20 * interval '1 millisecond';
  RETURN (SELECT coalesce(json_agg(transom.show_session(s)), '[]') FROM transom.sessions AS s
    WHERE s.token_hash = ANY (hashes) AND s.expires_at > clock_timestamp());
END
$$;

CREATE FUNCTION transom.refresh_session(token_hash text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  refreshed transom.sessions;
BEGIN
  UPDATE transom.sessions AS s SET last_seen_at = clock_timestamp(),
      expires_at = greatest(s.expires_at, least(clock_timestamp() + s.idle_ms * interval '1 millisecond', s.ends_at))
    WHERE s.token_hash = $1 AND s.expires_at > clock_timestamp() RETURNING * INTO refreshed;
  RETURN CASE WHEN refreshed.id IS NOT NULL THEN transom.show_session(refreshed) END;
END
$$;

-- What a transaction noted, so that whoever announces it can say so.
CREATE FUNCTION transom.show_revoked(count bigint, hash text) RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT json_build_object('count', count, 'hash', hash, 'noted',
    (SELECT coalesce(json_agg(r.id), '[]') FROM transom.revocations AS r WHERE r.xid = txid_current()))::text
$$;

CREATE FUNCTION transom.revoke_session(token_hash text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  gone bigint;
BEGIN
  DELETE FROM transom.sessions AS s WHERE s.token_hash = $1 AND s.expires_at > clock_timestamp();
  GET DIAGNOSTICS gone = ROW_COUNT;
  PERFORM transom.commit_durably();
  RETURN transom.show_revoked(gone, $1);
END
$$;

CREATE FUNCTION transom.revoke_session_of(username text, id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  hash text;
BEGIN
  DELETE FROM transom.sessions AS s WHERE s.username = $1 AND s.id = $2 AND s.expires_at > clock_timestamp()
    RETURNING s.token_hash INTO hash;
  PERFORM transom.commit_durably();
  RETURN transom.show_revoked((hash IS NOT NULL)::int, hash);
END
$$;

-- Under the same lock as creation: whatever was created before is among them.
CREATE FUNCTION transom.revoke_sessions_of(username text, but text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  gone bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('transom.sessions ' || $1, 0));
  PERFORM FROM (SELECT FROM transom.sessions AS s WHERE s.username = $1 ORDER BY s.id FOR UPDATE) AS l;
  DELETE FROM transom.sessions AS s
    WHERE s.username = $1 AND s.token_hash <> $2 AND s.expires_at > clock_timestamp();
  GET DIAGNOSTICS gone = ROW_COUNT;
  PERFORM transom.commit_durably();
  RETURN transom.show_revoked(gone, NULL);
END
$$;

CREATE FUNCTION transom.list_sessions(username text, most bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM transom.refuse_on_standby();
  RETURN (SELECT coalesce(json_agg(transom.show_session(l) ORDER BY (l).last_seen_at DESC, (l).id DESC), '[]') FROM (
    SELECT s FROM transom.sessions AS s WHERE s.username = $1 AND s.expires_at > clock_timestamp()
    ORDER BY s.last_seen_at DESC, s.id DESC LIMIT $2) AS listed(l));
END
$$;

-- The snapshot in a mark that a reading left: what it saw. Nothing, if the history of this server is another since: after a
-- failover, numbers of transactions may come again.
CREATE FUNCTION transom.seen_by(mark text) RETURNS txid_snapshot
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN split_part(mark, ' ', 1) = left(pg_walfile_name(pg_current_wal_lsn()), 8)
    THEN split_part(mark, ' ', 2)::txid_snapshot ELSE '1:1:' END
$$;

-- What was noted and not seen by the reading that left this mark, as one snapshot sees it, and the mark of this reading. A
-- transaction that goes on for long holds up neither this nor the sweep.
CREATE FUNCTION transom.read_revocations(since text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  timeline text;
  seen txid_snapshot;
BEGIN
  PERFORM transom.refuse_on_standby();
  timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
  seen := transom.seen_by(since);
  RETURN (SELECT json_build_object('mark', timeline || ' ' || txid_current_snapshot(), 'gone',
    (SELECT coalesce(json_agg(json_build_object('id', r.id, 'hash', r.token_hash, 'told', r.told)), '[]')
      FROM (SELECT * FROM transom.revocations AS n
        WHERE n.xid >= txid_snapshot_xmin(seen) AND NOT txid_visible_in_snapshot(n.xid, seen)
        ORDER BY n.id LIMIT 10001) AS r)));
END
$$;

CREATE FUNCTION transom.tell_revocations(namespace text, ids bigint[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE transom.revocations AS r SET told = r.told || namespace WHERE r.id IN (
    SELECT l.id FROM transom.revocations AS l WHERE l.id = ANY (ids) AND NOT l.told @> ARRAY[namespace]
    ORDER BY l.id FOR UPDATE SKIP LOCKED);
  RETURN 0;
END
$$;

-- Notes that could be seen for long enough, by the mark of that time, and a thousand sessions that expired a day ago.
CREATE FUNCTION transom.sweep_sessions(mark text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seen txid_snapshot := transom.seen_by(mark);
BEGIN
  DELETE FROM transom.revocations AS r WHERE r.id IN (
    SELECT l.id FROM transom.revocations AS l
    WHERE l.xid < txid_snapshot_xmax(seen) AND txid_visible_in_snapshot(l.xid, seen)
    LIMIT 10000 FOR UPDATE SKIP LOCKED);
  DELETE FROM transom.sessions AS s WHERE s.id IN (
    SELECT l.id FROM transom.sessions AS l WHERE l.expires_at < clock_timestamp() - interval '1 day'
    LIMIT 1000 FOR UPDATE SKIP LOCKED);
  RETURN 0;
END
$$;

REVOKE ALL ON TABLE transom.sessions, transom.revocations FROM PUBLIC;
REVOKE ALL ON FUNCTION transom.note_revoked(text[]), transom.note_deleted_sessions(), transom.note_changed_sessions(),
  transom.note_truncated_sessions(), transom.refuse_on_standby(), transom.seen_by(text), transom.show_session(transom.sessions),
  transom.show_revoked(bigint, text), transom.create_session(text, text, bigint, bigint, bigint, text),
  transom.read_session(text), transom.touch_sessions(text[]), transom.refresh_session(text),
  transom.revoke_session(text), transom.revoke_session_of(text, bigint), transom.revoke_sessions_of(text, text),
  transom.list_sessions(text, bigint), transom.read_revocations(text), transom.tell_revocations(text, bigint[]),
  transom.sweep_sessions(text) FROM PUBLIC;
