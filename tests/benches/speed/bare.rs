//! The ceiling: hyper alone, which gives one answer to whatever is asked. It runs in a process of its own, as this program
//! called by another name. The caches have the same server behind them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use transom_tests::bench::{Answer, bare};

/// What this program is called by to be that server.
pub(super) const NAME: &str = "bare-hyper";

/// How this program is called to be that server. It reads the answer from a file.
pub(super) fn command(port: u16, answer: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("a running program has a path"));
    command.arg(NAME).arg(port.to_string()).arg(answer);
    command
}

/// Writes an answer as [`serve`] reads it: status, headers, body.
pub(super) fn written(answer: &Answer) -> Vec<u8> {
    let mut text = format!("{}\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        // hyper writes these two by itself.
        if name != http::header::DATE && name != http::header::CONTENT_LENGTH {
            text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
    }
    text.push(b'\n');
    text.extend_from_slice(&answer.body);
    text
}

/// Serves until it is ended.
pub(super) fn serve(port: &str, answer: &str) -> ! {
    let answer = read(&PathBuf::from(answer));
    let port: u16 = port.parse().expect("a port");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(bare::serve(port, move |_| std::future::ready(answer.clone())))
}

fn read(answer: &Path) -> Response<Full<Bytes>> {
    let text = fs::read(answer).expect("the answer was written");
    let end = text.windows(2).position(|pair| pair == b"\n\n").expect("an empty line ends the head");
    let head = String::from_utf8(text[..end].to_vec()).expect("a head in ASCII");
    let mut lines = head.lines();
    let status: u16 = lines.next().and_then(|line| line.parse().ok()).expect("a status");
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(&text[end + 2..])));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        response.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    response
}
