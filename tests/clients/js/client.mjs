// The official JavaScript clients against a node: `node client.mjs postgrest-js|supabase-js URL TOKEN`. Exits with an error
// at the first thing that is not as it should be.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const [library, url, token] = process.argv.slice(2);
const require = createRequire(`${process.env.TRANSOM_CLIENTS}/package.json`);

// What the cache said about each answer, which the clients do not show.
const told = [];
const recordingFetch = async (...request) => {
  const answer = await fetch(...request);
  told.push(answer.headers.get('cache-status'));
  return answer;
};

function connect() {
  if (library === 'supabase-js') {
    const { createClient } = require('@supabase/supabase-js');
    // As services do it: the URL of the project and the key of the anonymous role.
    return createClient(url, token, {
      auth: { persistSession: false, autoRefreshToken: false },
      db: { schema: 'shop' },
      global: { fetch: recordingFetch },
    });
  }
  const { PostgrestClient } = require('@supabase/postgrest-js');
  return new PostgrestClient(`${url}/rest/v1`, { schema: 'shop', fetch: recordingFetch });
}

const client = connect();

/** Asks three times; the answers are the same, and the last one is a hit. */
async function read(question) {
  const answers = [await question(), await question(), await question()];
  const [first, second, third] = answers.map(({ data, error, count, status }) => ({ data, error, count, status }));
  assert.equal(first.error, null);
  assert.deepEqual(second, first);
  assert.deepEqual(third, first);
  assert.match(told.at(-1), /^transom; hit; detail=l1; ttl=\d+$/);
  return first;
}

/** A write, which must succeed. */
async function write(question) {
  const { data, error, count, status } = await question;
  assert.equal(error, null);
  return { data, count, status };
}

// Filters, order, limits.
let answer = await read(() => client.from('things').select('id, name').eq('id', 1));
assert.deepEqual(answer.data, [{ id: 1, name: 'one' }]);
answer = await read(() => client.from('things').select('id').gt('id', 1).lte('id', 4).neq('id', 3).order('id', { ascending: false }));
assert.deepEqual(answer.data, [{ id: 4 }, { id: 2 }]);
answer = await read(() => client.from('things').select('id').in('id', [1, 2, 5]).like('name', '%o%').order('id'));
assert.deepEqual(answer.data, [{ id: 1 }, { id: 2 }]);
answer = await read(() => client.from('things').select('id').in('name', ['one', 'a, b (c)']));
assert.deepEqual(answer.data, [{ id: 1 }]);
answer = await read(() => client.from('things').select('id').is('name', null));
assert.deepEqual(answer.data, [{ id: 4 }]);
answer = await read(() => client.from('things').select('id').or('id.eq.1,and(id.gt.4,yes.is.true)').order('id'));
assert.deepEqual(answer.data, [{ id: 1 }, { id: 5 }]);
answer = await read(() => client.from('things').select('id').contains('ints', [1, 2]).not('words', 'is', null));
assert.deepEqual(answer.data, [{ id: 1 }]);
answer = await read(() => client.from('things').select('id').overlaps('range', '[4,6)').order('id'));
assert.deepEqual(answer.data.map((row) => row.id), [1, 3, 5]);
answer = await read(() => client.from('things').select('id').textSearch('tsv', 'fox & dogs', { config: 'english' }));
assert.deepEqual(answer.data, [{ id: 5 }]);
answer = await read(() => client.from('things').select('id').match({ id: 1, yes: true }).ilike('name', 'ONE'));
assert.deepEqual(answer.data, [{ id: 1 }]);
answer = await read(() => client.from('things').select('d:docb->a->c->2->>d').eq('docb->a->c->2->>d', 'x'));
assert.deepEqual(answer.data, [{ d: 'x' }]);

// Counts, ranges, singular answers, CSV.
answer = await read(() => client.from('things').select('id', { count: 'exact' }).order('id').range(1, 2));
assert.deepEqual([answer.data, answer.count, answer.status], [[{ id: 2 }, { id: 3 }], 5, 206]);
answer = await read(() => client.from('things').select('*', { count: 'exact', head: true }));
assert.deepEqual([answer.data, answer.count], [library === 'supabase-js' ? null : answer.data, 5]);
answer = await read(() => client.from('clients').select('name').eq('id', 1).single());
assert.deepEqual(answer.data, { name: 'Acme' });
answer = await read(() => client.from('clients').select('name').eq('id', 99).maybeSingle());
assert.equal(answer.data, null);
answer = await read(() => client.from('clients').select('id,name').lt('id', 3).order('id').csv());
assert.equal(answer.data, 'id,name\n1,Acme\n2,Bell');

// Related resources.
answer = await read(() => client.from('projects').select('name, owner:clients!client_id(name), tasks(title)').eq('id', 1).order('id', { referencedTable: 'tasks' }).limit(2, { referencedTable: 'tasks' }));
assert.deepEqual(answer.data, [{ name: 'Anvil', owner: { name: 'Acme' }, tasks: [{ title: 'plan' }, { title: 'build' }] }]);
answer = await read(() => client.from('users').select('name, tasks!inner(title)').eq('tasks.title', 'sell'));
assert.deepEqual(answer.data, [{ name: 'Cid', tasks: [{ title: 'sell' }] }]);

// Other schemas.
answer = await read(() => client.schema('odd').from('clients').select('id, odd').order('id'));
assert.deepEqual(answer.data, [{ id: 1, odd: true }, { id: 9, odd: false }]);

// Functions.
answer = await read(() => client.rpc('add', { a: 1, b: 2 }, { get: true }));
assert.equal(answer.data, 3);
assert.equal((await write(client.rpc('add', { a: 5 }))).data, 15);
assert.deepEqual((await write(client.rpc('get_tasks', { project: 1 }).select('id, title').order('id').limit(1))).data, [{ id: 1, title: 'plan' }]);

// Writes, each seen by the next read.
const names = () => read(() => client.from('items').select('name').gte('id', 7000).order('id'));
assert.deepEqual((await names()).data, []);
let written = await write(client.from('items').insert([{ id: 7000, name: 'a' }, { id: 7001, name: 'b' }]).select('id'));
assert.deepEqual([written.data, written.status], [[{ id: 7000 }, { id: 7001 }], 201]);
assert.deepEqual((await names()).data, [{ name: 'a' }, { name: 'b' }]);
await write(client.from('items').upsert({ id: 7001, name: 'B' }, { onConflict: 'id' }));
await write(client.from('items').upsert({ id: 7001, name: 'ignored' }, { onConflict: 'id', ignoreDuplicates: true }));
assert.deepEqual((await names()).data, [{ name: 'a' }, { name: 'B' }]);
written = await write(client.from('items').update({ name: 'A' }, { count: 'exact' }).eq('id', 7000));
assert.equal(written.count, 1);
assert.deepEqual((await names()).data, [{ name: 'A' }, { name: 'B' }]);
written = await write(client.from('items').delete().gte('id', 7000).select('name').order('id'));
assert.equal(written.data.length, 2);
assert.deepEqual((await names()).data, []);

// Errors.
let { error, status } = await client.from('nosuch').select();
assert.deepEqual([error.code, status], ['42P01', 404]);
({ error, status } = await client.from('items').insert({ id: 1, name: 'there' }));
assert.deepEqual([error.code, status], ['23505', 409]);
({ error, status } = await client.from('clients').select('name').single());
assert.deepEqual([error.code, status], ['PGRST116', 406]);
({ error, status } = await client.rpc('fail', { code: 'P0001', message: 'refused' }));
assert.deepEqual([error.code, error.message, error.details, error.hint, status], ['P0001', 'refused', 'a detail', 'a hint', 400]);
({ error, status } = await client.from('projects').select('*, clients(*)'));
assert.deepEqual([error.code, status], ['PGRST201', 300]);
({ error, status } = await client.schema('nosuch').from('clients').select());
assert.deepEqual([error.code, status], ['PGRST106', 406]);
