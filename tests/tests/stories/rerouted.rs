//! Does a route that changes faster than anybody would change it lose a packet?

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use sekisho_tests::build::ip;
use sekisho_tests::process::PATIENCE;
use sekisho_tests::traffic::bound;
use sekisho_tests::{Host, Lab, Sekisho};

use crate::town::{self, A, A_ADDRESSES};

/// A client, and two uplinks to where it sends.
const TWO_UPLINKS: &str = r#"
version: 1
tenants:
  - name: blue
    networks: [{name: inside, subnets: [{cidr: 10.0.0.0/24}]}]
    routers:
      - name: r
        mac: 02:00:00:00:00:01
        interfaces: [{network: inside}]
        routes: [{destination: 10.9.0.0/24, uplink: east}]
    ports:
      - {name: a, network: inside, interface: blue-a, mac: 02:00:00:00:00:0a, fixed_ips: [10.0.0.10], security_groups: [client]}
    security_groups:
      - {name: client, rules: [{direction: egress, protocol: udp}]}
uplinks:
  - name: east
    interface: nic-e
    addresses: [10.3.0.254/24]
    next_hops: [{address: 10.3.0.1}]
    exports: [{prefix: 10.0.0.0/24, tenant: blue, router: r}]
  - name: west
    interface: nic-w
    addresses: [10.4.0.254/24]
    next_hops: [{address: 10.4.0.1}]
    exports: [{prefix: 10.0.0.0/24, tenant: blue, router: r}]
"#;

/// More than there are lines in both buckets of a half-flow: each change makes one in another.
const CHANGES: usize = 40;
const FLOWS: usize = 2;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn a_route_that_changes_all_the_time_loses_nothing() -> Result<()> {
    let lab = Lab::new("rerouted")?;
    let a = town::host(&lab, "blue-a", A, A_ADDRESSES)?;
    let server = |name, net: &str| -> Result<(Host, UdpSocket)> {
        let host = lab.nic(name).address(&format!("{net}.1/24")).address("10.9.0.1/32");
        let host = host.gateway(ip(&format!("{net}.254"))).build()?;
        let socket = bound(|| host.in_ns(|| UdpSocket::bind("10.9.0.1:7003")))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok((host, socket))
    };
    let servers = [server("nic-e", "10.3.0")?, server("nic-w", "10.4.0")?];
    let sekisho = Sekisho::start(&lab, TWO_UPLINKS)?;
    let mut clients = Vec::new();
    for _ in 0..FLOWS {
        let client = a.in_ns(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        client.set_read_timeout(Some(PATIENCE))?;
        client.connect(SocketAddr::from(([10, 9, 0, 1], 7003)))?;
        clients.push(client);
    }
    let east = "uplink: east}]";
    let sites = [TWO_UPLINKS.to_owned(), TWO_UPLINKS.replace(east, "uplink: west}]")];
    ensure!(sites[0] != sites[1], "it is one route");
    for change in 0..CHANGES {
        sekisho.change(&sites[change % 2])?;
        let (_, server) = &servers[change % 2];
        for (flow, client) in clients.iter().enumerate() {
            let when = || format!("flow {flow}, change {change}");
            let mut heard = [0; 16];
            client.send(b"who?")?;
            let (_, asker) = server.recv_from(&mut heard).with_context(when)?;
            server.send_to(b"I", asker)?;
            client.recv(&mut heard).with_context(when)?;
        }
    }
    let tally = sekisho.tally()?;
    ensure!(tally.stopped("blue", "flow_table_full") == 0, "{tally:?}");
    Ok(())
}
