//! The tables that are written and read, made for the purpose: every value says which write it comes from.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::question::{BY_CLAIM, BY_ROLE, GROUPS, ITEMS, PARTS, ROLES, SHELVES, SUBJECTS, ZEROS};

/// The name of the database.
pub const DATABASE: &str = "checker";
/// With what the tokens of the readers are signed.
pub const SECRET: &str = "a secret of the consistency checker, as long as HS256 wants it";

/// The bearer token of a user.
///
/// # Panics
/// Never: the key fits the algorithm.
#[must_use]
pub fn bearer((role, sub): (&str, &str)) -> String {
    let claims = json!({ "role": role, "sub": sub });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a key for HS256")
}

/// Everything, for an empty schema `public`.
#[must_use]
pub fn sql() -> String {
    // Arrays of SQL begin with 1.
    let turn = |names: &[&str]| format!("(array['{}'])[1 + id % {}]", names.join("', '"), names.len());
    let (owners, roles) = (turn(&SUBJECTS), turn(&ROLES));
    let (items, parts, by_role, by_claim, groups) = (ITEMS - 1, PARTS - 1, BY_ROLE - 1, BY_CLAIM - 1, GROUPS - 1);
    let zeros: String = (0..ZEROS).map(|column| format!(", zero_{column} int not null default 0")).collect();
    format!(
        "
create role checker_a; create role checker_b;
grant usage on schema public to checker_a, checker_b;

create table item (id int primary key, shelf int not null, version bigint not null,
    phase int not null generated always as (version % 2) stored);
insert into item (id, shelf, version) select id, id % {SHELVES}, 0 from generate_series(0, {items}) id;

create table part (id int primary key, item_id int not null references item, version bigint not null{zeros});
alter table part replica identity full;
insert into part (id, item_id, version) select id, id / 2, 0 from generate_series(0, {parts}) id;

create table by_role (id int primary key, owner text not null, version bigint not null);
insert into by_role select id, {roles}, 0 from generate_series(0, {by_role}) id;
alter table by_role enable row level security;
create policy own on by_role to checker_a, checker_b using (owner = current_user);

create table by_claim (id int primary key, owner text not null, version bigint not null);
insert into by_claim select id, {owners}, 0 from generate_series(0, {by_claim}) id;
alter table by_claim enable row level security;
create policy own on by_claim
    using (owner = (nullif(current_setting('request.jwt.claims', true), '')::json->>'sub'));

-- Its rows are counted. Each says how many there were with it.
create table ledger (grp int not null, version bigint not null, size int not null, primary key (grp, version));
insert into ledger select grp, 0, 1 from generate_series(0, {groups}) grp;
create schema aside;
create table aside.head (grp int primary key, version bigint not null);
insert into aside.head select grp, 0 from generate_series(0, {groups}) grp;
create function aside.post(in_grp int, in_version bigint) returns void language plpgsql as $$
declare rows int;
begin
    update aside.head set version = in_version where grp = in_grp and version < in_version;
    if not found then return; end if;
    select count(*) into rows from ledger where grp = in_grp;
    if rows >= 50 then
        delete from ledger where grp = in_grp;
        rows := 0;
    end if;
    insert into ledger values (in_grp, in_version, rows + 1);
end $$;

-- For a backlog: changes that the feed has to read and nobody waits for.
create table bulk (id int primary key, touched bigint not null default 0);
insert into bulk select id from generate_series(1, 5000) id;

grant select, update on item, part to web_anon;
grant select on ledger to web_anon;
grant select on by_role, by_claim to checker_a, checker_b;
"
    )
}
