//! What may change in a site file?

use super::{Spec, random};
use crate::chance::Chance;

impl Spec {
    /// One random change; the file may be refused after it.
    pub fn change(&mut self, chance: &mut Chance) {
        for _ in 0..8 {
            if self.try_change(chance).is_some() {
                return;
            }
        }
    }

    fn try_change(&mut self, chance: &mut Chance) -> Option<()> {
        let at = chance.below(self.tenants.len());
        let tenant = &mut self.tenants[at];
        match chance.below(17) {
            0 | 1 => {
                let group = pick(&mut tenant.groups, chance)?;
                remove(&mut group.rules, chance)?;
            }
            2 => {
                let rule = random::rule(tenant, chance);
                pick(&mut tenant.groups, chance)?.rules.push(rule);
            }
            3 => {
                let port = pick(&mut tenant.ports, chance)?;
                port.groups.as_ref()?;
                port.groups = Some(random::some_groups(chance));
            }
            4 => drop(remove(&mut tenant.ports, chance)?),
            5 => {
                let line = pick(&mut tenant.lines, chance)?;
                line.suspended = !line.suspended;
            }
            6 => {
                let line = pick(&mut tenant.lines, chance)?;
                line.groups =
                    if chance.once_in(2) { None } else { Some(random::some_groups(chance)) };
            }
            7 => drop(remove(&mut self.sessions, chance)?),
            8 => drop(remove(&mut pick(&mut tenant.routers, chance)?.routes, chance)?),
            9 => drop(remove(&mut pick(&mut self.uplinks, chance)?.exports, chance)?),
            10 => {
                let set = &mut pick(&mut tenant.address_groups, chance)?.1;
                if remove(set, chance).is_none() {
                    set.push("10.0.0.0/8".to_owned());
                }
            }
            15 => pick(&mut tenant.ports, chance)?.limits = random::limits(chance),
            16 => {
                let router = pick(&mut tenant.routers, chance)?;
                router.limits = chance.once_in(2).then(|| random::limit(chance));
            }
            11 => drop(remove(self.host(chance)?, chance)?),
            12 => {
                let host = self.host(chance)?;
                // Another entry for an address that has some.
                let address = host.first()?.split('\'').nth(1)?.to_owned();
                host.push(random::entry(&address, &address, chance));
            }
            13 => {
                let port = pick(&mut tenant.ports, chance)?;
                remove(&mut port.pairs, chance)?;
            }
            _ => {
                let network = pick(&mut tenant.networks, chance)?;
                network.mec_only = !network.mec_only;
            }
        }
        Some(())
    }

    /// What the host has on one of the links.
    fn host(&mut self, chance: &mut Chance) -> Option<&mut Vec<String>> {
        match self.accesses.first_mut().filter(|_| chance.once_in(3)) {
            Some(access) => Some(&mut access.host),
            None => Some(&mut pick(&mut self.uplinks, chance)?.host),
        }
    }
}

fn pick<'l, T>(list: &'l mut [T], chance: &mut Chance) -> Option<&'l mut T> {
    if list.is_empty() {
        return None;
    }
    let at = chance.below(list.len());
    list.get_mut(at)
}

fn remove<T>(list: &mut Vec<T>, chance: &mut Chance) -> Option<T> {
    if list.is_empty() { None } else { Some(list.remove(chance.below(list.len()))) }
}
