//! What stands under tests of the loader: two ports of a network, a router, and an uplink at a NIC.

use std::net::IpAddr;

use anyhow::Result;
use dataplane_common::{
    addr::{Addr, Mac, V4_PREFIX_OFFSET_BITS as V4},
    table::{
        Attachment, AttachmentKey, Location, LocationKey, PermitKey, Station, StationKey, Tenant,
        attachment_kind,
        endpoint::{Endpoint, kind},
        next_hop::{self, NextHop, Output, output_kind},
        route::{self, Hop, Route},
        zone::Zone,
    },
};
use dataplane_user::{
    load::{Attached, Dataplane, Error, Hook, Interface},
    tables::{Image, Policy},
};
use sekisho_tests::{
    Host, Lab,
    process::PATIENCE,
    traffic::{TcpEchoServer, ping, tcp_exchange},
};

use crate::{attach, port, uplink};

/// Two ports of one network, its router, and an uplink.
pub struct Site {
    pub blue_a: Host,
    pub blue_b: Host,
    pub internet: Host,
    pub indexes: [u32; 3],
    pub nic_mac: Mac,
}

const GATEWAY: Mac = Mac([2, 0, 0, 0, 1, 1]);
const NETWORK: u32 = 1;
const ROUTER: u32 = 2;
const UPLINK: u32 = 3;

impl Site {
    pub fn build(lab: &Lab) -> Result<Self> {
        let gateway = IpAddr::from([10, 0, 1, 1]);
        let blue_a = lab.host("blue-a").address("10.0.1.11/24").gateway(gateway).build()?;
        let blue_b = lab.host("blue-b").address("10.0.1.12/24").gateway(gateway).build()?;
        let next = IpAddr::from([192, 0, 2, 1]);
        let internet = lab
            .nic("internet")
            .interface("uplink")
            .address("192.0.2.9/24")
            .gateway(next)
            .build()?;
        let find = |name: &'static str| lab.dut().in_ns(move || Interface::find(name, "a test"));
        let nic = find("uplink")??;
        let indexes = [find("blue-a")??.index, find("blue-b")??.index, nic.index];
        Ok(Self { blue_a, blue_b, internet, indexes, nic_mac: nic.mac })
    }

    pub fn attach(
        &self,
        lab: &Lab,
        dataplane: &mut Dataplane,
        hook: Hook,
    ) -> Result<Vec<Attached>, Error> {
        attach(lab, dataplane, &[port("blue-a"), port("blue-b"), uplink("uplink", hook)])
    }

    pub fn works(&self) -> Result<()> {
        let _servers = [
            TcpEchoServer::start(&self.blue_b, 7000)?,
            TcpEchoServer::start(&self.internet, 7000)?,
        ];
        for to in [self.blue_b.v4()?, self.internet.v4()?] {
            assert!(ping(&self.blue_a, to, 3, &[])?.all_answered(), "{to}");
            tcp_exchange(&self.blue_a, (to, 7000).into(), 300_000, PATIENCE)?;
        }
        Ok(())
    }

    pub fn image(&self, uplink_kind: u32) -> Image {
        let mut image = Image::default();
        let ports = [(1, &self.blue_a, [10, 0, 1, 11]), (2, &self.blue_b, [10, 0, 1, 12])];
        let key = |addr: [u8; 4], zone| LocationKey { addr: Addr::v4(addr), zone, zero: 0 };
        image.tenants = vec![Tenant { epoch: 1, flows_max: 1000 }; 2];
        image.policies = vec![Policy::default()];
        image.zones = vec![
            Zone::default(),
            Zone {
                own_v4: [10, 0, 1, 1],
                tenant: 1,
                generation: 1,
                router: ROUTER,
                mac: GATEWAY,
                ..Zone::default()
            },
            Zone { tenant: 1, generation: 1, mac: GATEWAY, ..Zone::default() },
            Zone { own_v4: [192, 0, 2, 1], generation: 1, mac: self.nic_mac, ..Zone::default() },
        ];
        image.endpoints = vec![Endpoint::default(); 4];
        image.next_hops = vec![NextHop::default(); 4];
        image.outputs = vec![Output::default(); 4];
        for (id, host, addr) in ports {
            let mac = mac(host);
            let ifindex = self.indexes[id as usize - 1];
            let at = AttachmentKey { ifindex, vlan: 0 };
            let kind = attachment_kind::PORTS;
            let attachment =
                Attachment { id, kind, zone: NETWORK, tenant: 1, ..Attachment::default() };
            image.attachments.insert(at, attachment);
            let station = StationKey { attachment: id, mac, ..StationKey::default() };
            image
                .stations
                .insert(station, Station { endpoint: id, owner: id, ..Station::default() });
            let location = Location { endpoint: id, next_hop: id, mac, flags: 0 };
            image.locations.insert(key(addr, NETWORK), location);
            let permit = PermitKey { endpoint: id, mac, zero: [0; 6], addr: Addr::v4(addr) };
            image.permits.push((permit, 128));
            image.endpoints[id as usize] = Endpoint {
                kind: kind::PORT,
                tenant: 1,
                generation: 1,
                network: NETWORK,
                arrival: ROUTER,
                next_hop: id,
                ..Endpoint::default()
            };
            image.next_hops[id as usize] = hop(id, mac, GATEWAY, 1);
            image.outputs[id as usize] =
                Output { ifindex, kind: output_kind::PEER, ..Output::default() };
        }
        let gateway = Location { mac: GATEWAY, ..Location::default() };
        image.locations.insert(key([10, 0, 1, 1], NETWORK), gateway);
        let ifindex = self.indexes[2];
        let at = AttachmentKey { ifindex, vlan: 0 };
        let attachment = Attachment {
            id: 3,
            kind: attachment_kind::UPLINK,
            zone: UPLINK,
            endpoint: 3,
            ..Attachment::default()
        };
        image.attachments.insert(at, attachment);
        image.endpoints[3] = Endpoint {
            kind: kind::UPLINK,
            generation: 1,
            arrival: UPLINK,
            next_hop: 3,
            owner: 3,
            ..Endpoint::default()
        };
        image.next_hops[3] = hop(3, mac(&self.internet), self.nic_mac, 0);
        image.outputs[3] = Output { ifindex, kind: uplink_kind, ..Output::default() };
        let mut hops = [Hop::default(); 16];
        hops[0] = Hop::new(3);
        let connected =
            Route { kind: route::kind::CONNECTED, id: 1, zone: NETWORK, ..Route::default() };
        let default = Route { kind: route::kind::VIA, id: 2, hops_count: 1, hops, zone: 0 };
        let inwards = Route { kind: route::kind::ROUTER, id: 3, zone: ROUTER, ..Route::default() };
        image.routes = vec![
            (key([10, 0, 1, 0], ROUTER), V4 + 24, connected),
            (key([0; 4], ROUTER), V4, default),
            (key([10, 0, 1, 0], UPLINK), V4 + 24, inwards),
        ];
        image
    }
}

pub fn hop(id: u32, dst: Mac, src: Mac, tenant: u32) -> NextHop {
    let state = next_hop::state::READY;
    let (attachment, tenant) = (id as u16, tenant as u16);
    NextHop {
        attachment,
        mtu_bytes: 1500,
        endpoint: id,
        tenant,
        state,
        dst,
        src,
        ..NextHop::default()
    }
}

pub fn mac(host: &Host) -> Mac {
    let mut bytes = [0; 6];
    for (byte, text) in bytes.iter_mut().zip(host.mac().split(':')) {
        *byte = u8::from_str_radix(text, 16).expect("hexadecimal");
    }
    Mac(bytes)
}
