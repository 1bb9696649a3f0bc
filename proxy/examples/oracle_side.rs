use std::io::{BufRead, Write};
use transom::rest::*;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (client, conn) = tokio_postgres::connect(&args[1], tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(conn);
    let schemas: Vec<String> = args[2].split(',').map(str::to_owned).collect();
    let cache = load_schema(&client, &schemas).await.unwrap();
    if args.get(3).map(String::as_str) == Some("dump") {
        for r in cache.relations() {
            println!(
                "{}.{} {:?}\n   reads {:?}\n   ins {:?} upd {:?} pk {:?}\n   cols {:?}",
                r.id.schema,
                r.id.name,
                r.kind,
                r.reads,
                r.changes_of_insert,
                r.changes_of_update,
                r.primary_key,
                r.columns
                    .iter()
                    .map(|c| format!("{} {} {:?} {:?} {:?}", c.name, c.sql_type, c.family, c.fill, c.default))
                    .collect::<Vec<_>>()
            );
        }
        println!("{:?}\n{:x}", cache.foreign_keys(), cache.fingerprint());
        return;
    }
    let settings = Settings { schemas, max_rows: None };
    for line in std::io::stdin().lock().lines() {
        let v: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let mut headers = http::HeaderMap::new();
        for h in v["headers"].as_array().unwrap() {
            headers.append(
                http::HeaderName::try_from(h[0].as_str().unwrap()).unwrap(),
                h[1].as_str().unwrap().parse().unwrap(),
            );
        }
        let method: http::Method = v["method"].as_str().unwrap().parse().unwrap();
        let body = bytes::Bytes::from(v["body"].as_str().unwrap().to_owned());
        let inbound = Inbound {
            method: &method,
            path: v["path"].as_str().unwrap(),
            query: v["query"].as_str(),
            headers: &headers,
            body: &body,
        };
        let out = run(&client, &inbound, &cache, &settings).await;
        println!("{out}");
        std::io::stdout().flush().unwrap();
    }
}
fn prob(p: transom::error::Problem) -> serde_json::Value {
    serde_json::json!({"status": p.status.as_u16(), "headers": [["content-type","application/json; charset=utf-8"]], "body": serde_json::json!({"code":p.code,"message":p.message,"details":p.details,"hint":p.hint}).to_string()})
}
async fn run(
    client: &tokio_postgres::Client,
    inbound: &Inbound<'_>,
    cache: &SchemaCache,
    settings: &Settings,
) -> serde_json::Value {
    let plan = match plan(inbound, cache, settings) {
        Ok(p) => p,
        Err(e) => return prob(e.problem()),
    };
    let (statement, schema) = match &plan {
        Plan::Read(p) => (&p.statement, &p.schema),
        Plan::Write(p) => (&p.statement, &p.schema),
    };
    client
        .batch_execute(&format!("begin; set local role anon; set local search_path = \"{schema}\", public"))
        .await
        .unwrap();
    let res = async {
        let st = client.prepare(&statement.sql).await?;
        use futures_util::TryStreamExt as _;
        let rows: Vec<_> = client.query_raw(&st, statement.params()).await?.try_collect().await?;
        Ok::<_, tokio_postgres::Error>(rows)
    }
    .await;
    client.batch_execute("rollback").await.unwrap();
    let rows = match res {
        Ok(r) => r,
        Err(e) => match e.as_db_error() {
            Some(d) => return prob(problem_of_db_error(d, Caller::Anonymous)),
            None => {
                return serde_json::json!({"status": 599, "headers": [], "body": format!("{e:?} {}", statement.sql)});
            }
        },
    };
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    let answer = Answer {
        total: row.get(0),
        page: row.get(1),
        body: row.get::<_, String>(2).into(),
        location: if row.len() > 3 { row.get(3) } else { None },
    };
    let (rendered, extra) = match &plan {
        Plan::Read(p) => (p.shape.answer(answer, &p.location), format!("{:?}", p.reads)),
        Plan::Write(p) => (p.shape.answer(answer), format!("{:?}", p.changes)),
    };
    match rendered {
        Ok(r) => {
            serde_json::json!({"status": r.status.as_u16(), "headers": r.headers.iter().map(|(k,v)| (k.as_str().to_owned(), v.to_str().unwrap_or("?").to_owned())).collect::<Vec<_>>(), "body": String::from_utf8_lossy(&r.body), "extra": extra, "sql": &*statement.sql})
        }
        Err(e) => prob(e.problem()),
    }
}
