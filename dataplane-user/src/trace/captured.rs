//! Where did a captured frame come in, and was it one frame on the wire?

use dataplane_common::{table::AttachmentKey, wire::ethernet};

use super::{
    Error, Frame,
    sender::{KNOWN_MAX, listed},
};
use crate::{
    compile::{Compiled, attachment_name, ids::Kind},
    frame,
    model::{Attachment, Owner, Site},
    view::Step,
};

/// A frame that came in at the interface. Its VLANs are those of its own tags, or else what is
/// given: a capture beside or inside a VLAN device has no tags, or only the inner one.
pub fn captured(
    model: &Site,
    site: &Compiled,
    interface: &str,
    given: Option<u32>,
    bytes: &[u8],
) -> Result<Frame, Error> {
    let known = vlans(model, interface);
    let Some(plugged) = known.first() else {
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
    let is_tagged = frame::is_tagged(bytes);
    let own = if is_tagged { frame::vlans(bytes) } else { Some(0) };
    let lacking = given.map_or(Ok(0), |given| lacking(own, given))?;
    if given.is_some_and(|given| lacking != 0 && !known.contains(&given)) {
        let (interface, vlans) = (interface.to_owned(), frame::named(given.unwrap_or(0)));
        return Err(Error::NoAttachment { interface, vlans, known: shown(&known) });
    }
    let vlans = own.unwrap_or(0) | lacking;
    let mut steps = Vec::new();
    // The program says that nothing is plugged in there; what is, it does not.
    if own.is_some() && !known.contains(&vlans) {
        let hint = if is_tagged { "" } else { "; --vlan gives a tag that is not in the capture" };
        let decision = format!(
            "the frame is of {}; {interface} has: {}{hint}",
            frame::named(vlans),
            shown(&known)
        );
        steps.push(Step { stage: "capture".to_owned(), decision });
    }
    let id = site.ids.number(Kind::Attachment, &attachment_name(interface, *plugged));
    let found = site.image.attachments.iter().find(|(_, at)| Some(at.id) == id);
    let ifindex = found.map_or(0, |(key, _)| key.ifindex);
    let at = AttachmentKey { ifindex, vlan: vlans };
    Ok(Frame { at, bytes: frame::tagged(bytes, lacking), steps })
}

/// Which tags of the given ones does a frame with these of its own not have yet? It may have
/// all, the inner one or none of them; of `None` nothing is known but that it has others.
fn lacking(own: Option<u32>, given: u32) -> Result<u32, Error> {
    let inner = u32::from(ethernet::customer_vlan(given));
    match own {
        Some(0) => Ok(given),
        Some(own) if own == given => Ok(0),
        Some(own) if own == inner => Ok(given & !inner),
        _ => {
            let own = own.map_or_else(|| "other tags".to_owned(), frame::named);
            Err(Error::OwnTag { own, given: frame::named(given) })
        }
    }
}

/// The VLANs that are plugged in at the interface; 0: untagged.
fn vlans(model: &Site, interface: &str) -> Vec<u32> {
    let of = model.attachments.values().filter(|at| at.interface.as_str() == interface);
    let mut vlans: Vec<_> = of.map(Attachment::vlans).collect();
    vlans.sort_unstable();
    vlans
}

fn shown(vlans: &[u32]) -> String {
    listed(vlans.iter().copied().map(frame::named), KNOWN_MAX)
}

/// What is longer than the interface's MTU was never one packet: where a sender leaves it to
/// its device to cut segments, a capture has them in one. Their length is not in it; they
/// are taken to fill the network's MTU, and the first stands for all.
pub fn first_segment(model: &Site, interface: &str, mtu_bytes: u32, asked: &mut Frame) {
    let mut of = model.attachments.values().filter(|at| at.interface.as_str() == interface);
    let network_bytes = match of.find(|at| at.vlans() == asked.at.vlan).map(|at| at.owner) {
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
    fn came_in(
        interface: &str,
        given: Option<u32>,
        tags: u32,
        bytes: u16,
    ) -> Result<Frame, String> {
        let example = include_str!("../../../examples/two-tenants.yaml");
        came_in_at(example, interface, given, tags, bytes)
    }

    fn came_in_at(
        site: &str,
        interface: &str,
        given: Option<u32>,
        tags: u32,
        bytes: u16,
    ) -> Result<Frame, String> {
        let model = check::check(site).site.unwrap();
        let site = compile::compile(&model, &Facts::default(), &Compiled::default());
        let mut frame = frame::build(&frame::Headers {
            src_mac: Default::default(),
            dst_mac: Default::default(),
            vlans: tags,
            src: [10, 0, 0, 10].into(),
            dst: [10, 0, 0, 11].into(),
            ttl: 64,
            payload: Payload::Udp { src: 1, dst: 2 },
        });
        let l3 = frame.len() - 36;
        frame[l3 + 2..l3 + 4].copy_from_slice(&bytes.to_be_bytes());
        frame.resize(l3 + usize::from(bytes), 0);
        let mut asked =
            captured(&model, &site, interface, given, &frame).map_err(|error| error.to_string())?;
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
        assert_eq!(error, "the frame itself is tagged with VLAN 202, and VLAN 201 is asked for");

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
    fn a_frame_may_lack_both_tags_or_the_outer_one() {
        let twice = include_str!("../../../examples/two-tenants.yaml")
            .replace("vlan: 202", "vlan: 202\n        service_vlan: 9");
        let given = Some(ethernet::vlans(9, 202));
        let lacking = |tags| came_in_at(&twice, "eth0", given, tags, 40);
        let whole = lacking(ethernet::vlans(9, 202)).unwrap();
        assert_eq!((whole.at.vlan, whole.steps.len()), (9 << 16 | 202, 0));
        for tags in [0, 202] {
            assert_eq!(lacking(tags).as_ref(), Ok(&whole));
        }
        let error = "the frame itself is tagged with VLAN 202 of service VLAN 8, and VLAN 202 of \
                     service VLAN 9 is asked for";
        assert_eq!(lacking(ethernet::vlans(8, 202)).unwrap_err(), error);
        let known = "VLAN 101, VLAN 201, VLAN 202 of service VLAN 9";
        let error = came_in_at(&twice, "eth0", Some(202), 0, 40).unwrap_err();
        assert_eq!(
            error,
            format!("interface \"eth0\" has no VLAN 202 in the site; it has: {known}")
        );
        let strange = came_in_at(&twice, "eth0", None, 202, 40).unwrap();
        assert_eq!(
            strange.steps[0].decision,
            format!("the frame is of VLAN 202; eth0 has: {known}")
        );
        // A service tag alone, or behind another, is no VLAN of anybody's: the program says so.
        for tags in [ethernet::vlans(9, 0), 0] {
            let alone = came_in_at(&twice, "eth0", None, tags, 40).unwrap();
            assert_eq!((alone.at.vlan, alone.steps.len()), (0, usize::from(tags == 0)));
        }
        let error = lacking(ethernet::vlans(9, 0)).unwrap_err();
        assert!(error.starts_with("the frame itself is tagged with other tags, and"), "{error}");
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
