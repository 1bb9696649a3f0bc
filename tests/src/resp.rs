//! Just enough of the Redis protocol (RESP2) to ask a question and read the answer.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `:1`
    Integer(i64),
    /// `$3 foo`
    Bulk(Vec<u8>),
    /// nothing under that name
    Nil,
    /// several
    Array(Vec<Reply>),
}

impl Reply {
    /// As text, if it is a string.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::Integer(_) | Self::Nil | Self::Array(_) => None,
        }
    }
}

/// Sends one command on a connection of its own.
///
/// # Errors
/// What the connection or Redis said.
pub(crate) async fn command(port: u16, words: &[&str]) -> io::Result<Reply> {
    let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let mut message = format!("*{}\r\n", words.len());
    for word in words {
        message.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    connection.write_all(message.as_bytes()).await?;
    read_reply(&mut connection).await
}

async fn read_reply(connection: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    match kind {
        "+" => Ok(Reply::Simple(rest.to_owned())),
        "-" => Err(io::Error::other(rest.to_owned())),
        ":" => Ok(Reply::Integer(number(rest)?)),
        "$" | "*" if rest == "-1" => Ok(Reply::Nil),
        "$" => {
            let mut bytes = vec![0; number::<usize>(rest)? + 2];
            connection.read_exact(&mut bytes).await?;
            bytes.truncate(bytes.len() - 2);
            Ok(Reply::Bulk(bytes))
        }
        "*" => {
            let mut replies = Vec::new();
            for _ in 0..number::<usize>(rest)? {
                replies.push(Box::pin(read_reply(connection)).await?);
            }
            Ok(Reply::Array(replies))
        }
        other => Err(io::Error::other(format!("no such kind of reply: {other}"))),
    }
}

fn number<N: std::str::FromStr>(text: &str) -> io::Result<N> {
    text.parse().map_err(|_| io::Error::other(format!("not a number: {text}")))
}
