DROP FUNCTION transom.admit_fence(text, bigint);
DROP FUNCTION transom.look_at_lock(text);
DROP FUNCTION transom.release_lock(text, text);
DROP FUNCTION transom.renew_lock(text, text, bigint);
DROP FUNCTION transom.acquire_lock(text, text, bigint);
DROP FUNCTION transom.commit_durably();
DROP TABLE transom.fences;
DROP TABLE transom.locks;
