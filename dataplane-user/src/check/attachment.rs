//! Whose is an (interface, VLAN)? Exactly one network's, uplink's or access's.

use std::collections::HashMap;

use super::Context;
use crate::config::file::Vlan;
use crate::config::tree::NodeId;
use crate::config::{At, Field};
use crate::model::{Attachment, AttachmentIx, Hook, Interface, Ix, Owner, Table};

#[derive(Default)]
pub(super) struct Attachments {
    list: Vec<(Attachment, NodeId)>,
    known: HashMap<(Interface, Vlans), AttachmentIx>,
    /// What somebody asked for, by interface.
    hooks: HashMap<Interface, (Hook, NodeId)>,
}

/// The VLANs of an attachment as the file has them.
#[derive(Clone, Copy)]
pub(super) struct Tags<'f> {
    pub vlan: &'f Field<At<Vlan>>,
    pub service_vlan: &'f Field<At<Vlan>>,
}

/// A VLAN, and the service VLAN that it is one of.
type Vlans = (Option<u16>, Option<u16>);

impl Tags<'_> {
    /// What they say; `None` if an error has been reported.
    fn read(self, cx: &mut Context<'_>) -> Option<Vlans> {
        let vlan = self.vlan.optional()?.map(|vlan| vlan.0);
        let service_vlan = self.service_vlan.optional()?.map(|vlan| vlan.0);
        if let (None, Some(at)) = (vlan, self.service_vlan.given()) {
            let message = format!("service VLAN {} without a VLAN in it", at.value.0);
            cx.error(at.node, message, "add `vlan`, or write `vlan` instead of `service_vlan`");
            return None;
        }
        Some((vlan, service_vlan))
    }
}

/// As messages name them.
fn named((vlan, service_vlan): Vlans) -> String {
    match (vlan, service_vlan) {
        (Some(vlan), Some(service)) => format!("VLAN {vlan} of service VLAN {service}"),
        (Some(vlan), None) => format!("VLAN {vlan}"),
        (None, _) => "untagged".to_owned(),
    }
}

impl Attachments {
    /// Claims an attachment for its owner.
    pub fn claim(
        &mut self,
        cx: &mut Context<'_>,
        interface: &Field<At<Interface>>,
        tags: Tags<'_>,
        hook: &Field<At<Hook>>,
        owner: Option<Owner>,
    ) -> Option<AttachmentIx> {
        let at = interface.given()?;
        let interface = at.value.clone();
        self.ask(cx, &interface, hook);
        let vlans = tags.read(cx)?;
        let owner = owner?;
        if let Some(ix) = self.known.get(&(interface.clone(), vlans)) {
            let (first, place) = &self.list[ix.position()];
            let both_ports =
                matches!((&first.owner, &owner), (Owner::Network(a), Owner::Network(b)) if a == b);
            if both_ports {
                return Some(*ix);
            }
            let tag = named(vlans);
            let message = format!("{interface} {tag} belongs to another network, uplink or access");
            let help = format!("it is used by {}", cx.see(*place));
            cx.error(at.node, message, &help);
            return None;
        }
        let ix = AttachmentIx::new(self.list.len());
        self.known.insert((interface.clone(), vlans), ix);
        let ((vlan, service_vlan), hook) = (vlans, Hook::Auto);
        self.list.push((Attachment { interface, vlan, service_vlan, hook, owner }, at.node));
        Some(ix)
    }

    /// An interface has one hook, whoever asked for it.
    fn ask(&mut self, cx: &mut Context<'_>, interface: &Interface, hook: &Field<At<Hook>>) {
        let Some(At { value: hook, node }) = hook.given() else { return };
        if *hook == Hook::Auto {
            return;
        }
        let (first, place) = *self.hooks.entry(interface.clone()).or_insert((*hook, *node));
        if first != *hook {
            let message = format!("{interface} has another hook already");
            let help = format!("it is asked for by {}", cx.see(place));
            cx.error(*node, message, &help);
        }
    }

    pub fn table(self) -> Table<AttachmentIx, Attachment> {
        let hooks = self.hooks;
        let settled = self.list.into_iter().map(|(mut attachment, _)| {
            if let Some((hook, _)) = hooks.get(&attachment.interface) {
                attachment.hook = *hook;
            }
            attachment
        });
        settled.collect::<Vec<_>>().into()
    }
}
