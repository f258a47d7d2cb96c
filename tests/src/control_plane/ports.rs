//! Free loopback ports.
//!
//! Ports lie below the kernel's ephemeral range (32768 and up): an outgoing connection can then
//! never take the port of an API server that is stopped and about to be started again.
//! Nothing is reserved: two control planes that start at once may pick the same port, so the
//! parent module starts again on others when a server finds its port taken.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// The first port and how many follow.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
const ATTEMPTS: u32 = 200;

/// The ports of one control plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) etcd_client: u16,
    pub(super) etcd_peer: u16,
    pub(super) api_server: u16,
}

impl Ports {
    /// Picks ports that were free a moment ago; the API server's may be given.
    pub(super) fn pick(api_server: Option<u16>) -> Result<Self> {
        // Held until all are picked, so that they differ.
        let mut held = Vec::new();
        let mut next = || -> Result<u16> {
            let (port, listener) = free_port()?;
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            etcd_client: next()?,
            etcd_peer: next()?,
            api_server: api_server.map_or_else(&mut next, Ok)?,
        })
    }
}

/// A port that was free a moment ago, with the listener that holds it until it is dropped.
pub(crate) fn free_port() -> Result<(u16, TcpListener)> {
    for _ in 0..ATTEMPTS {
        // Every RandomState has keys of its own: its hash of nothing is a random number.
        let random = RandomState::new().build_hasher().finish();
        let port = FIRST + u16::try_from(random % u64::from(COUNT))?;
        // On all addresses, because an API server may be told to listen on all.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            return Ok((port, listener));
        }
    }
    bail!("found no free port in {ATTEMPTS} attempts")
}
