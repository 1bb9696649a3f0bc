use std::time::Duration;

use tokio::net::UnixStream;

use super::*;

/// A message of the server.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

fn row(values: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default().as_bytes());
    }
    message(b'D', &body)
}

fn error(severity: &str, state: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0C{state}\0M{text}\0\0").as_bytes())
}

fn complete() -> Vec<u8> {
    message(b'C', b"SELECT 1\0")
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

fn session() -> (Wire, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Wire::over(Socket::Unix(ours)), theirs)
}

/// What a batch comes to that is answered like this, by a server that says no more.
async fn answered(wire: &mut Wire, server: &mut UnixStream, answer: &[Vec<u8>]) -> Result<Replies, Failure> {
    server.write_all(&answer.concat()).await.unwrap();
    let (replies, refused) = wire.exchange().await?;
    refused.map_or(Ok(replies), Err)
}

#[tokio::test]
async fn rows_belong_to_the_statement_that_brought_them() {
    let (mut wire, mut server) = session();
    let answer = [
        complete(),
        row(&[Some("set")]),
        complete(),
        row(&[Some("a"), None]),
        row(&[Some("b"), None]),
        complete(),
        ready(b'I'),
    ];
    let replies = answered(&mut wire, &mut server, &answer).await.unwrap();
    assert!(replies.rows(0).unwrap().is_empty());
    assert_eq!(replies.one(1).unwrap().get::<&str>(0, &Type::TEXT).unwrap(), "set");
    let rows = replies.rows(2).unwrap();
    let texts: Vec<&str> = rows.iter().map(|row| row.get(0, &Type::TEXT).unwrap()).collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(rows[0].get::<Option<&str>>(1, &Type::TEXT).unwrap(), None);
    assert!(matches!(rows[0].get::<&str>(2, &Type::TEXT), Err(Failure::Unreadable(_))), "there is no third column");
    assert!(matches!(replies.one(2), Err(Failure::Unreadable(_))), "two rows are not one");
    assert_eq!(wire.state(), State::Idle);
}

#[tokio::test]
async fn a_batch_goes_out_in_one_piece_with_one_sync() {
    let (mut wire, mut server) = session();
    for name in ["a", "b"] {
        wire.run(name, [Some("1"), None].into_iter(), Format::Binary).unwrap();
    }
    answered(&mut wire, &mut server, &[complete(), complete(), ready(b'I')]).await.unwrap();
    let mut sent = vec![0; 4096];
    let length = server.read(&mut sent).await.unwrap();
    let mut rest = &sent[..length];
    let mut tags = String::new();
    while let [tag, a, b, c, d, ..] = *rest {
        tags.push(char::from(tag));
        rest = &rest[1 + u32::from_be_bytes([a, b, c, d]) as usize..];
    }
    assert_eq!(tags, "BEBES", "bind and execute twice, then sync");
}

#[tokio::test]
async fn a_refusal_is_told_and_leaves_the_transaction_open() {
    let (mut wire, mut server) = session();
    let answer = [complete(), error("ERROR", "42501", "permission denied"), ready(b'E')];
    let failure = answered(&mut wire, &mut server, &answer).await.unwrap_err();
    let refusal = failure.refusal().unwrap();
    assert_eq!((refusal.state.code(), &*refusal.message), ("42501", "permission denied"));
    assert_eq!(wire.state(), State::InTransaction);
    let answer = [complete(), ready(b'I')];
    answered(&mut wire, &mut server, &answer).await.unwrap();
    assert_eq!(wire.state(), State::Idle);
}

#[tokio::test]
async fn what_came_before_a_refusal_is_there() {
    let (mut wire, mut server) = session();
    let answer = [
        complete(),
        row(&[Some("a")]),
        complete(),
        row(&[Some("half")]),
        error("ERROR", "22012", "division by zero"),
        ready(b'E'),
    ];
    server.write_all(&answer.concat()).await.unwrap();
    let (replies, refused) = wire.exchange().await.unwrap();
    assert_eq!(refused.unwrap().refusal().unwrap().state.code(), "22012");
    assert_eq!(replies.one(1).unwrap().get::<&str>(0, &Type::TEXT).unwrap(), "a");
    assert_eq!(replies.executed, 2, "the third was not run to its end");
}

#[tokio::test]
async fn who_is_cut_off_hears_why() {
    let (mut wire, mut server) = session();
    server.write_all(&error("FATAL", "57P01", "terminating connection")).await.unwrap();
    server.shutdown().await.unwrap();
    let failure = wire.exchange().await.unwrap_err();
    assert_eq!(failure.refusal().unwrap().state.code(), "57P01");
    assert_eq!(wire.state(), State::Busy);
    let (mut wire, server) = session();
    drop(server);
    assert!(matches!(wire.exchange().await, Err(Failure::Broken(_))));
}

#[tokio::test]
async fn an_idle_session_knows_when_it_has_ended() {
    let (mut wire, mut server) = session();
    assert!(wire.is_alive());
    server.write_all(&message(b'S', b"TimeZone\0UTC\0")).await.unwrap();
    let Socket::Unix(stream) = &wire.socket else { panic!("it is a unix socket") };
    stream.readable().await.unwrap();
    assert!(wire.is_alive(), "a changed setting is no end");
    server.write_all(&error("FATAL", "57P01", "terminating connection")).await.unwrap();
    let Socket::Unix(stream) = &wire.socket else { panic!("it is a unix socket") };
    stream.readable().await.unwrap();
    assert!(!wire.is_alive());
    let (mut wire, server) = session();
    drop(server);
    let Socket::Unix(stream) = &wire.socket else { panic!("it is a unix socket") };
    stream.readable().await.unwrap();
    assert!(!wire.is_alive());
}

#[tokio::test]
async fn who_goes_away_in_between_leaves_a_busy_session() {
    let (mut wire, mut server) = session();
    server.write_all(&row(&[Some("a")])).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), wire.exchange()).await.is_err());
    assert_eq!(wire.state(), State::Busy);
}

#[tokio::test]
async fn a_message_may_come_in_pieces() {
    let (mut wire, mut server) = session();
    let answer = [row(&[Some("whole")]), complete(), ready(b'I')].concat();
    let dribble = async {
        for byte in answer {
            server.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (replies, ()) = tokio::join!(wire.exchange(), dribble);
    assert_eq!(replies.unwrap().0.one(0).unwrap().get::<&str>(0, &Type::TEXT).unwrap(), "whole");
}

#[test]
fn only_jsonb_has_a_version_in_front() {
    let yielded = Yielded { jsonb: Some(2) };
    assert_eq!((yielded.raw(2), yielded.raw(1)), (Type::JSONB, Type::BYTEA));
    assert_eq!(Yielded::default().raw(2), Type::BYTEA);
}
