CREATE TABLE transom.standings (
  username text PRIMARY KEY,
  not_before bigint NOT NULL DEFAULT 0,
  banned boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE transom.standings IS
  'what is held against users, and so against tokens that others issued to them: may be changed by SQL';
COMMENT ON COLUMN transom.standings.not_before IS 'seconds since 1970: tokens with an earlier iat are refused';

-- Noted beside the sessions that ended, by the hash of the user: one reading tells a node of both.
CREATE FUNCTION transom.note_standings(usernames text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT transom.note_revoked(ARRAY(
    SELECT encode(sha256(convert_to(name, 'UTF8')), 'hex') FROM unnest(usernames) AS name))
$$;

CREATE FUNCTION transom.note_made_standings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM transom.note_standings(ARRAY(SELECT n.username FROM after AS n));
  RETURN NULL;
END
$$;

CREATE FUNCTION transom.note_changed_standings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM transom.note_standings(ARRAY(SELECT o.username FROM before AS o UNION SELECT n.username FROM after AS n));
  RETURN NULL;
END
$$;

CREATE FUNCTION transom.note_deleted_standings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM transom.note_standings(ARRAY(SELECT o.username FROM gone AS o));
  RETURN NULL;
END
$$;

CREATE TRIGGER note_made AFTER INSERT ON transom.standings REFERENCING NEW TABLE AS after
  FOR EACH STATEMENT EXECUTE FUNCTION transom.note_made_standings();
CREATE TRIGGER note_changed AFTER UPDATE ON transom.standings REFERENCING OLD TABLE AS before NEW TABLE AS after
  FOR EACH STATEMENT EXECUTE FUNCTION transom.note_changed_standings();
CREATE TRIGGER note_deleted AFTER DELETE ON transom.standings REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION transom.note_deleted_standings();
CREATE TRIGGER note_truncated AFTER TRUNCATE ON transom.standings
  FOR EACH STATEMENT EXECUTE FUNCTION transom.note_truncated_sessions();
ALTER TABLE transom.standings ENABLE ALWAYS TRIGGER note_made;
ALTER TABLE transom.standings ENABLE ALWAYS TRIGGER note_changed;
ALTER TABLE transom.standings ENABLE ALWAYS TRIGGER note_deleted;
ALTER TABLE transom.standings ENABLE ALWAYS TRIGGER note_truncated;

-- Whoever is banned logs in no more. A session is created under the lock of its user, and so is a ban.
CREATE FUNCTION transom.refuse_banned() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM transom.standings AS s WHERE s.username = NEW.username AND s.banned) THEN
    RAISE SQLSTATE 'PT403' USING message = 'the user is banned';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER refuse_banned BEFORE INSERT ON transom.sessions
  FOR EACH ROW EXECUTE FUNCTION transom.refuse_banned();

CREATE FUNCTION transom.show_standing(username text) RETURNS json
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT json_build_object('not_before', coalesce(max(s.not_before), 0), 'banned', coalesce(bool_or(s.banned), false))
    FROM transom.standings AS s WHERE s.username = $1
$$;

CREATE FUNCTION transom.read_standing(username text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM transom.refuse_on_standby();
  RETURN transom.show_standing($1);
END
$$;

-- One transaction for all that a user loses: sessions ('', 'one', 'all but') and tokens ('keep', 'outdate', 'ban', 'readmit').
-- The second that has begun is over before a token of it may count again.
CREATE FUNCTION transom.change_user(username text, ends text, hash text, tokens text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  gone bigint := 0;
  next_second bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('transom.sessions ' || $1, 0));
  IF $2 <> '' THEN
    PERFORM FROM (SELECT FROM transom.sessions AS s WHERE s.username = $1 ORDER BY s.id FOR UPDATE) AS l;
    DELETE FROM transom.sessions AS s WHERE s.username = $1 AND s.expires_at > clock_timestamp()
      AND (s.token_hash = $3) = ($2 = 'one');
    GET DIAGNOSTICS gone = ROW_COUNT;
  END IF;
  -- After the lock: a token that was issued while it was waited for is one issued before.
  next_second := floor(extract(epoch FROM clock_timestamp()))::bigint + 1;
  IF $4 IN ('outdate', 'readmit') THEN
    INSERT INTO transom.standings AS s (username, not_before) VALUES ($1, next_second)
      ON CONFLICT (username) DO UPDATE SET not_before = greatest(s.not_before, excluded.not_before),
        banned = s.banned AND $4 <> 'readmit';
  ELSIF $4 = 'ban' THEN
    INSERT INTO transom.standings AS s (username, not_before, banned) VALUES ($1, next_second, true)
      ON CONFLICT (username) DO UPDATE SET not_before = greatest(s.not_before, excluded.not_before), banned = true;
  END IF;
  PERFORM transom.commit_durably();
  RETURN json_build_object('ended', gone, 'standing', transom.show_standing($1), 'noted',
    (SELECT coalesce(json_agg(r.id), '[]') FROM transom.revocations AS r WHERE r.xid = txid_current()));
END
$$;

REVOKE ALL ON TABLE transom.standings FROM PUBLIC;
REVOKE ALL ON FUNCTION transom.note_standings(text[]), transom.note_made_standings(), transom.note_changed_standings(),
  transom.note_deleted_standings(), transom.refuse_banned(), transom.show_standing(text), transom.read_standing(text),
  transom.change_user(text, text, text, text) FROM PUBLIC;
