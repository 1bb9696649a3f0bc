//! What is worth trying once the demo is up.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;

use super::super::ask;
use crate::config::Listeners;

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(25);
/// With the pauses above: half a minute.
const LOOKS_MAX: u32 = 1_200;

/// Waits until the node is ready and says what to try; silent if it never is, because then the node itself has spoken.
pub(super) async fn print_when_ready(listeners: Listeners, database_url: String) {
    let admin = listeners.admin_listen.to_string();
    for _ in 0..LOOKS_MAX {
        if ask::send(&admin, Method::GET, "/readyz", String::new()).await.is_ok_and(|answer| answer.status.is_success())
        {
            println!("{}", hints(listeners.listen, &listeners.rest_path, &database_url));
            return;
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

fn hints(listen: SocketAddr, rest_path: &str, database_url: &str) -> String {
    let url = format!("http://{listen}{rest_path}/flights?id=eq.1&select=id,carrier,flight,dest,dep_delay");
    format!(
        "
Ready. Worth trying, in this order:

  curl -i '{url}'
      from Postgres, and now in the cache:   Cache-Status: transom; fwd=uri-miss; stored

  curl -i '{url}'
      the same again, from memory:           Cache-Status: transom; hit; detail=l1

  curl -X PATCH '{url}' -H 'Content-Type: application/json' -d '{{\"dep_delay\": 99}}' && curl -i '{url}'
      a write, and the next read shows the new value at once, because the write announced what it changed

  psql '{database_url}' -c 'update flights set dep_delay = 7 where id = 1' && curl -i '{url}'
      the same past the proxy, by SQL: triggers recorded what changed, and the node heard of it

Ctrl-C ends it."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_can_be_pasted_into_a_shell() {
        let hints = hints("127.0.0.1:8000".parse().unwrap(), "/rest/v1", "postgres://postgres@/x?host=/tmp/y");
        let lines: Vec<&str> = hints.lines().filter(|line| line.trim_start().starts_with("curl ")).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.contains("'http://127.0.0.1:8000/rest/v1/flights?id=eq.1&")));
        assert!(lines[2].contains("-d '{\"dep_delay\": 99}'"));
        assert!(hints.contains("psql 'postgres://postgres@/x?host=/tmp/y' -c 'update"));
    }
}
