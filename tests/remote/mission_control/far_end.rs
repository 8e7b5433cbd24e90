//! Servers that a test scripts: blocking, one thread a connection. TLS is rustls', HTTP is written byte by byte.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The answer of a WebSocket server to the key of RFC 6455's example, which is what `doctor` asks with.
pub(crate) const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Answers that stay silent hold their connection for so long.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A server on loopback, for as long as the test's process.
pub(crate) struct Server {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Each connection is handled by `serve`, which notes heads of requests.
    pub(crate) fn start(serve: impl Fn(TcpStream, &dyn Fn(String)) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, serve) = (Arc::clone(&heads), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, serve) = (Arc::clone(&seen), Arc::clone(&serve));
                thread::spawn(move || serve(stream, &|head| seen.lock().unwrap().push(head)));
            }
        });
        Self { port, heads }
    }

    /// One that notes the name that it is asked by (SNI), too, and says this to every request over TLS; "" is silence, and `None` an end without a word.
    pub(crate) fn tls(config: Arc<ServerConfig>, answer: Option<&'static str>) -> Self {
        Self::start(move |stream, note| {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let Some(head) = head(&mut stream) else { return };
            let name = stream.conn.server_name().unwrap_or_default();
            note(format!("{head}sni: {name}"));
            match answer {
                Some("") => thread::sleep(FOR_EVER),
                Some(answer) => {
                    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
                    wait_for_end(&mut stream);
                }
                None => {}
            }
        })
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Waits until the other end has had enough, so that it has read all that it wanted.
pub(crate) fn wait_for_end(stream: &mut impl Read) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

/// A request's head; `None` when none came.
pub(crate) fn head(stream: &mut impl Read) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
