//! Against a Postgres that is played: what a session may do to others does not depend on SQL.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    time::timeout,
};

use super::{
    wire::{IDLE, session},
    *,
};

/// Nobody here is slow for so long, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where somebody's patience is to end.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("transom-switchboard-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn ready(status: u8) -> Message {
    Message::new(postgres::READY, &[status])
}

/// The next message; an error if the connection was closed.
async fn next(wire: &mut Wire) -> io::Result<Message> {
    timeout(PATIENCE, wire.message()).await.expect("a message in time")
}

/// The other end of the one connection.
async fn play(listener: &UnixListener) -> Wire {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection in time").unwrap();
    let mut wire = Wire::new(stream);
    let opening = timeout(PATIENCE, wire.opening()).await.expect("an opening in time").unwrap();
    assert_eq!(opening, Opening::Session { user: USER.to_owned(), database: DATABASE.to_owned() });
    answer(&mut wire, &[ready(IDLE)]).await;
    wire
}

async fn answer(wire: &mut Wire, messages: &[Message]) {
    messages.iter().for_each(|message| wire.put(message));
    wire.flush().await.unwrap();
}

async fn expect(wire: &mut Wire, message: &Message) {
    assert_eq!(&next(wire).await.unwrap(), message);
}

async fn session(path: &Path) -> Wire {
    let mut wire = Wire::new(UnixStream::connect(path).await.unwrap());
    wire.put_bytes(&Opening::ask(USER, DATABASE));
    wire.flush().await.unwrap();
    expect(&mut wire, &ready(IDLE)).await;
    wire
}

/// The reset that follows a session.
async fn expect_reset(played: &mut Wire) {
    let message = next(played).await.unwrap();
    assert!(message.tag() == session::QUERY && message.body().starts_with(b"RESET ROLE"), "{message:?}");
    answer(played, &[ready(IDLE)]).await;
}

/// A switchboard, where to connect, and the Postgres that it has.
async fn switchboard(folder: &Folder, patience: Duration) -> (Switchboard, PathBuf, Wire) {
    let (server, listen) = (folder.0.join("server"), folder.0.join("sessions"));
    let listener = UnixListener::bind(&server).unwrap();
    let switchboard = Switchboard::start(server, &listen, patience).unwrap();
    let played = play(&listener).await;
    (switchboard, listen, played)
}

#[tokio::test]
async fn nobody_gets_between_the_messages_of_a_transaction() {
    let folder = Folder::new();
    let (_switchboard, path, mut played) = switchboard(&folder, PATIENCE).await;
    let (mut one, mut other) = (session(&path).await, session(&path).await);
    let [begin, commit, select] = ["begin", "commit", "select"].map(Message::query);
    answer(&mut one, std::slice::from_ref(&begin)).await;
    expect(&mut played, &begin).await;
    answer(&mut other, std::slice::from_ref(&select)).await;
    answer(&mut played, &[ready(b'T')]).await;
    expect(&mut one, &ready(b'T')).await;
    answer(&mut one, std::slice::from_ref(&commit)).await;
    expect(&mut played, &commit).await;
    answer(&mut played, &[ready(IDLE)]).await;
    expect(&mut played, &select).await;
    answer(&mut played, &[ready(IDLE)]).await;
    expect(&mut other, &ready(IDLE)).await;
}

#[tokio::test]
async fn a_session_that_goes_leaves_no_transaction_and_no_statement_behind() {
    let folder = Folder::new();
    let (_switchboard, path, mut played) = switchboard(&folder, PATIENCE).await;
    let mut gone = session(&path).await;
    let (parse, sync) = (Message::new(session::PARSE, b"named\0begin\0\0\0"), Message::new(session::SYNC, b""));
    answer(&mut gone, &[parse.clone(), sync.clone()]).await;
    expect(&mut played, &parse).await;
    expect(&mut played, &sync).await;
    drop(gone);
    answer(&mut played, &[ready(b'T')]).await;
    expect(&mut played, &Message::query("ROLLBACK")).await;
    answer(&mut played, &[ready(IDLE)]).await;
    expect(&mut played, &Message::new(session::CLOSE, b"Snamed\0")).await;
    expect(&mut played, &sync).await;
    answer(&mut played, &[ready(IDLE)]).await;
    expect_reset(&mut played).await;
}

#[tokio::test]
async fn a_transaction_that_is_left_open_ends_its_session() {
    let folder = Folder::new();
    let (_switchboard, path, mut played) = switchboard(&folder, SHORT_PATIENCE).await;
    let mut silent = session(&path).await;
    let begin = Message::query("begin");
    answer(&mut silent, std::slice::from_ref(&begin)).await;
    expect(&mut played, &begin).await;
    answer(&mut played, &[ready(b'T')]).await;
    expect(&mut silent, &ready(b'T')).await;
    let told = next(&mut silent).await.unwrap();
    assert!(told.tag() == postgres::ERROR && told.body().windows(5).any(|text| text == b"25P03"), "{told:?}");
    expect(&mut played, &Message::query("ROLLBACK")).await;
    answer(&mut played, &[ready(IDLE)]).await;
    expect_reset(&mut played).await;
    assert!(next(&mut silent).await.is_err());
}

#[tokio::test]
async fn a_notification_reaches_who_listens_and_nobody_else() {
    let folder = Folder::new();
    let (_switchboard, path, mut played) = switchboard(&folder, PATIENCE).await;
    let (mut listens, mut notifies) = (session(&path).await, session(&path).await);
    let (listen, notify) = (Message::query("LISTEN heard"), Message::query("notify"));
    answer(&mut listens, std::slice::from_ref(&listen)).await;
    expect(&mut played, &listen).await;
    answer(&mut played, &[ready(IDLE)]).await;
    expect(&mut listens, &ready(IDLE)).await;
    answer(&mut notifies, std::slice::from_ref(&notify)).await;
    expect(&mut played, &notify).await;
    let said = |channel: &str| Message::new(postgres::NOTIFICATION, format!("\0\0\0\0{channel}\0\0").as_bytes());
    answer(&mut played, &[said("other"), said("heard"), ready(IDLE)]).await;
    expect(&mut notifies, &ready(IDLE)).await;
    expect(&mut listens, &said("heard")).await;
}

#[tokio::test]
async fn a_postgres_that_is_lost_is_lost_to_all_until_there_is_another() {
    let folder = Folder::new();
    let (server, listen) = (folder.0.join("server"), folder.0.join("sessions"));
    let listener = UnixListener::bind(&server).unwrap();
    let _switchboard = Switchboard::start(server, &listen, PATIENCE).unwrap();
    let played = play(&listener).await;
    let (mut one, mut other) = (session(&listen).await, session(&listen).await);
    answer(&mut one, &[Message::query("select")]).await;
    drop(played);
    assert!(next(&mut one).await.is_err() && next(&mut other).await.is_err());
    let (_played, _session) = tokio::join!(play(&listener), session(&listen));
}

#[tokio::test]
async fn other_roles_and_databases_are_refused_in_words() {
    let folder = Folder::new();
    let (_switchboard, path, _played) = switchboard(&folder, PATIENCE).await;
    for (user, database, state) in [("web_anon", DATABASE, "28000"), (USER, "other", "3D000")] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        // As libpq does before anything else.
        stream.write_all(&[8_u32.to_be_bytes(), 80_877_103_u32.to_be_bytes()].concat()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'N');
        stream.write_all(&Opening::ask(user, database)).await.unwrap();
        let mut told = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut told)).await.expect("an answer in time").unwrap();
        assert!(told.starts_with('E') && told.contains(state), "{told}");
    }
}
