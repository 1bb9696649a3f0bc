//! Settings that PostgREST has too, and that change more than one answer.

use reqwest::Method;

use super::exchange::Ask;
use super::pair::Pair;

/// Made by OpenSSL: a key on P-521, and a token that it signed with ES512.
const P521: &str = r#"{"kty":"EC","crv":"P-521",
    "x":"AD-I67qP7p9kUhNITPwFBzq0TCFWyxfgg0aWTxuj419bw5eOY4PAAhtG2R5o9A7rb6FVmzhcQrC9BTpHeK49yJpR",
    "y":"AXcBjCwAQeo8zsX0nYdcbNejspIdWX2EryFDTYQiPkUWSNCf_it5NaK0pOijY4IgGC8Mm4G2pnNmdbJPamDwDNMT"}"#;
const TOKEN: &str = "eyJhbGciOiJFUzUxMiJ9.eyJyb2xlIjoib3JhY2xlX21lbWJlciIsInN1YiI6ImFubiJ9.AYIWGD4stWtVGW8iZ4cLIzjxemSTTS\
    wo3XNOMrSG3oNB9CINoViLd9lbhg9TzCFF3vUMjfJCfkdhNGJRaHcro91jAcHpXlR1RSsVNpXnQ8HCkYl7RfdIyfBnwzcoF5BGH7\
    ecQcJJaIf_yYye_gTT0r4AXpR9BgguATRYLXG8qh6Vtxk-";

#[tokio::test]
async fn es512_is_verified_alike() {
    let pair = Pair::with(&[("jwt_secret", P521)]).await;
    let ask = |token: &str| Ask::get("/notes?order=id").header("Authorization", format!("Bearer {token}"));
    let exchange = &pair.ask(&ask(TOKEN)).await[0];
    assert_eq!(exchange.theirs.status, 200, "{exchange}");
    let (message, signature) = TOKEN.rsplit_once('.').expect("three parts");
    let forged = format!("{message}.{}AAAA", &signature[..signature.len() - 4]);
    pair.compare(vec![ask(TOKEN), ask(&forged)]).await;
}

#[tokio::test]
async fn functions_find_the_settings_of_the_application() {
    const SETTINGS: [(&str, &str); 3] = [("plain", "value"), ("Odd", "it's \\ \"so\"\t= ü "), ("other", "$1")];
    let pair = Pair::with_app_settings(
        &SETTINGS,
        "create function shop.app_setting(name text) returns text language sql stable \
         as $$ select current_setting('app.settings.' || name, true) $$; \
         create function shop.forget_setting(name text) returns text language sql volatile \
         as $$ select set_config('app.settings.' || name, 'forgotten', true) $$",
    )
    .await;
    let call = |function: &str, name: &str| {
        Ask::new(Method::POST, format!("/rpc/{function}")).json(format!("{{\"name\":\"{name}\"}}"))
    };
    // One that was never there would leave an empty one behind, on its connection alone.
    let forgotten = ["plain", "odd", "ODD", "other"].map(|name| call("forget_setting", name));
    let found = ["plain", "odd", "ODD", "other", "nosuch"]
        .into_iter()
        .flat_map(|name| [Ask::get(format!("/rpc/app_setting?name={name}")), call("app_setting", name)]);
    let asks = forgotten.into_iter().chain(found).collect();
    pair.compare(asks).await;
    let found = &pair.ask(&Ask::get("/rpc/app_setting?name=odd")).await[0];
    assert_eq!(found.ours.json(), SETTINGS[1].1);
}

/// By role, by role and database, and by function; and what counts if several say something.
#[tokio::test]
async fn settings_in_the_database_count_alike() {
    let sql = |database: &str| {
        format!(
            "alter role current_user in database {database} set pgrst.db_max_rows = '2'; \
             alter role current_user in database {database} set pgrst.db_aggregates_enabled = 'true'; \
             alter role current_user in database {database} set pgrst.db_schemas = 'shop, odd'; \
             alter role current_user in database {database} set pgrst.jwt_aud = ''; \
             create function shop.settings() returns void language plpgsql as $$ begin \
             perform set_config('pgrst.db_max_rows', '1', true), set_config('pgrst.db_plan_enabled', 'true', true); end $$"
        )
    };
    let pair = Pair::with_stored_settings("shop.settings", sql).await;
    let asks = [
        Ask::get("/clients?select=id&order=id"),
        Ask::get("/clients?select=count()"),
        Ask::get("/a%20table").header("Accept-Profile", "odd"),
        Ask::get("/airlines").header("Accept-Profile", "public"),
        Ask::get("/clients").header("Authorization", "Bearer x"),
    ];
    pair.compare(asks.into()).await;
    let plan = Ask::get("/clients?select=id").header("Accept", "application/vnd.pgrst.plan");
    let asked = &pair.ask(&plan).await[0];
    assert_eq!((asked.theirs.status, asked.ours.status), (200, 200), "{asked}");
    let rows = &pair.ask(&Ask::get("/clients?select=id&order=id")).await[0];
    assert_eq!(rows.theirs.json().as_array().map(Vec::len), Some(2), "the role counts more than the function: {rows}");
}
