CREATE TABLE transom.locks (
  name text PRIMARY KEY,
  owner text NOT NULL,
  fence bigint NOT NULL,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE transom.locks IS
  'one row per name that was ever locked, because fences must only grow; may be deleted a day after it expired';

-- The highest fence that was shown to this database, by the name of its lock.
CREATE TABLE transom.fences (
  name text PRIMARY KEY,
  highest bigint NOT NULL
) WITH (fillfactor = 50);

-- What was granted must outlive a crash of the server, also where commits need not in general.
CREATE FUNCTION transom.commit_durably() RETURNS void LANGUAGE sql AS $$
  SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local')
$$;

-- Fences are the time in microseconds, or one more than the last: they grow also past a row that was deleted.
CREATE FUNCTION transom.acquire_lock(
  name text, owner text, ttl_ms bigint, OUT granted boolean, OUT fence bigint, OUT remaining_ms bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
  there transom.locks;
  present timestamptz;
BEGIN
  INSERT INTO transom.locks VALUES (name, '', 0, '-infinity') ON CONFLICT DO NOTHING;
  SELECT * INTO there FROM transom.locks AS l WHERE l.name = name FOR UPDATE;
  present := clock_timestamp();
  granted := there.owner = owner OR there.expires_at <= present;
  IF NOT granted THEN
    fence := there.fence;
    remaining_ms := ceil(extract(epoch FROM there.expires_at - present) * 1000);
    RETURN;
  END IF;
  fence := there.fence;
  IF there.owner <> owner OR there.expires_at <= present THEN
    fence := greatest(there.fence + 1, (extract(epoch FROM present) * 1000000)::bigint);
  END IF;
  remaining_ms := ttl_ms;
  UPDATE transom.locks AS l SET owner = acquire_lock.owner, fence = acquire_lock.fence,
    expires_at = present + ttl_ms * interval '1 millisecond' WHERE l.name = name;
  PERFORM transom.commit_durably();
END
$$;

CREATE FUNCTION transom.renew_lock(name text, owner text, ttl_ms bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
  renewed bigint;
BEGIN
  UPDATE transom.locks AS l SET expires_at = clock_timestamp() + ttl_ms * interval '1 millisecond'
    WHERE l.name = name AND l.owner = owner AND l.expires_at > clock_timestamp() RETURNING l.fence INTO renewed;
  PERFORM transom.commit_durably();
  RETURN renewed;
END
$$;

CREATE FUNCTION transom.release_lock(name text, owner text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
  UPDATE transom.locks AS l SET owner = '', expires_at = '-infinity'
    WHERE l.name = name AND l.owner = owner AND l.expires_at > clock_timestamp();
  RETURN FOUND;
END
$$;

CREATE FUNCTION transom.look_at_lock(name text, OUT fence bigint, OUT remaining_ms bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT l.fence, ceil(extract(epoch FROM l.expires_at - clock_timestamp()) * 1000)::bigint
    FROM transom.locks AS l WHERE l.name = $1 AND l.expires_at > clock_timestamp()
$$;

-- To be called by what the lock protects, in the transaction that writes. It waits for writers with another fence, and
-- refuses a fence lower than one that was shown before; PostgREST and Transom make 409 of that.
CREATE FUNCTION transom.admit_fence(lock text, fence bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO transom.fences AS f VALUES (lock, fence)
    ON CONFLICT (name) DO UPDATE SET highest = excluded.highest WHERE f.highest <= excluded.highest;
  IF NOT FOUND THEN
    RAISE SQLSTATE 'PT409' USING message = format('the fence %s of the lock %s is outdated', fence, lock),
      hint = 'somebody else got the lock: acquire it again';
  END IF;
END
$$;

REVOKE ALL ON TABLE transom.locks, transom.fences FROM PUBLIC;
REVOKE ALL ON FUNCTION transom.commit_durably(), transom.acquire_lock(text, text, bigint),
  transom.renew_lock(text, text, bigint), transom.release_lock(text, text), transom.look_at_lock(text),
  transom.admit_fence(text, bigint) FROM PUBLIC;
