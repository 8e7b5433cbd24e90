//! The node's service and those who ask it: a TCP echo over real sockets, asked again and again over a few connections. Counts answers; what else the
//! node has to do at the time is not its business.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::wire::Wire;
use crate::cpus;

/// Connections that are asked in turn.
const CONNECTIONS: usize = 8;
/// Bytes of a request and of its answer.
const REQUEST_BYTES: usize = 64;
/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Open connections to the service.
pub struct Service {
    server: Vec<TcpStream>,
    client: Vec<TcpStream>,
}

impl Service {
    /// Opens them, through whatever filters the node.
    pub fn open(wire: &Wire) -> Result<Self> {
        let address = Wire::service();
        let listener = wire.node.run(|| TcpListener::bind(address))?.context("the service's port")?;
        let mut service = Self { server: Vec::new(), client: Vec::new() };
        for _ in 0..CONNECTIONS {
            let connected = wire.asker.run(|| TcpStream::connect_timeout(&address, PATIENCE))?;
            service.client.push(connected.context("a connection to the service on a public port")?);
            service.server.push(listener.accept().context("accepting a connection")?.0);
        }
        for stream in service.client.iter().chain(&service.server) {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
        }
        Ok(service)
    }

    /// Asks for `time`, everything on one CPU, and returns the answers a second.
    pub fn ask(self, time: Duration, cpu: usize) -> Result<f64> {
        let Self { server, mut client } = self;
        // Before anything runs on the CPU: a flood may leave it no time even to begin.
        let began = Instant::now();
        thread::scope(|scope| {
            for stream in server {
                scope.spawn(move || echo(stream, cpu));
            }
            let asking = scope.spawn(move || {
                cpus::pin(None, cpu)?;
                let mut answers = 0_u64;
                let mut message = [0; REQUEST_BYTES];
                while began.elapsed() < time {
                    for stream in &mut client {
                        stream.write_all(&message).context("asking the service")?;
                    }
                    for stream in &mut client {
                        stream.read_exact(&mut message).context("the service's answer")?;
                        answers += 1;
                    }
                }
                Ok(answers as f64 / began.elapsed().as_secs_f64())
            });
            asking.join().map_err(|_| anyhow::anyhow!("the thread that asks panicked"))?
        })
    }
}

/// Answers until the other end closes.
fn echo(mut stream: TcpStream, cpu: usize) {
    let mut message = [0; REQUEST_BYTES];
    if cpus::pin(None, cpu).is_ok() {
        while stream.read_exact(&mut message).and_then(|()| stream.write_all(&message)).is_ok() {}
    }
}
