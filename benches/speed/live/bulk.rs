//! A bulk transfer to a public port of the node: one TCP connection over the link of those who ask, with the offloads that a veth pair has by default.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::wire::Wire;
use crate::cpus;

/// Bytes of a write, and of a read.
const CHUNK_BYTES: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends for `time` from one CPU and receives on another, through whatever filters the node. Returns the bytes a second that arrived.
pub fn bytes_per_s(wire: &Wire, time: Duration, receiving_cpu: usize, sending_cpu: usize) -> Result<f64> {
    let address = Wire::service();
    let listener = wire.node.run(|| TcpListener::bind(address))?.context("the bulk transfer's port")?;
    let mut client = wire.asker.run(|| TcpStream::connect_timeout(&address, PATIENCE))?.context("connecting")?;
    let (mut server, _) = listener.accept().context("accepting the bulk transfer")?;
    client.set_write_timeout(Some(PATIENCE))?;
    server.set_read_timeout(Some(PATIENCE))?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || -> Result<()> {
            cpus::pin(None, sending_cpu)?;
            let (chunk, began) = (vec![0x5a; CHUNK_BYTES], Instant::now());
            while began.elapsed() < time {
                client.write_all(&chunk).context("sending in bulk")?;
            }
            Ok(client.shutdown(Shutdown::Write)?)
        });
        let receiving = scope.spawn(move || -> Result<f64> {
            cpus::pin(None, receiving_cpu)?;
            let (mut chunk, mut bytes, began) = (vec![0; CHUNK_BYTES], 0_u64, Instant::now());
            loop {
                match server.read(&mut chunk).context("receiving in bulk")? {
                    0 => return Ok(bytes as f64 / began.elapsed().as_secs_f64()),
                    read => bytes += read as u64,
                }
            }
        });
        let (Ok(sent), Ok(received)) = (sending.join(), receiving.join()) else {
            bail!("a thread of a bulk transfer panicked")
        };
        sent.and(received)
    })
}
