-- What the sample has no example of. Roles belong to the whole cluster, which other tests share.
create schema shop;
create schema odd;

create type shop.mood as enum ('sad', 'ok', 'happy');
create domain shop.percent as int check (value between 0 and 100);
create type shop.point2 as (x int, y int);

-- Types of all sorts.
create table shop.things (
    id      int primary key,
    big     bigint,
    num     numeric(12, 3),
    flo     double precision,
    yes     boolean,
    name    text,
    code    varchar(8),
    fixed   char(4),
    day     date,
    at      timestamp,
    at_tz   timestamptz,
    clock   time,
    span    interval,
    uid     uuid,
    doc     json,
    docb    jsonb,
    ints    int[],
    words   text[],
    range   int4range,
    days    daterange,
    mood    shop.mood,
    bytes   bytea,
    ip      inet,
    pct     shop.percent,
    pt      shop.point2,
    tsv     tsvector
);
insert into shop.things values
    (1, 9007199254740993, 12.500, 1.5, true, 'one', 'a', 'ab', '2024-02-29', '2024-02-29 12:34:56', '2024-02-29 12:34:56.789+01',
     '12:34:56', '1 day 02:03:04', '11111111-1111-1111-1111-111111111111', '{"b": 1, "a": {"c": [1, 2, {"d": "x"}]}}',
     '{"b": 1, "a": {"c": [1, 2, {"d": "x"}]}, "longer key": null}', '{1,2,3}', '{a,"b c","d,e"}', '[1,5)', '[2024-01-01,2024-02-01)',
     'happy', '\x00ff', '10.0.0.1', 50, '(1,2)', to_tsvector('english', 'The quick brown fox')),
    (2, -1, -0.001, 'NaN', false, 'two "quoted", (paren)', 'b', 'c', '0044-03-15 BC', '-infinity', 'infinity', '00:00', '-1 mon',
     '22222222-2222-2222-2222-222222222222', '[]', '"text"', '{}', '{}', 'empty', '(,2024-01-01)', 'sad', '\x', 'fe80::1/64', 0,
     '(,)', to_tsvector('english', 'lazy dogs jump')),
    (3, 0, 0, '-Infinity', null, '', '', '', '1970-01-01', '1970-01-01', '1970-01-01 00:00+00', '23:59:59.999', '0',
     null, 'null', 'null', '{NULL,1}', '{NULL,""}', '(,)', null, 'ok', null, null, 100, null, ''),
    (4, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
     null, null, null, null),
    (5, 5, 99999.999, 1e300, true, E'line\nbreak\ttab \\ back', 'c%', 'd_', '2000-01-01', '2000-01-01', '2000-01-01 00:00+00', '01:02', '1 year',
     '33333333-3333-3333-3333-333333333333', '{"a": "x"}', '{"a": "x", "n": 12345678901234567890.5}', '{5}', '{ünï,"%"}', '[5,10)',
     '[2024-01-15,2024-03-01)', 'happy', '\xdeadbeef', '10.0.0.0/8', 7, '(3,)', to_tsvector('english', 'fox and dogs'));

-- One to many, many to many, one to one, a table related to itself, composite keys, ambiguous relationships.
create table shop.clients (id int primary key, name text not null, note text, parent_id int references shop.clients);
create table shop.projects (id int primary key, name text not null, client_id int references shop.clients,
    billed_to int constraint billed_to_client references shop.clients);
create table shop.details (project_id int primary key references shop.projects, text text);
create table shop.tasks (id int primary key, title text not null, project_id int references shop.projects, done boolean default false);
create table shop.users (id int primary key, name text not null);
create table shop.users_tasks (user_id int references shop.users, task_id int references shop.tasks, primary key (user_id, task_id));
create table shop.units (org text, unit text, size int, primary key (org, unit));
create table shop.members (id int primary key, name text, org text, unit text, foreign key (org, unit) references shop.units);
insert into shop.clients values (1, 'Acme', 'x', null), (2, 'Bell', null, 1), (3, 'Corp', 'y', 1), (4, 'Dent', '', 2);
insert into shop.projects values (1, 'Anvil', 1, 2), (2, 'Bolt', 1, 1), (3, 'Crane', 2, null), (4, 'Drill', 3, 3), (5, 'Egg', null, 1);
insert into shop.details values (1, 'heavy'), (3, 'tall'), (5, null);
insert into shop.tasks values (1, 'plan', 1, true), (2, 'build', 1, false), (3, 'test', 1, null), (4, 'plan', 2, true), (5, 'sell', 3, false),
    (6, 'idle', null, false);
insert into shop.users values (1, 'Ann'), (2, 'Bob'), (3, 'Cid'), (4, 'Dan, "the man"');
insert into shop.users_tasks values (1, 1), (1, 2), (2, 1), (2, 4), (3, 5), (4, 6);
insert into shop.units values ('a', 'x', 1), ('a', 'y', 2), ('b', 'x', 3);
insert into shop.members values (1, 'Eve', 'a', 'x'), (2, 'Fay', 'a', 'x'), (3, 'Gus', 'b', 'x'), (4, 'Hal', null, null), (5, 'Ida', 'a', null);

create view shop.open_tasks as select id, title, project_id from shop.tasks where not coalesce(done, false);
create view shop.project_names as select p.id, p.name as label, p.client_id, c.name as client from shop.projects p
    left join shop.clients c on c.id = p.client_id;
create materialized view shop.sizes as select org, sum(size) as total from shop.units group by org;
create function shop.full_name(shop.clients) returns text language sql stable as $$ select $1.name || coalesce('/' || $1.note, '') $$;
create function shop.top_task(shop.projects) returns setof shop.tasks rows 1 language sql stable as
    $$ select * from shop.tasks where project_id = $1.id order by id limit 1 $$;
create function shop.open_of(shop.projects) returns setof shop.tasks language sql stable as
    $$ select * from shop.tasks where project_id = $1.id and not coalesce(done, false) $$;

-- Written to.
create table shop.items (
    id      int generated by default as identity (start with 1000) primary key,
    name    text not null,
    price   numeric default 1.5 check (price >= 0),
    tags    text[] default '{new}',
    doc     jsonb,
    double  numeric generated always as (price * 2) stored,
    made    date default '2024-01-01',
    client_id int references shop.clients
);
insert into shop.items (id, name, price) values (1, 'bolt', 1), (2, 'nut', 2), (3, 'pin', 3), (4, 'cog', null), (5, 'cam', 3);
create table shop.pairs (a int, b text, value int, note text default 'none', primary key (a, b), unique (value));
insert into shop.pairs values (1, 'x', 10, 'first'), (1, 'y', 11, default), (2, 'x', 20, null);
create table shop.keyless (word text, number int);
insert into shop.keyless values ('a', 1), ('a', 1), ('b', 2);
create view shop.item_names as select id, name from shop.items;
create view shop.summary as select client_id, count(*) as items from shop.items group by client_id;
create view shop.upper_items as select id, upper(name) as name from shop.items;
create function shop.put_upper() returns trigger language plpgsql as $$ begin
    if tg_op = 'DELETE' then delete from shop.items where id = old.id; return old; end if;
    if tg_op = 'UPDATE' then update shop.items set name = lower(new.name) where id = old.id; return new; end if;
    insert into shop.items (id, name) values (new.id, lower(new.name)); return new;
end $$;
create trigger put_upper instead of insert or update or delete on shop.upper_items for each row execute function shop.put_upper();

-- Functions of every shape.
create function shop.add(a int, b int default 10) returns int language sql immutable as $$ select a + b $$;
create function shop.over(a int) returns text language sql immutable as $$ select 'int'::text $$;
create function shop.over(a int, b int) returns text language sql immutable as $$ select 'two'::text $$;
create function shop.join_all(variadic words text[]) returns text language sql immutable as $$ select array_to_string(words, '+') $$;
create function shop.whole(json) returns json language sql immutable as $$ select $1 $$;
create function shop.shout(text) returns text language sql immutable as $$ select upper($1) $$;
create function shop.nothing() returns void language sql stable as $$ select $$;
create function shop.null_int() returns int language sql stable as $$ select null::int $$;
create function shop.list_ints(n int default 3) returns setof int language sql stable as $$ select generate_series(1, n) $$;
create function shop.get_tasks(project int) returns setof shop.tasks language sql stable rows 10 as
    $$ select * from shop.tasks where project_id = project $$;
create function shop.one_client(id int) returns shop.clients language sql stable as
    $$ select * from shop.clients c where c.id = one_client.id $$;
create function shop.as_table(n int) returns table (num int, txt text) language sql stable as
    $$ select g, 'n' || g from generate_series(1, n) g $$;
create function shop.out_args(in a int, out double int, out half numeric) language sql stable as $$ select a * 2, a / 2.0 $$;
create function shop.one_out(out word text) language sql stable as $$ select 'out'::text $$;
create function shop.inout_arg(inout n int) language sql stable as $$ select n + 1 $$;
create function shop.get_point() returns shop.point2 language sql stable as $$ select (1, 2)::shop.point2 $$;
create function shop.a_record() returns record language sql stable as $$ select 1 as a, 'x'::text as b $$;
create function shop.an_array(a int[]) returns int[] language sql stable as $$ select a $$;
create function shop.a_json(doc jsonb) returns jsonb language sql stable as $$ select doc $$;
create function shop.rename_client(id int, name text) returns setof shop.clients language sql volatile as
    $$ update shop.clients c set name = rename_client.name where c.id = rename_client.id returning * $$;
create function shop.bump() returns int language sql volatile as $$ select 1 $$;
create function shop.fail(code text, message text) returns void language plpgsql as $$ begin
    raise exception using errcode = code, message = message, detail = 'a detail', hint = 'a hint';
end $$;
create function shop."odd name"("an arg" int) returns int language sql immutable as $$ select $1 $$;

-- Row-level security.
create table shop.secrets (id int primary key, owner text, text text);
insert into shop.secrets values (1, 'web_anon', 'mine'), (2, 'other', 'not mine');
alter table shop.secrets enable row level security;
create policy own on shop.secrets using (owner = current_user) with check (owner = current_user);

create table shop.hidden (id int primary key);

-- Odd names.
create table odd."a table" ("a column" int primary key, "quo""te" text, "ünï" text, "dot.ted" int, "com,ma" int, "pa(ren)" int, "select" int,
    "Upper" int);
insert into odd."a table" values (1, 'q', 'ü', 1, 2, 3, 4, 5), (2, null, null, null, null, null, null, null);
create table odd.clients (id int primary key, odd boolean);
insert into odd.clients values (1, true), (9, false);

comment on schema shop is E'The shop\n\nAll that is sold.';
comment on table shop.items is E'What is sold\nby the piece';
comment on column shop.items.name is 'as it is called';
comment on view shop.item_names is 'names alone';
comment on function shop.add(int, int) is E'Adds\n\ntwo numbers';

grant usage on schema shop, odd, public to web_anon;
grant select, insert, update, delete on all tables in schema shop, odd to web_anon;
grant usage on all sequences in schema shop to web_anon;
revoke all on shop.hidden from web_anon;
