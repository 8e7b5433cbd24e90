//! A server on loopback that says byte by byte what a test wants, over TLS or plain, and keeps what it was asked. It must not know HTTP better than
//! that: what is tested is how wrong answers are met.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// What is sent for one request.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    manner: Manner,
}

enum Manner {
    /// At once, and then the connection is closed in order.
    Whole,
    /// At once, and then the connection is gone.
    Cut,
    /// A byte now and then.
    Slowly(Duration),
}

impl Reply {
    /// A status line's end (`"200 OK"`), headers and a body with its length.
    pub(crate) fn new(status: &str, headers: &str, body: &str) -> Self {
        let length_bytes = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length_bytes}\r\n\r\n");
        Self::raw(format!("{head}{body}"))
    }

    pub(crate) fn json(body: &str) -> Self {
        Self::new("200 OK", "Content-Type: application/json\r\n", body)
    }

    pub(crate) fn status(status: &str) -> Self {
        Self::new(status, "Content-Type: text/html\r\n", "<html>sorry</html>")
    }

    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), manner: Manner::Whole }
    }

    /// The connection ends after so many bytes.
    pub(crate) fn cut_after(mut self, length_bytes: usize) -> Self {
        assert!(length_bytes < self.bytes.len());
        self.bytes.truncate(length_bytes);
        Self { manner: Manner::Cut, ..self }
    }

    /// One byte each.
    pub(crate) fn slowly(self, each: Duration) -> Self {
        Self { manner: Manner::Slowly(each), ..self }
    }

    async fn send(self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        match self.manner {
            Manner::Whole => {
                stream.write_all(&self.bytes).await?;
                stream.shutdown().await
            }
            Manner::Cut => {
                stream.write_all(&self.bytes).await?;
                stream.flush().await
            }
            Manner::Slowly(each) => {
                for byte in self.bytes {
                    stream.write_all(&[byte]).await?;
                    stream.flush().await?;
                    tokio::time::sleep(each).await;
                }
                Ok(())
            }
        }
    }
}

/// Runs until it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// `answer` gets the request's head. `tls: None`: plain.
    pub(crate) async fn start(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, seen, answer) = (tls.clone(), Arc::clone(&seen), Arc::clone(&answer));
                connections.spawn(async move { serve(stream, tls, &seen, &*answer).await.unwrap_or_default() });
            }
        });
        Self { port, asked, _tasks: tasks }
    }

    /// The heads of all requests so far; "" for a connection that brought none.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths of all requests so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().iter().map(|head| head.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    seen: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let Some(tls) = tls else { return talk(stream, seen, answer).await };
    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
        return talk(stream, seen, answer).await;
    }
    seen.lock().unwrap().push(String::new());
    Ok(())
}

async fn talk(
    mut stream: impl tokio::io::AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        let byte = stream.read_u8().await?;
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    seen.lock().unwrap().push(head.clone());
    answer(&head).send(&mut stream).await
}
