//! The door on a real socket.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::door::server::Connections;

fn settings() -> IngestSettings {
    IngestSettings {
        header_timeout_seconds: NonZeroU64::MIN,
        ..IngestSettings::default()
    }
}

async fn listening() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn whoever_sends_no_headers_is_sent_away() {
    let (listener, address) = listening().await;
    let connections = Connections::new(door().router(Router::new()), &settings());
    let client = async {
        let begun = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.unwrap();
        let mut answer = Vec::new();
        let _ = silent.read_to_end(&mut answer).await;
        let _ = slow.read_to_end(&mut answer).await;
        assert!(begun.elapsed() < Duration::from_secs(5));
    };
    tokio::select! {
        () = connections.accept(&listener) => panic!("the door closed by itself"),
        () = client => {}
    }
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_the_door_closes() {
    let (listener, address) = listening().await;
    let connections = Connections::new(door().router(Router::new()), &settings());
    let line = row("1");
    let head = format!(
        "POST /v1/rows HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        key(),
        line.len()
    );
    let mut client = TcpStream::connect(address).await.unwrap();
    let begin = async {
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&line.as_bytes()[..10]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        () = connections.accept(&listener) => panic!("the door closed by itself"),
        () = begin => {}
    }
    drop(listener);
    let finish = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.write_all(&line.as_bytes()[10..]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    };
    tokio::join!(connections.close(Duration::from_secs(5)), finish);
    assert!(
        TcpStream::connect(address).await.is_err(),
        "a closed door takes nobody in"
    );
}
