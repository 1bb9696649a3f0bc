//! What the API offers beyond rows: aggregates, counts, preferences, media types. What is expected was asked of PostgREST
//! 12.0.2 over the same schema.

mod aggregates;
mod counts;
mod filters;
mod media;
mod preferences;
mod said;
mod spread;

use transom_tests::{Database, Node, NodeBuilder, Postgres};

/// A schema small enough to count by hand.
const SCHEMA: &str = "
    create schema shop;
    create table shop.clients (id int primary key, name text not null);
    create table shop.projects (id int primary key, name text not null, client_id int references shop.clients,
        budget numeric, doc jsonb, note text);
    create table shop.tasks (id int primary key, name text, project_id int references shop.projects, effort float8);
    insert into shop.clients values (1, 'Ann'), (2, 'Bob'), (3, 'Cy');
    insert into shop.projects values
        (1, 'Mill', 1, 100.5, '{\"a\": {\"n\": 1}, \"t\": \"fat cats\"}', 'a fat cat'),
        (2, 'Dam', 1, 200, '{\"a\": {\"n\": 2}, \"t\": \"dogs\"}', 'big dogs'),
        (3, 'Well', 2, 300, null, null), (4, 'Pond', 2, null, '{\"t\": \"cat\"}', 'cats run'),
        (5, 'Orphan', null, 1, '{}', 'x');
    insert into shop.tasks select n, 't' || n, 1 + n % 4, n * 1.5 from generate_series(1, 8) n;
    grant usage on schema shop to web_anon;
    grant all on all tables in schema shop to web_anon;
    analyze;";

/// A database with that schema and `more`.
async fn shop(more: &str) -> Database {
    let database = Postgres::shared().await.database().await;
    database.execute(SCHEMA).await;
    database.execute(more).await;
    database
}

/// A node on it with these settings.
async fn node(database: &Database, settings: &[(&str, &str)]) -> Node {
    let builder = NodeBuilder::on(database).set("db_schemas", "shop");
    settings.iter().fold(builder, |builder, (name, value)| builder.set(name, *value)).start().await
}
