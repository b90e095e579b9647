//! Where did a captured frame come in, and was it one frame on the wire?

use dataplane_common::table::AttachmentKey;

use super::{
    Error, Frame,
    sender::{KNOWN_MAX, listed},
};
use crate::{
    compile::{Compiled, attachment_name, ids::Kind},
    frame,
    model::{Owner, Site},
    view::Step,
};

/// A frame that came in at the interface. Its VLAN is that of its own tag, or else the one
/// that is given: a capture beside or inside a VLAN device has no tags.
pub fn captured(
    model: &Site,
    site: &Compiled,
    interface: &str,
    vlan: Option<u16>,
    bytes: &[u8],
) -> Result<Frame, Error> {
    let vlans = vlans(model, interface);
    let Some(plugged) = vlans.first() else {
        let mut names: Vec<_> =
            model.attachments.values().map(|at| at.interface.to_string()).collect();
        names.sort();
        names.dedup();
        let known = listed(names.into_iter(), KNOWN_MAX);
        return Err(Error::Unknown {
            kind: "attached interface",
            name: interface.to_owned(),
            known,
        });
    };
    let own = frame::vlan(bytes);
    match (own, vlan) {
        (Some(own), Some(vlan)) if own != vlan => return Err(Error::OwnTag { own, vlan }),
        (None, Some(vlan)) if !vlans.contains(&vlan) => {
            let known = shown(&vlans);
            return Err(Error::NoAttachment { interface: interface.to_owned(), vlan, known });
        }
        _ => {}
    }
    let vlan = own.or(vlan).unwrap_or(0);
    let mut steps = Vec::new();
    // The program says that nothing is plugged in there; what is, it does not.
    if !vlans.contains(&vlan) {
        let hint =
            if own.is_none() { "; --vlan gives a tag that is not in the capture" } else { "" };
        let decision =
            format!("the frame is of {}; {interface} has: {}{hint}", shown(&[vlan]), shown(&vlans));
        steps.push(Step { stage: "capture".to_owned(), decision });
    }
    let id = site.ids.number(Kind::Attachment, &attachment_name(interface, *plugged));
    let found = site.image.attachments.iter().find(|(_, at)| Some(at.id) == id);
    let ifindex = found.map_or(0, |(key, _)| key.ifindex);
    let at = AttachmentKey { ifindex, vlan: u32::from(vlan) };
    let bytes = if own.is_some() { bytes.to_vec() } else { frame::tagged(bytes, vlan) };
    Ok(Frame { at, bytes, steps })
}

/// The VLANs that are plugged in at the interface; 0: untagged.
fn vlans(model: &Site, interface: &str) -> Vec<u16> {
    let of = model.attachments.values().filter(|at| at.interface.as_str() == interface);
    let mut vlans: Vec<_> = of.map(|at| at.vlan.unwrap_or(0)).collect();
    vlans.sort_unstable();
    vlans
}

fn shown(vlans: &[u16]) -> String {
    let name = |vlan: &u16| if *vlan == 0 { "no VLAN".to_owned() } else { format!("VLAN {vlan}") };
    listed(vlans.iter().map(name), KNOWN_MAX)
}

/// What is longer than the interface's MTU was never one packet: where a sender leaves it to
/// its device to cut segments, a capture has them in one. Their length is not in it; they
/// are taken to fill the network's MTU, and the first stands for all.
pub fn first_segment(model: &Site, interface: &str, mtu_bytes: u32, asked: &mut Frame) {
    let is_it = |vlan: Option<u16>| u32::from(vlan.unwrap_or(0)) == asked.at.vlan;
    let mut of = model.attachments.values().filter(|at| at.interface.as_str() == interface);
    let network_bytes = match of.find(|at| is_it(at.vlan)).map(|at| at.owner) {
        Some(Owner::Network(network)) => u32::from(model.networks[network].mtu),
        _ => mtu_bytes,
    };
    if mtu_bytes == 0 || frame::packet_bytes(&asked.bytes).is_none_or(|bytes| bytes <= mtu_bytes) {
        return;
    }
    let segment_bytes = network_bytes.min(mtu_bytes);
    if let Some(segment) = frame::cut(&asked.bytes, segment_bytes as u16) {
        let decision = format!(
            "{} bytes are more than one packet (the MTU of {interface} is {mtu_bytes}): its first \
             segment is judged, as one of {segment_bytes} bytes",
            asked.bytes.len()
        );
        asked.steps.push(Step { stage: "capture".to_owned(), decision });
        asked.bytes = segment;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check,
        compile::{self, Facts},
        frame::Payload,
    };

    /// A frame of `bytes` from its IP header on, tagged, comes in by an interface of an example.
    fn came_in(interface: &str, vlan: Option<u16>, tag: u16, bytes: u16) -> Result<Frame, String> {
        let model = check::check(include_str!("../../../examples/two-tenants.yaml")).site.unwrap();
        let site = compile::compile(&model, &Facts::default(), &Compiled::default());
        let mut frame = frame::build(&frame::Headers {
            src_mac: Default::default(),
            dst_mac: Default::default(),
            vlan: tag,
            src: [10, 0, 0, 10].into(),
            dst: [10, 0, 0, 11].into(),
            ttl: 64,
            payload: Payload::Udp { src: 1, dst: 2 },
        });
        let l3 = if tag == 0 { 14 } else { 18 };
        frame[l3 + 2..l3 + 4].copy_from_slice(&bytes.to_be_bytes());
        frame.resize(l3 + usize::from(bytes), 0);
        let mut asked =
            captured(&model, &site, interface, vlan, &frame).map_err(|error| error.to_string())?;
        first_segment(&model, interface, 1500, &mut asked);
        Ok(asked)
    }

    #[test]
    fn a_frame_with_a_tag_names_its_vlan() {
        let plain = came_in("eth0", Some(201), 0, 40).unwrap();
        assert_eq!((plain.at.vlan, plain.steps.len()), (201, 0));
        assert_eq!(Ok(&plain), came_in("eth0", None, 201, 40).as_ref());
        assert_eq!(Ok(&plain), came_in("eth0", Some(201), 201, 40).as_ref());
        let error = came_in("eth0", Some(201), 202, 40).unwrap_err();
        assert_eq!(error, "the frame itself is tagged with VLAN 202, and --vlan says 201");

        let error = came_in("eth0", Some(5), 0, 40).unwrap_err();
        let known = "VLAN 101, VLAN 201, VLAN 202";
        assert_eq!(error, format!("interface \"eth0\" has no VLAN 5 in the site; it has: {known}"));
        let steps = |vlan| came_in("eth0", None, vlan, 40).unwrap().steps[0].decision.clone();
        assert_eq!(steps(5), format!("the frame is of VLAN 5; eth0 has: {known}"));
        assert!(
            steps(0).starts_with(&format!("the frame is of no VLAN; eth0 has: {known}; --vlan"))
        );
        assert_eq!(came_in("veth-blue-a", None, 0, 40).unwrap().at.vlan, 0);
        assert_eq!(
            came_in("eth7", None, 0, 40).unwrap_err(),
            "there is no attached interface \"eth7\"; there are: eth0, eth1, veth-blue-a, veth-red-a"
        );
    }

    #[test]
    fn a_frame_beyond_the_mtu_stands_for_its_segments() {
        let whole = came_in("eth0", None, 201, 1500).unwrap();
        assert_eq!((whole.bytes.len(), whole.steps.len()), (1518, 0));
        let long = came_in("eth0", None, 201, 9000).unwrap();
        assert_eq!(long.bytes.len(), 1518);
        assert_eq!(
            long.steps[0].decision,
            "9018 bytes are more than one packet (the MTU of eth0 is 1500): its first segment is \
             judged, as one of 1500 bytes"
        );
    }
}
