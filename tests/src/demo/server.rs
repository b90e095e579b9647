//! What answers at an address with its name?

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Host;
use crate::process::Process;

/// A program on TCP 80 and a thread on UDP 53. They end when it is dropped.
///
/// socat does not serve UDP here: of several clients at once it may lose all but the first.
pub struct Server {
    _tcp: Process,
    stop: Arc<AtomicBool>,
}

/// How often the thread looks whether it is to stop.
const TICK: Duration = Duration::from_millis(50);

impl Server {
    /// Both are there when this returns.
    pub fn start(host: &Host, name: &'static str, address: &str) -> Result<Self> {
        let address: IpAddr = address.parse()?;
        let listen = match address {
            IpAddr::V4(ip) => format!("TCP4-LISTEN:80,bind={ip},reuseaddr,fork"),
            IpAddr::V6(ip) => format!("TCP6-LISTEN:80,bind=[{ip}],reuseaddr,fork"),
        };
        let tcp = host.spawn(&["socat", "-d", "-d", &listen, &format!("SYSTEM:echo {name}")])?;
        tcp.wait_for_line("listening on")?;
        let udp = host
            .in_ns(|| UdpSocket::bind((address, 53)))?
            .with_context(|| format!("{name}: listening on UDP port 53"))?;
        udp.set_read_timeout(Some(TICK))?;
        let stop = Arc::new(AtomicBool::new(false));
        thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut question = [0; 64];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((_, from)) = udp.recv_from(&mut question) {
                        // Whether it arrives is seen at the client.
                        let _ = udp.send_to(name.as_bytes(), from);
                    }
                }
            }
        });
        Ok(Self { _tcp: tcp, stop })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
