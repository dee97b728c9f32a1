//! Servers that are played, for what no real one does on demand.

use crate::support::json;
use lockwright_protocol::close_code;
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};
use tokio_tungstenite::tungstenite::{self, Message, protocol::CloseFrame};

/// A server that is played: it is given the head of each request and the connection.
pub(crate) struct Played {
    pub(crate) address: String,
    /// The first line and the body of each request.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    pub(crate) fn start(answer: impl Fn(&str, TcpStream) + Send + 'static) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read_request(&mut stream);
                let first = request.lines().next().unwrap_or_default();
                let first = first.trim_end_matches(" HTTP/1.1");
                let (_, body) = request.split_once("\r\n\r\n").unwrap_or_default();
                let heard = format!("{first} {body}").trim_end().to_owned();
                seen.lock().unwrap().push(heard);
                answer(&request, stream);
            }
        });
        Played { address, asked }
    }

    /// One that takes each request and closes the connection.
    pub(crate) fn hangs_up() -> Played {
        Played::start(|_, _| {})
    }

    /// One that always answers the same.
    pub(crate) fn says(status: &'static str, body: String) -> Played {
        Played::start(move |_, mut stream| {
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            // It fails when nobody waits for it.
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    /// One that has everything done by another, and keeps the answer to itself.
    pub(crate) fn loses_answers_of(other: &str) -> Played {
        let other = other.to_owned();
        Played::start(move |request, _| {
            let mut behind = TcpStream::connect(&other).unwrap();
            behind.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 8];
            behind.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1");
        })
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The first lines and the bodies of what it was asked.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A server that grants what is asked for in its first session and then, after `wait`, ends the session as
/// an operator would, without a push. It says nothing to those that come later.
pub(crate) fn grants_and_ends_the_session(wait: impl FnOnce() + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        loop {
            let asked = socket.read().unwrap();
            let asked = json(asked.to_text().unwrap());
            let mut answer = match asked["type"].as_str().unwrap() {
                "open" => json!({"type": "opened", "idle_timeout_ms": 60_000}),
                _ => json!({"type": "granted", "id": asked["id"], "token": 1, "waited_ms": 0}),
            };
            answer["seq"] = asked["seq"].clone();
            socket.send(Message::text(answer.to_string())).unwrap();
            if asked["type"] == "acquire" {
                break;
            }
        }
        wait();
        let ended = CloseFrame {
            code: close_code::SESSION_ENDED.into(),
            reason: "".into(),
        };
        socket.close(Some(ended)).unwrap();
        // Until the client has closed it, too.
        while socket.read().is_ok() {}
        let _open: Vec<_> = listener.incoming().collect();
    });
    address
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(str::to_owned)
                })
                .find_map(|length| length.trim().parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&bytes).into_owned(),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// A way to the server at `other` on which all of it gets there, and nothing comes back after the answer to the
/// opening of a session. The address of it.
pub(crate) fn tells_no_more_than_opened(other: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other = other.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (client, server) = (stream.unwrap(), TcpStream::connect(&other).unwrap());
            let (mut asked, mut asks) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                // The end of either is the end of both.
                let _ = std::io::copy(&mut asked, &mut asks);
                let _ = asks.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || tell_until_opened(server, client));
        }
    });
    address
}

fn tell_until_opened(mut from: TcpStream, mut to: TcpStream) {
    let mut told = String::new();
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut part) {
        if told.contains("\"opened\"") {
            continue;
        }
        told.push_str(&String::from_utf8_lossy(&part[..length]));
        if to.write_all(&part[..length]).is_err() {
            return;
        }
    }
}
